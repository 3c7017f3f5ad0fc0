"""The rest of the page, recomputed: sentences and counts of the first screen, claims, papers, accounts of runs."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from pathlib import Path

import pytest
import yaml
from csv_files import read_csv
from expected_cells import TABLES, line_of, settings_text
from page_tables import Tables, says
from recomputed import Group, Paired, Results
from recomputed_means import deviation, half, mean
from scipy import stats
from traced_results import PAPER, SEEDS

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
    status, planned = Counter(one["status"] for one in results.records), len(results.plan["runs"])
    stale = sum(one["provenance"]["engine_digest"] != results.plan["engine_digest"] for one in results.records)
    assert found == {
        f"ok of {planned} planned": status["ok"], "failed": status["failed"], "skipped": status["skipped"],
        "missing": len(results.missing), "stale": stale,
        "left out": len(results.left_out),
    }  # fmt: skip
    assert status["ok"] + status["failed"] + status["skipped"] + len(results.missing) == planned


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
    assert set(facts) == {"Tasks", "Methods", "Seeds", "Protocol", "Finished", "Machine"}


@pytest.mark.parametrize("task", TASKS)
def test_what_is_said_of_a_task(page, results, words, task):
    number = TASKS.index(task) + 1
    (facts,) = texts(page, f"task-{number}.says.quiet")
    done = [one for one in results.records if one["task"] == task and one["status"] == "ok"]
    size, middle = done[0]["test_size"], statistics.median(one["accuracy"]["test"] for one in done)
    error = 100 * math.sqrt(middle * (1 - middle) / size)
    covers = {"digits": "the test part too, if their records hold predictions"}
    covers = covers.get(task, "the seeds alone: these records hold no predictions")
    assert says(facts, "{} test sequences (one standard error of an accuracy near {} %: {} points); intervals cover "
                f"{covers}", size, 100 * middle, error)  # fmt: skip
    said = texts(page, f"task-{number}.says.ul.")
    expected = sentences(task, results, words)
    assert len(said) == len(expected)
    for text, (template, values) in zip(said, expected, strict=True):
        assert says(text, template, *values), (text, template, values)


def test_the_headline_of_a_task(page, results, words):
    """The best method on validation at the registered ratio, its test accuracy, and what it is held against."""
    said, verdicts = texts(page, "glance.tasks.article.div.headline"), set()
    assert len(said) == len(TASKS)
    head = words["headline"]
    for task, text in zip(TASKS, said, strict=True):
        best, control = (best_method(task, results, control=one) for one in (False, True))
        compared, values = [], [10, best.ratio(), *scored(best)]
        for which in ("dense", "small"):
            if pair := results.compared.get((best.key, which)):
                side = "above" if pair.difference > 0 else "below"
                larger = which == "small" and pair.partner.size > 1.1 * best.size
                other = head["larger_small"].format(ratio="{}×") if larger else head[which]
                compared.append(head[side].format(points="{}", other=other) + " [{}, {}]")
                ends = pair.difference, pair.difference - pair.half, pair.difference + pair.half
                values += [100 * abs(ends[0]), *([pair.partner.ratio()] if larger else []),
                           100 * ends[1], 100 * ends[2]]  # fmt: skip
        sure = pair is not None and pair.p_holm < 0.05
        verdict = (
            "no_small" if pair is None else "undecided" if not sure else "better" if pair.difference > 0 else "worse"
        )
        values += [100 * pair.detectable] if verdict == "undecided" else []
        template = head["best"].format(
            at="{}×", ratio="{}×", accuracy="{} % [{}, {}]", method=best.runs[0]["method_title"],
            compared=" and ".join(compared), verdict=head[verdict].format(detectable="{}"))  # fmt: skip
        pair, small = (results.compared.get((best.key, which)) for which in ("control", "small"))
        if pair and (small is None or pair.partner.key != small.partner.key):
            side, ends = "above" if pair.difference > 0 else "below", (-pair.half, pair.half)
            kind = "undecided" if pair.p_holm >= 0.05 else "better" if pair.difference > 0 else "worse"
            title, size = pair.partner.runs[0]["method_title"], pair.partner.ratio()
            other = head[side].format(points="{}", other=f"{title} ({{}}×)") + " [{}, {}]"
            template += " " + head["beside"].format(
                compared=other, at="{}×", verdict=head[f"control_{kind}"].format(detectable="{}"))  # fmt: skip
            values += [100 * abs(pair.difference), size, *(100 * (pair.difference + end) for end in ends), 10]
            values += [100 * pair.detectable] if kind == "undecided" else []
        told = pair and pair.partner.key == control.key and (small is None or control.key != small.partner.key)
        if control is not None and not told and control.validation > best.validation:
            template += " " + head["control"].format(
                method=control.runs[0]["method_title"], ratio="{}×", accuracy="{} % [{}, {}]")  # fmt: skip
            values += [control.ratio(), *scored(control)]
        assert says(text, template, *values), (text, template, values)
        verdicts.add(verdict)
    assert len(verdicts) > 1, "the data say the same of all tasks"


def best_method(task: str, results: Results, control: bool = False) -> Group | None:
    """Of those that reach the registered ratio and have not collapsed the best on validation."""
    reached = (g for key, g in results.picks.items() if key[:3] == (task, "sound", 10) and not results.collapsed(g))
    return max((g for g in reached if results.control(g) == control), key=lambda g: g.validation, default=None)


def scored(group: Group) -> list[float]:
    """Test accuracy with the ends of its interval, in per cent."""
    mean, half = group.mean("test_accuracy"), group.half("test_accuracy")
    return [100 * mean, 100 * max(mean - half, 0), 100 * min(mean + half, 1)]


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
    found += [said for said in (held_against(which, task, results, words) for which in ("small", "control")) if said]
    best = best_method(task, results)
    if pair := results.compared.get((best.key, "small")):
        rates = [(100 * g.mean("train_accuracy"), 100 * (g.mean("train_accuracy") - g.mean("test_accuracy")))
                 for g in (best, pair.partner)]  # fmt: skip
        template = words["headline"]["training"].format(
            method=best.runs[0]["method_title"], own="{} %", own_gap="{}", small=words["headline"]["small"],
            other="{} %", other_gap="{}")  # fmt: skip
        found.append((template, [*rates[0], *rates[1]]))
    return found


def held_against(which: str, task: str, results: Results, words: dict) -> tuple[str, list[float]] | None:
    """What is said of the registered comparisons with small_dense or with the best control."""
    kind, tested, better, worse = against(which, task, results)
    small = {key: pair.partner.key for (key, partner), pair in results.compared.items() if partner == "small"}
    if which == "control" and all(pair.partner.key == small.get(key) for key, pair in tested.items()):
        return None  # said already
    own = words["equal_size" if which == "small" else "best_control"]
    bad, bad_values = listed(worse, tested, results)
    number = sum(len(against(which, other, results)[1]) for other in TASKS)
    partners = {pair.partner.key: pair.partner for pair in tested.values()}.values()
    sizes = [group.ratio() for group in partners]
    controls = "; ".join(f"{group.runs[0]['method_title']}, {{}}×" for group in partners)
    parts = {"at": ("{}×", [10]), "comparisons": ("{} comparisons", [number]), "list": listed(better, tested, results),
             "worse": (own["worse"].format(list=bad) if worse else "", bad_values), "controls": (controls, sizes),
             "power": could_have_found(list(tested.values()), words["power"])}  # fmt: skip
    template = own[kind]
    order = re.findall(r"\{(\w+)\}", template)
    said = template.format(**{name: part for name, (part, _) in parts.items()})
    return said, [value for name in order for value in parts[name][1]]


def could_have_found(pairs: list[Paired], words: dict) -> tuple[str, list[float]]:
    """The smallest detectable differences of the comparisons, and the seeds that one point needs."""

    def span(values, show):
        ends = [min(values), max(values)]
        return ("{}", ends[:1]) if show(ends[0]) == show(ends[1]) else ("{} to {}", ends)

    template, values = span([100 * pair.detectable for pair in pairs], "{:.1f}".format)
    text = words["detectable"].format(points=template)
    if seeds := [pair.seeds_needed for pair in pairs if pair.seeds_needed < math.inf]:
        template, more = span(seeds, "{:.0f}".format)
        text, values = text + words["seeds"].format(seeds=template), values + more
    if without := len(pairs) - len(seeds):
        text, values = text + words["sequences"].format(n="{}", of="{}"), [*values, without, len(pairs)]
    return f"{text}.", values


def against(which: str, task: str, results: Results) -> tuple[str, dict, list, list]:
    """Which statement, every registered comparison with a partner, those that are better and those that are worse."""
    tested = {key: results.compared[key, which] for key in sorted(results.registered)
              if key[:2] == (task, "sound") and (key, which) in results.compared
              and results.compared[key, which].n >= 5}  # fmt: skip
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
               "near the bound" if pair.detectable <= 0.01 else "too little power")  # fmt: skip
        shown["verdict"] = words["within"][key].format(difference="{} [{}, {}]", detectable="{}")
        numbers["verdict"] = [100 * pair.difference, 100 * low, 100 * high]
        numbers["verdict"] += [100 * pair.detectable] if "{detectable}" in words["within"][key] else []
    shown["at"], numbers["at"] = "{}×", [10]
    order = [name for name in re.findall(r"\{(\w+)\}", template) if name in numbers]
    # "1 point" are words here, no result.
    return template.format(**shown), [value for name in order for value in numbers[name]]


# --- accounts of the runs


def test_problems(traced, page, results):
    shown = page.tables["problems"]
    assert shown.heads == ["What", "Task", "Method", "Settings", "Seeds", "Runs", "Reason", "First of them"]
    found = {(row[0].text, row[1].text, row[2].text, row[3].text, row[4].text, row[5].text, row[7].text)
             for row in shown.rows}  # fmt: skip
    expected, title = set(), {one["method"]: one["method_title"] for one in results.records}
    for one in results.records + results.left_out:
        kinds = [one["status"]] if one["status"] != "ok" else []
        kinds += ["left out"] if one in results.left_out else []
        kinds += ["stale"] if one["provenance"]["engine_digest"] != results.plan["engine_digest"] else []
        expected |= {(kind, one["task"], title[one["method"]], settings_text(one["varied"]), str(one["seed"]), "1",
                      one["path"]) for kind in kinds}  # fmt: skip
    expected |= {("missing", run["task"], title[run["method"]], settings_text(run["settings"]), str(run["seed"]), "1",
                  run["path"]) for run in results.missing}  # fmt: skip
    assert found == expected and len(shown.rows) == len(found) == 5
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
        "Seeds": ("{}", [SEEDS]), "Best test epoch": ("{} %", [100 * mean(best)]),
        "Final epoch": ("{} %", [100 * mean(last)]), "Selection bias, points": ("{} [{}, {}]", gain),
    }  # fmt: skip
    assert shown.heads == list(expected)
    for cell, (template, values) in zip(shown.rows[0], expected.values(), strict=True):
        assert says(cell.text, template, *values), (cell, template, values)
    numbers = {"test": mean(best), "test_final_epoch": mean(last), "selection_bias": mean(gained), "n": SEEDS,
               "half_width": width, "stale": 0}  # fmt: skip
    assert set(row) == {*numbers, "task", "protocol", "method", "settings", "control"}
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


def test_claims(page, results, root, traced):
    shown = page.tables["claims_elsewhere"]
    assert shown.heads == ["Claim", "Task", "Printed", "Audited", "Ours", "Verdict", "Why"]
    by_title = {claim["title"]: claim for claim in claims(root)}
    audited = {row["id"]: f"{row['recomputed']} ({row['verdict']})" for row in read_csv(traced / "tables/audit.csv")}
    lines = {(row["title"], row["task"]): row for row in read_csv(traced / "tables/claims_elsewhere.csv")}
    for row in shown.rows:  # what each comparison gives is planted and tested in test_claims.py
        cells = dict(zip(shown.heads, row, strict=True))
        claim, line = by_title[cells["Claim"].text], lines.pop((cells["Claim"].text, cells["Task"].text.strip("–")))
        printed = [f"{one['says']}: {cell(root, one)}{one.get('unit', '')}" for one in claim.get("printed", [])]
        assert cells["Printed"].text == ("; ".join(printed) or "–")
        assert cells["Audited"].text == ("; ".join(audited[id] for id in claim.get("audit", [])) or "–")
        assert (cells["Ours"].text, cells["Verdict"].text) == (line["ours"] or "–", line["verdict"])
    assert not lines


def cell(root: Path, figure: dict) -> str:
    """A printed figure as it stands in report/reference."""
    lines = read_csv(root / f"report/reference/{figure['block']}.csv")
    names = ("method", "model", "network", "variant", "claim")
    key = next((name for name in names if name in lines[0]), next(iter(lines[0])))
    (line,) = (line for line in lines if line[key] == figure["row"])
    return line[figure["column"]]


def test_no_table_is_left_out(page):
    """Every table that the page holds is recomputed here or in test_traced.py."""
    here = {"claims_elsewhere", "table2", "appendix1", "leak", "problems", "selection_bias", "provenance"}
    assert set(page.tables) == here | set(TABLES)
