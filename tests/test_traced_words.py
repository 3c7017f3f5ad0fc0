"""The rest of the page, recomputed: sentences and counts of the first screen, claims, papers, accounts of runs."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import yaml
from expected_cells import TABLES, line_of, settings_text
from page_tables import NUMBER, Tables, read, says
from recomputed import Group, Results, deviation, draws, half, mean, middle95
from scipy import stats
from traced_results import PAPER, read_csv

TASKS = ("basic_motions", "digits", "japanese_vowels")


@pytest.fixture(scope="module")
def results(traced) -> Results:
    return Results(traced)


@pytest.fixture(scope="module")
def page(traced) -> Tables:
    return Tables((traced / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def words(root) -> dict:
    return yaml.safe_load((root / "report/captions.yaml").read_text(encoding="utf-8"))


def texts(page: Tables, part: str) -> list[str]:
    return [text for path, text in page.texts if f".{part}" in path]


# --- first screen


def test_the_counts_of_runs(page, results):
    shown = texts(page, "counts.")
    found = {words: int(number) for number, words in zip(shown[::2], shown[1::2], strict=True)}
    status, planned = Counter(), {run["path"] for run in results.plan["runs"]}
    for one in results.records:
        status[one["status"]] += one["path"] in planned
    stale = sum(one["provenance"]["engine_digest"] != results.plan["engine_digest"] for one in results.records)
    assert found == {
        f"ok of {len(planned)} planned": status["ok"], "failed": status["failed"], "skipped": status["skipped"],
        "missing": len(results.missing), "stale": stale,
        "not in the plan": sum(one["path"] not in planned for one in results.records),
    }  # fmt: skip
    assert status["ok"] + status["failed"] + status["skipped"] + len(results.missing) == len(planned)


def test_the_facts(page, results):
    shown, facts = [(p, t) for p, t in page.texts if ".facts." in p], {}
    for path, text in shown:
        if path.endswith(".dt"):
            name = text
        else:
            facts[name] = f"{facts.get(name, '')} {text}".strip()
    seeds = sorted({one["seed"] for one in results.records})
    seconds = math.fsum(one["seconds"]["train"] for one in results.records)
    assert facts["Tasks"] == ", ".join(TASKS)
    assert facts["Seeds"] == f"{len(seeds)} ({', '.join(map(str, seeds))})"
    days = sorted({one["provenance"]["finished"][:10] for one in results.records})
    assert facts["Finished"] == f"{days[0]} to {days[-1]}"
    machine = results.records[0]["provenance"]
    assert says(facts["Machine"], f"{machine['machine']} (threads: {machine['threads']}), {{}} min of training",
                seconds / 60)  # fmt: skip
    verdicts = Counter(row[5].text for row in page.tables["claims"].rows)
    order = ("supported", "contradicted", "undecided", "not run")
    assert facts["Claims of the paper"] == " ".join(f"{verdicts[one]} {one}" for one in order)
    assert set(facts) == {"Tasks", "Methods", "Seeds", "Protocol", "Claims of the paper", "Finished", "Machine"}


@pytest.mark.parametrize("task", TASKS)
def test_what_is_said_of_a_task(page, results, words, task):
    number = TASKS.index(task) + 1
    (facts,) = texts(page, f"task-{number}.says.quiet")
    done = [one for one in results.records if one["task"] == task and one["status"] == "ok"]
    size, middle = done[0]["test_size"], statistics.median(one["accuracy"]["test"] for one in done)
    error = 100 * math.sqrt(middle * (1 - middle) / size)
    assert says(facts, "{} test sequences (one standard error of an accuracy near {} %: {} points)",
                size, 100 * middle, error)  # fmt: skip
    said = texts(page, f"task-{number}.says.ul.")
    expected = sentences(task, results, words)
    assert len(said) == len(expected)
    for text, (template, values) in zip(said, expected, strict=True):
        assert says(text, template, *values), (text, template, values)


def test_what_the_first_screen_says_of_a_task(page, results, words):
    said, expected = texts(page, "glance.article.ul."), []
    for task in TASKS:
        able = {key: group for key, group in results.picks.items() if key[:3] == (task, "sound", 10)}
        group = max(able.values(), key=lambda g: g.validation)
        pair, title = results.compared[group.key, "dense"], group.runs[0]["method_title"]
        template = words["short"]["at_ratio"].format(method=title, ratio="{}×", points="{} [{}, {}]")
        ends = pair.difference, pair.difference - pair.half, pair.difference + pair.half
        expected.append((template.replace("10×", "{}×"), [10, group.ratio(), *(100 * value for value in ends)]))
        kind, tested, better, _ = against_small(task, results)
        template, values = listed(better, tested, results)
        template = words["short"][kind].format(list=template.replace(" ({} [{}, {}])", ""))
        expected.append((template, values[::4] if kind == "beaten" else []))
    assert len(said) == len(expected) == 6
    assert len({against_small(task, results)[0] for task in TASKS}) > 1
    for text, (template, values) in zip(said, expected, strict=True):
        assert says(text, template, *values), (text, template, values)


def sentences(task: str, results: Results, words: dict) -> list[tuple[str, list[float]]]:
    """(template, numbers) of each statement, in the words of captions.yaml."""
    heads, able = words["headlines"], results.able(task, "sound")
    dense = next(group for group in able if group.key[2] == "dense")
    found = [told(heads["reference"], dense, results, words)]
    at_ten = max((g for key, g in results.picks.items() if key[:3] == (task, "sound", 10)), key=lambda g: g.validation)
    found.append(told(heads["at_ratio"], at_ten, results, words))
    near = [g for g in able if 1 < g.ratio() < math.inf and g.validation >= dense.validation - 0.01]
    smallest = max(near, key=lambda g: g.ratio(), default=None)
    found.append(told(heads["smallest"], smallest, results, words) if smallest else (heads["none_smallest"], []))
    kind, tested, better, worse = against_small(task, results)
    template, values = listed(better, tested, results)
    bad, bad_values = listed(worse, tested, results)
    bad = words["equal_size"]["worse"].format(list=bad) if worse and kind == "not_beaten" else ""
    numbers = [len(tested), *(values if kind != "not_beaten" else bad_values if bad else [])]
    found.append((words["equal_size"][kind].format(comparisons="{} comparisons", list=template, worse=bad), numbers))
    return found


def against_small(task: str, results: Results) -> tuple[str, dict, list, list]:
    """Which statement, every comparison with small_dense, those that are better and those that are worse."""
    picked = {group.key for key, group in results.picks.items() if key[:2] == (task, "sound")}
    tested = {key: results.compared[key, "small"] for key in sorted(picked)
              if not results.control(results.groups[key]) and (key, "small") in results.compared
              and results.compared[key, "small"].n >= 3}  # fmt: skip
    sure = [key for key, pair in tested.items() if pair.p_holm < 0.05 and pair.difference > 0]
    worse = [key for key, pair in tested.items() if pair.p_holm < 0.05 and pair.difference < 0]
    likely = [key for key, pair in tested.items() if pair.difference - pair.half > 0]
    return "beaten" if sure else "uncorrected" if likely else "not_beaten", tested, sure or likely, worse


def listed(keys: list[tuple], tested: dict, results: Results) -> tuple[str, list[float]]:
    """The best of each method."""
    best: dict[str, tuple] = {}
    for key in sorted(keys, key=lambda key: -tested[key].difference):
        best.setdefault(key[2], key)
    parts, values = [], []
    for key in best.values():
        pair, group = tested[key], results.groups[key]
        parts.append(f"{group.runs[0]['method_title']} at {{}}× ({{}} [{{}}, {{}}])")
        values += [group.ratio(), *(100 * v for v in (pair.difference, pair.difference - pair.half,
                                                      pair.difference + pair.half))]  # fmt: skip
    return "; ".join(parts), values


def told(template: str, group: Group, results: Results, words: dict) -> tuple[str, list[float]]:
    """A sentence about a group; its numbers in the order in which the template names them."""
    first = group.runs[0]
    label = settings_text(first["varied"])
    accuracy = [100 * group.mean("test_accuracy"), 100 * group.half("test_accuracy")]
    numbers = {"accuracy": accuracy, "ratio": [group.ratio()], "parameters": [group.size], "seeds": [len(group.ok)]}
    shown = {"accuracy": "{} ± {} %", "ratio": "{}×", "parameters": "{}", "seeds": "{} seeds",
             "method": first["method_title"] + (" (a control)" if first["control"] and group.key[2] != "dense" else ""),
             "settings": "" if label == "defaults" else f" with {label}"}  # fmt: skip
    if (group.key, "dense") in results.compared:
        pair = results.compared[group.key, "dense"]
        low, high = pair.difference - pair.half, pair.difference + pair.half
        key = ("above" if low > 0 else "within" if low >= -0.01 else "below" if high < -0.01 else
               "undecided_within" if pair.difference >= -0.01 else "undecided_below")  # fmt: skip
        shown["verdict"] = words["within"][key].format(difference="{} [{}, {}]")
        numbers["verdict"] = [100 * pair.difference, 100 * low, 100 * high]
    order = [name for name in re.findall(r"\{(\w+)\}", template) if name in numbers]
    # "10× or more" and "1 point" are words here, not results.
    return template.format(**shown), [value for name in order for value in numbers[name]]


# --- accounts of the runs


def test_problems(traced, page, results):
    shown = page.tables["problems"]
    assert shown.heads == ["What", "Task", "Method", "Settings", "Seeds", "Runs", "Reason", "First of them"]
    found = {(row[0].text, row[1].text, row[2].text, row[3].text, row[4].text, row[5].text, row[7].text)
             for row in shown.rows}  # fmt: skip
    expected, title = set(), {one["method"]: one["method_title"] for one in results.records}
    for one in results.records:
        kinds = [one["status"]] if one["status"] != "ok" else []
        kinds += ["stale"] if one["provenance"]["engine_digest"] != results.plan["engine_digest"] else []
        expected |= {(kind, one["task"], title[one["method"]], settings_text(one["varied"]), str(one["seed"]), "1",
                      one["path"]) for kind in kinds}  # fmt: skip
    expected |= {("missing", run["task"], title[run["method"]], settings_text(run["settings"]), str(run["seed"]), "1",
                  run["path"]) for run in results.missing}  # fmt: skip
    assert found == expected and len(shown.rows) == len(found) == 4
    rows = read_csv(traced / "tables/problems.csv")
    assert set(rows[0]) == {"kind", "task", "method", "settings", "reason", "seeds", "runs", "first"}
    assert {(row["kind"], row["runs"], row["first"]) for row in rows} == {(k, r, p) for k, *_, r, p in expected}


def test_selection_bias(traced, page, results):
    shown, (row,) = page.tables["selection_bias"], read_csv(traced / "tables/selection_bias.csv")
    line = line_of(row, results)
    assert line.group.key[1] == "as_released" and len(shown.rows) == 1
    best, last = (line.group.values(name) for name in ("test_accuracy", "test_accuracy_final_epoch"))
    gained = [a - b for a, b in zip(best, last, strict=True)]
    width = half(gained)
    gain = [100 * value for value in (mean(gained), mean(gained) - width, mean(gained) + width)]
    expected = {
        "Task": ("digits", []), "Method": ("VIB-LSTM", []), "Settings": (settings_text(line.first["varied"]), []),
        "Seeds": ("{}", [3]), "Best test epoch": ("{} %", [100 * mean(best)]),
        "Final epoch": ("{} %", [100 * mean(last)]), "Selection bias, points": ("{} [{}, {}]", gain),
    }  # fmt: skip
    assert shown.heads == list(expected)
    for cell, (template, values) in zip(shown.rows[0], expected.values(), strict=True):
        assert says(cell.text, template, *values), (cell, template, values)
    numbers = {"test": mean(best), "test_final_epoch": mean(last), "selection_bias": mean(gained), "n": 3,
               "half_width": width, "stale": 0}  # fmt: skip
    assert set(row) == {*numbers, "task", "protocol", "method", "settings", "control", "unplanned"}
    assert all(float(row[name]) == pytest.approx(value) for name, value in numbers.items())


def test_provenance(traced, page, results):
    expected: Counter = Counter()
    for one in results.records:
        origin = one["provenance"]
        for name in ("machine", "device", "threads", "python", "squeezebench", "engine_digest"):
            expected[name.replace("_", " "), str(origin[name])] += 1
        expected[f"method digest, {one['method']}", origin["method_digest"]] += 1
        expected[f"split digest, {one['task']}", origin["split_digest"]] += 1
        expected.update((f"package {name}", version) for name, version in origin["packages"].items())
    shown = page.tables["provenance"]
    assert shown.heads == ["What", "Value", "Records"]
    assert {(a.text, b.text): int(c.text) for a, b, c in shown.rows} == expected
    rows = read_csv(traced / "tables/provenance.csv")
    assert {(row["what"], row["value"]): int(row["records"]) for row in rows} == expected


# --- beside the papers


def picked(results: Results, task: str, wanted: dict) -> Group | None:
    """The setting that stands beside a printed row: the best on validation."""
    able = [g for g in results.able(task, "sound") if g.key[2] == wanted["method"]
            and g.ratio() >= wanted.get("at_least", 0)
            and all(g.runs[0]["settings"].get(k) == v for k, v in wanted.get("where", {}).items())]  # fmt: skip
    return able[0] if able else None


def exactly(value: float, digits: int = 4) -> float:
    """Sizes in these tables: to the last parameter below 100,000, else to four digits."""
    return value if value < 100_000 else float(f"{value:.{digits}g}")


@pytest.mark.parametrize("name", ["table2", "appendix1"])
def test_a_table_beside_the_paper(traced, page, results, root, name):
    table = next(one for one in PAPER if one["name"] == name)
    block = read_csv(root / f"report/reference/{table['printed']}.csv")
    audited = {row["row"]: row for row in read_csv(traced / f"tables/{name}.csv")}
    size = next(column for column in block[0] if column.startswith("lstm_params"))
    ladder = table.get("layout") == "ladder"
    keys = [f"{line['input']} x {line['hidden']}" if ladder else line["method"] for line in block]
    lines = dict(zip(keys, block, strict=True)) | dict.fromkeys(table.get("also", {}), None)
    shown = page.tables[name]
    assert [row[0].text for row in shown.rows] == [key.replace(" x ", " × ") for key in lines]
    for row, (key, line) in zip(shown.rows, lines.items(), strict=True):
        cells = dict(zip(shown.heads, row, strict=True))
        cells.pop("Inputs × hidden" if ladder else "Method")
        wanted = {**table["rows"], **table.get("also", {})}.get(key)
        group = picked(results, "digits", wanted) if wanted else None
        expected: dict[str, tuple[str, list]] = {}
        print_ = {"Accuracy": "–", "LSTM parameters": "–", "Whole model": "–"}
        if line:
            print_ = {"Accuracy": f"{line['accuracy_pct']} %", "LSTM parameters": line[size]}
            print_["Whole model"] = f"{line['total_params_M']} M" if not ladder else ""
        expected |= {f"Printed: {title}": (re.sub(r"(?<=\d)M", " M", text), []) for title, text in print_.items()}
        again = audited[key]["recomputed_lstm_parameters"]
        expected["Printed: Recomputed"] = ("{}", [exactly(float(again))]) if again else ("–", [])
        if ladder:
            of = max(float(one["input"]) for one in block), max(float(one["hidden"]) for one in block)
            kept = [100 * float(line["input"]) / of[0], 100 * float(line["hidden"]) / of[1]]
            expected["Printed: Share kept"] = ("{} % × {} %", kept)
        titles = [head for head in shown.heads if head.startswith("Ours") or head == "Points to printed"]
        expected |= dict.fromkeys(titles, ("–", []))
        if group is None and wanted:
            expected["Ours: Accuracy"] = ("not run", [])
        if group is not None:
            test, width = group.mean("test_accuracy"), group.half("test_accuracy")
            expected["Ours: Accuracy"] = ("{} ± {} %", [100 * test, 100 * width])
            expected["Ours: LSTM parameters"] = ("{}", [exactly(group.size)])
            expected["Ours: Ratio"] = ("{}×", [group.ratio()])
            expected["Ours: Inputs × hidden"] = ("{} × {}", [group.mean("kept_inputs"), group.mean("kept_hidden")])
            if not ladder:
                expected["Ours: Whole model"] = ("{}", [exactly(group.mean("model_parameters") + INCEPTION)])
            if line:
                lost = 100 * test - float(line["accuracy_pct"])
                expected["Points to printed"] = ("{} [{}, {}]", [lost, lost - 100 * width, lost + 100 * width])
            of = [group.ok[0]["kept"]["of_inputs"], sum(group.ok[0]["kept"]["of_hidden"])]
            kept = [group.mean("kept_inputs"), group.mean("kept_hidden")]
            shares = [100 * part / whole for part, whole in zip(kept, of, strict=True)]
            assert says(cells["Ours: Inputs × hidden"].note, "{} % × {} %", *shares)
        assert set(cells) <= set(expected), "a column that nobody recomputes"
        for title, cell in cells.items():
            template, values = expected[title]
            assert says(cell.text, template, *values), (key, title, cell, template, values)


INCEPTION = 21_785_568  # parameters of Inception-v3 without its classifier, report/reference/backbones.csv


def test_two_splits_of_one_source(page, results):
    shown = page.tables["leak"]
    assert shown.heads == ["Method", "Accuracy, digits", "Accuracy, basic_motions", "Difference, points",
                           "LSTM parameters (left, right)"]  # fmt: skip
    right = picked(results, "basic_motions", {"method": "vib_lstm"})
    left = results.groups["digits", *right.key[1:]]
    a, b = left.values("test_accuracy"), right.values("test_accuracy")
    spread = [deviation(one) ** 2 / len(one) for one in (a, b)]
    freedom = sum(spread) ** 2 / sum(s**2 / (len(one) - 1) for s, one in zip(spread, (a, b), strict=True))
    width = float(stats.t.ppf(0.975, freedom)) * math.sqrt(sum(spread))
    difference = mean(a) - mean(b)
    first, second = shown.rows
    assert [cell.text for cell in second] == ["Gone", "not run", "not run", "–", "–"]
    for cell, group in zip(first[1:3], (left, right), strict=True):
        test, own = group.mean("test_accuracy"), group.half("test_accuracy")
        assert says(cell.text, "{} ± {} %", 100 * test, 100 * own)
    assert says(first[3].text, "{} [{}, {}]", *(100 * v for v in (difference, difference - width, difference + width)))
    assert says(first[4].text, "{}, {}", left.size, right.size)


# --- claims


def claims(root: Path) -> list[dict]:
    return [yaml.safe_load(path.read_text(encoding="utf-8")) | {"name": path.stem}
            for path in sorted((root / "report/claims").glob("*.yaml"))]  # fmt: skip


class Unknown(Exception):
    """The runs that a comparison needs do not exist."""


def meant(results: Results, task: str, wanted: dict) -> list[Group]:
    """Groups with the settings that a claim asks for."""

    def fits(settings: dict) -> bool:
        for key, value in wanted.get("where", {}).items():
            values = value if isinstance(value, list) else [value]  # None: no value, or not a setting yet
            if settings.get(key) not in values or (key not in settings and value is not None):
                return False
        return all(key in settings and settings[key] != value for key, value in wanted.get("unlike", {}).items())

    found = [g for g in results.groups.values() if g.key[:3] == (task, "sound", wanted["method"]) and g.ok
             and fits(g.runs[0]["settings"])]  # fmt: skip
    if not found:
        raise Unknown
    return found


def ordered(groups: list[Group]) -> list[Group]:
    most = min(3, max(len(group.ok) for group in groups))
    return sorted((g for g in groups if len(g.ok) >= most), key=lambda g: (-g.validation, g.size))


def one_of(results: Results, task: str, wanted: dict) -> Group:
    """The setting a claim compares: best on validation, or the smallest within a point of dense."""
    able = [g for g in meant(results, task, wanted) if g.ratio() >= wanted.get("at_least", 0)]
    if not able:
        raise Unknown
    best = ordered(able)
    if len(able) == 1 or wanted.get("pick", "best") == "best":
        return able[0] if len(able) == 1 else best[0]
    level = ordered(meant(results, task, {"method": "dense"}))[0].validation - 0.01
    near = [g for g in best if g.validation >= level]
    return min(near, key=lambda g: (g.size, -g.validation)) if near else best[0]


def together(groups: list[Group], name: str) -> np.ndarray:
    """(groups, seeds) over the seeds that all of them finished."""
    values = [group.by_seed(name) for group in groups]
    seeds = sorted(set.intersection(*(set(one) for one in values)))
    return np.array([[one[seed] for seed in seeds] for one in values])


def interval(values: np.ndarray, least: float, level: float = 0.95) -> list[float]:
    width = stats.t.ppf((1 + level) / 2, len(values) - 1) * max(deviation(values), least) / math.sqrt(len(values))
    return [mean(values), mean(values) - width, mean(values) + width]


def difference(pair: list[Group], level: float = 0.95) -> list[float]:
    test = together(pair, "test_accuracy")
    return interval(test[0] - test[1], 1 / min(run["test_size"] for g in pair for run in g.ok), level)


def outcome(test: dict, results: Results, task: str) -> tuple[str, list[float]]:
    """What a comparison found: (template, numbers). Raises Unknown where it could not be made."""
    form = test["form"]
    if form == "ratio":
        groups = [one_of(results, task, test[side]) for side in ("of", "over") if side in test]
        sizes, bases = (together(groups, name) for name in ("counts/lstm_total", "baseline/counts/lstm_total"))
        every = np.vstack([np.arange(sizes.shape[1])[None], draws(sizes.shape[1])])
        ratio = bases[:, every].mean(-1) / sizes[:, every].mean(-1)
        ratio = ratio[0] / ratio[1] if len(groups) > 1 else ratio[0]
        low, high = middle95(ratio[1:])
        return ("{}× [{}×, {}×]", [ratio[0], low, high]) if high > low * (1 + 1e-12) else ("{}× in every seed", [low])
    if form == "difference":
        pair = [one_of(results, task, test[side]) for side in ("of", "minus")]
        return "{} [{}, {}] points", [100 * value for value in difference(pair)]
    if form == "stored":
        found = [value for g in meant(results, task, test["of"]) for value in g.values(f"counts/{test['count']}")]
        assert len(set(found)) == 1
        return f"{{}} {test['count'].replace('_', ' ')} in {{}} compact modules", [found[0], len(found)]
    if form == "monotone":
        some = sorted(meant(results, task, test["of"]), key=lambda g: g.runs[0]["settings"][test["setting"]])
        x = np.log10([g.runs[0]["settings"][test["setting"]] for g in some])
        y = np.log10(together(some, "baseline/counts/lstm_total") / together(some, "lstm_parameters"))
        slopes = ((x - x.mean()) @ (y - y.mean(0))) / ((x - x.mean()) ** 2).sum()
        return "{} [{}, {}] decades of ratio for a factor of 10 in " + test["setting"], interval(slopes, 0.0)
    if form == "equal_size":
        ours, pairs = ordered(meant(results, task, test["of"])), {}
        for partner in sorted(meant(results, task, test["against"]), key=lambda g: g.size):
            able = [g for g in ours if partner.size / test["factor"] <= g.size <= partner.size]
            if able:
                pairs.setdefault(able[0].key, (able[0], partner))
        if len(pairs) < 2:
            raise Unknown
        words, values = [], []
        for group, partner in pairs.values():
            words.append("at {}× {} [{}, {}] points")
            values += [group.ratio(), *(100 * v for v in difference([group, partner], 1 - 0.05 / len(pairs)))]
        return "; ".join(words), values
    raise Unknown  # falls, equal, speed: no such runs here; test_claims.py has them


def test_claims(page, results, root, traced):
    shown = page.tables["claims"]
    assert shown.heads == ["Claim", "Task", "Printed", "Audited", "Ours", "Verdict", "Why"]
    by_title = {claim["title"]: claim for claim in claims(root)}
    audited = {row["id"]: f"{row['recomputed']} ({row['verdict']})" for row in read_csv(traced / "tables/audit.csv")}
    seen = Counter()
    for row in shown.rows:
        cells = dict(zip(shown.heads, row, strict=True))
        claim, task = by_title[cells["Claim"].text], cells["Task"].text
        printed = [f"{one['says']}: {cell(root, one)}{one.get('unit', '')}" for one in claim.get("printed", [])]
        assert cells["Printed"].text == ("; ".join(printed) or "–")
        assert cells["Audited"].text == ("; ".join(audited[id] for id in claim.get("audit", [])) or "–")
        parts, values = [], []
        for test in claim["tests"] if task in TASKS else ():
            try:
                template, numbers = outcome(test, results, task)
            except Unknown:
                continue
            parts.append(f"{test['says']}: {template}")
            values += numbers
        assert says(cells["Ours"].text, "; ".join(parts) or "–", *values), (cells["Ours"], parts, values)
        if cells["Verdict"].text != "not run":  # the reason repeats one of the comparisons
            repeated = [text for text, _ in map(read_all, re.split("; (?=at )|: ", cells["Ours"].text))]
            assert any(text and text in cells["Why"].text for text in repeated), (cells["Why"], repeated)
        seen[claim["name"]] += bool(parts)
    assert sum(seen.values()) >= 15 and len(seen) == len(by_title)


def read_all(text: str) -> tuple[str, list]:
    """The part of a text from its first number on."""
    found = re.search(NUMBER, text)
    part = text[found.start() :].partition(";")[0] if found else ""
    return part, [read(token) for token in re.findall(NUMBER, part)]


def cell(root: Path, figure: dict) -> str:
    """A printed figure as it stands in report/reference."""
    lines = read_csv(root / f"report/reference/{figure['block']}.csv")
    names = ("method", "model", "network", "variant", "claim")
    key = next((name for name in names if name in lines[0]), next(iter(lines[0])))
    (line,) = (line for line in lines if line[key] == figure["row"])
    return line[figure["column"]]


def test_no_table_is_left_out(page):
    """Every table that the page holds is recomputed here or in test_traced.py."""
    here = {"claims", "table2", "appendix1", "leak", "problems", "selection_bias", "provenance"}
    assert set(page.tables) == here | set(TABLES)
