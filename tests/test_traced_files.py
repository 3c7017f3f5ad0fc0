"""Every column of every CSV file beside the page, recomputed from the raw records; a column that nobody knows fails."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from csv_files import read_csv
from expected_cells import KEY, Line, every_column_recomputed, line_of
from page_tables import NUMBER, read
from recomputed import CLASSES, FIELDS, REGISTERED, Group, Results, at, canonical, summary
from recomputed_means import half, mean
from scipy import stats
from synthetic_records import METHODS
from traced_results import PAPER, same

Value = Callable[[Line], object]
SAMPLES = {*FIELDS, *CLASSES, "kept_hidden"}  # what groups.csv has a mean and a half width of
KINDS = ("dense", "small", "control")


@pytest.fixture(scope="module")
def results(traced) -> Results:
    return Results(traced)


# --- tables


def base(line: Line, rule: str) -> float:
    return mean(line.group.values(f"baseline/counts/{rule}"))


def number_of(line: Line, status: str) -> int:
    return sum(run["status"] == status for run in line.group.runs)


def stale(line: Line) -> int:
    engine = line.results.plan["engine_digest"]
    return sum(run["provenance"]["engine_digest"] != engine for run in line.group.runs)


def on_front(line: Line) -> bool:
    """No other group of its task and protocol is as small and as accurate, and better in one of the two."""
    own = line.group.size, -line.group.mean("test_accuracy")
    here = (g for g in line.results.groups.values() if g.key[:2] == line.group.key[:2] and g.ok)
    others = [(g.size, -g.mean("test_accuracy")) for g in here]
    return not math.isnan(own[0]) and not any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in others)


def fastest(batch: str) -> Value:
    return lambda line: line.fastest(batch)[2]


COMMON: dict[str, Value] = {
    **{name: lambda line, place=place: line.group.key[place] for place, name in enumerate(KEY)},
    "method_title": lambda line: line.first["method_title"],
    "control": lambda line: line.first["control"],
    "varied": lambda line: canonical(line.first["varied"]),
    "baseline": lambda line: next((r["baseline"]["name"] for r in line.group.runs if r["baseline"]), ""),
    "seeds": lambda line: " ".join(str(seed) for seed in sorted(run["seed"] for run in line.group.runs)),
    "ok": lambda line: len(line.group.ok),
    "stale": stale,
    "compare_at": lambda _: REGISTERED,
    "registered": lambda line: line.group.key in line.results.registered,
    "collapsed": lambda line: line.results.collapsed(line.group),
    "test_accuracy_covers": lambda line: line.group.covers,
    "ratio_lstm_parameters": lambda line: line.group.ratio(),
    "ratio_lstm_parameters_low": lambda line: line.group.ratio_interval[0],
    "ratio_lstm_parameters_high": lambda line: line.group.ratio_interval[1],
    **{f"{name}_mean": lambda line, name=name: line.group.mean(name) for name in SAMPLES},
    **{f"{name}_half_width": lambda line, name=name: line.group.half(name) for name in SAMPLES},
    **{f"fastest_dense_runtime_batch_{batch}": fastest(batch) for batch in ("1", "10")},
}


PARTS = ("n", "difference", "half_width", "p", "covers", "p_holm", "level", "detectable", "seeds_needed")


def paired(which: str, part: str) -> Value:
    def value(line: Line):
        found = line.results.compared.get((line.group.key, which))
        if found is None:
            return {"n": 0}.get(part)
        partner = {"partner_method": found.partner.key[2], "partner_settings": found.partner.key[3],
                   "partner_lstm_parameters_mean": found.partner.size}  # fmt: skip
        if part in PARTS[5:] and line.row.get("registered") == "False":
            return None
        own = {"half_width": found.half, **{name: getattr(found, name) for name in PARTS if name != "half_width"}}
        return (partner | own)[part]

    return value


def statistic(name: str, part: str) -> Value:
    def value(line: Line):
        found = line.summary.get(name)
        if found is None:
            return None
        number, group = found
        if part == "value":
            return number
        if group is None:
            return None
        return {"settings": group.key[3], "ratio": group.ratio(), "lstm_parameters": group.size,
                "test_accuracy": group.mean("test_accuracy"),
                "test_accuracy_half_width": group.half("test_accuracy"),
                "test_accuracy_covers": group.covers}[part]  # fmt: skip

    return value


def of_method(line: Line) -> list[Group]:
    return [g for g in line.results.able(*line.group.key[:2]) if g.key[2] == line.group.key[2]]


STATISTICS = ("near_dense", "accuracy_10", "accuracy_30", "accuracy_100", "accuracy_registered")
FILES: dict[str, dict[str, Value]] = {
    "groups": COMMON | {
        **{status: lambda line, status=status: number_of(line, status) for status in ("failed", "skipped")},
        "missing": lambda line: sum(p["path"].rpartition("/")[0] == line.first["path"].rpartition("/")[0]
                                    for p in line.results.missing),
        **{f"of_{which}": lambda line, which=which: line.kept(which)[1][1] for which in ("inputs", "hidden")},
        **{f"baseline_{rule}": lambda line, rule=rule: base(line, rule)
           for rule in ("lstm_total", "input_to_hidden", "model_total")},
        **{f"ratio_{name}": lambda line, rule=rule: line.group.ratio(rule) for rule, name in
           (("input_to_hidden", "input_to_hidden_parameters"), ("model_total", "model_parameters"))},
        "front": on_front,
    },
    "selected": COMMON | {
        "bracket": lambda line: float(line.row["bracket"]),
        "registered": lambda line: float(line.row["bracket"]) == REGISTERED,
        **{f"{which}_{part}": paired(which, part) for which in KINDS for part in
           ("partner_method", "partner_settings", "partner_lstm_parameters_mean", *PARTS)},
    },
    "summary": COMMON | {
        "n_settings": lambda line: len(of_method(line)),
        "n_seeds": lambda line: max(len(group.ok) for group in of_method(line)),
        "chance": lambda line: 1 / len(line.first["class_names"]),
        **{name: statistic(name, "value") for name in ("hypervolume", *STATISTICS)},
        **{f"{name}_{part}": statistic(name, part) for name in STATISTICS for part in
           ("settings", "ratio", "lstm_parameters", "test_accuracy", "test_accuracy_half_width",
            "test_accuracy_covers")},
    },
    "cost": COMMON,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_column_of_a_file_of_results(traced, results, name):
    every_column_recomputed(traced / f"tables/{name}.csv", FILES[name], results)


RUNS = {
    "path": "path", "status": "status", "reason": "reason", **{key: key for key in (*KEY[:3], "seed", "control")},
    "test": "accuracy/test", "test_final_epoch": "accuracy/test_final_epoch", "validation": "accuracy/validation",
    **{f"{part}_before_fine_tuning": f"before_fine_tuning/{part}" for part in ("validation", "test")},
    "train": "accuracy/train", "baseline": "baseline/name", "baseline_lstm_total": "baseline/counts/lstm_total",
    **{f"count_{name}": f"counts/{name}" for name in ("lstm_total", "input_to_hidden", "model_total")},
    **{name: FIELDS[name] for name in ("kept_inputs", "bytes", "macs", "dense_macs", "peak_activation_bytes",
       "dense_peak_activation_bytes", "train_seconds", "bytes_float16", "bytes_int8")},
    **{f"test_{kind}": FIELDS[f"test_accuracy_{kind}"] for kind in ("float16", "int8")},
    **{name.replace("batch_", ""): path for name, path in FIELDS.items() if "latency_ms_batch" in name},
    **{name: f"provenance/{name}" for name in ("inputs_digest", "engine_digest", "method_digest", "split_digest",
       "machine", "threads", "finished")},
}  # fmt: skip


def test_every_record_is_a_line_of_runs(traced, results):
    rows = {row["path"]: row for row in read_csv(traced / "tables/runs.csv")}
    assert rows.keys() == {one["path"] for one in results.records + results.left_out}
    for one in results.records + results.left_out:
        expected = {column: at(one, path) for column, path in RUNS.items()} | {
            "settings": canonical(one["settings"]),
            "stale": one["provenance"]["engine_digest"] != results.plan["engine_digest"],
            "left_out": "no run of the plan" if one in results.left_out else "",
            "kept_hidden": None if at(one, "kept/hidden") is None else sum(one["kept"]["hidden"]),
            **{name: one["confusion"] and mean(score(np.array(one["confusion"]))) for name, score in CLASSES.items()},
        }
        row = rows[one["path"]]
        assert set(row) == set(expected), "a column that nobody recomputes"
        for column, text in row.items():
            assert same(text, expected[column]), (one["path"], column, text, expected[column])


# --- figures


def test_every_figure_is_one_that_is_recomputed_below(traced):
    names = {path.stem for path in (traced / "figures").glob("*.csv")}
    kinds = ("accuracy_vs_cost", "accuracy_vs_size", "per_class", "ranked", "training")
    known = {f"{kind}_{task}" for kind in kinds for task in ("digits", "basic_motions", "japanese_vowels")}
    known |= {"difference_vs_ratio", "ranks", "figure2", "figure3", "figure4", "figure5"}
    assert names == known | {"leaking_split"}  # which repeats a table, see test_paper_tables


POINT = COMMON | {"front": on_front}


@pytest.mark.parametrize("task", ["digits", "basic_motions", "japanese_vowels"])
def test_points_of_accuracy_against_size(traced, results, task):
    rows = read_csv(traced / f"figures/accuracy_vs_size_{task}.csv")
    assert set(rows[0]) <= set(POINT), "a column that nobody recomputes"
    groups = [group for group in results.groups.values() if group.key[0] == task and group.ok]
    assert {tuple(row[k] for k in KEY) for row in rows} == {group.key for group in groups}
    svg = ElementTree.parse(traced / f"figures/accuracy_vs_size_{task}.svg")
    hovers = {e.get("id"): e.find("{*}title").text for e in svg.iter("{http://www.w3.org/2000/svg}g")
              if e.get("class") == "point"}  # fmt: skip
    for place, row in enumerate(rows):
        line = line_of(row, results)
        for column, text in row.items():
            assert same(text, POINT[column](line)), (line.group.key, column, text)
        if line.group.size:
            said = hovers[f"accuracy_vs_size_{task}-point-{place}"].replace("\N{NO-BREAK SPACE}", " ").splitlines()
            values = [100 * line.group.mean("test_accuracy"), 100 * line.group.half("test_accuracy"),
                      len(line.group.ok), line.group.size, line.group.ratio()]  # fmt: skip
            assert numbers_are("\n".join(said[1:]), values), (said, values)
    assert len(hovers) == sum(group.size > 0 for group in groups)
    assert "recurrence" in "".join(svg.getroot().itertext())  # a model without one has a place of its own


@pytest.mark.parametrize("task", ["digits", "basic_motions", "japanese_vowels"])
def test_points_of_accuracy_against_cost(traced, results, task):
    rows = read_csv(traced / f"figures/accuracy_vs_cost_{task}.csv")
    groups = [group for group in results.groups.values() if group.key[:2] == (task, "sound") and group.ok]
    assert {tuple(row[k] for k in KEY) for row in rows} == {group.key for group in groups}
    for row in rows:
        line = line_of(row, results)
        for column, text in row.items():
            assert same(text, POINT[column](line)), (line.group.key, column, text)


@pytest.mark.parametrize("task", ["digits", "basic_motions", "japanese_vowels"])
def test_the_ranking_at_the_registered_ratio(traced, results, task):
    """Each method's pick on validation, in the order of the test accuracies; dense before them, the others behind."""
    rows = read_csv(traced / f"figures/ranked_{task}.csv")
    reached = [group for key, group in results.picks.items() if key[:3] == (task, "sound", REGISTERED)]
    ranked = sorted((g for g in reached if not results.collapsed(g)), key=lambda g: -g.mean("test_accuracy"))
    assert [row["method"] for row in rows if row["rank"]] == [group.key[2] for group in ranked]
    assert [float(row["rank"]) for row in rows if row["rank"]] == [*range(1, len(ranked) + 1)]
    collapsed = {group.key[2] for group in reached if results.collapsed(group)}
    assert {row["method"] for row in rows if row["reason"] == "collapsed"} == collapsed
    assert [row["reason"] for row in rows[:2]] == ["reference", "no recurrence"]
    absent = [row for row in rows if not row["error"]]
    ran = {group.key[2] for group in results.groups.values() if group.key[0] == task}
    assert {row["method"] for row in absent} == ran - {row["method"] for row in rows if row["error"]}
    assert all(row["reason"] for row in absent)
    errors = {"error", "error_low", "error_high", "rank", "reason"}
    for row in (row for row in rows if row["error"]):
        line = line_of(row, results)
        mean, half = line.group.mean("test_accuracy"), line.group.half("test_accuracy")
        ends = (1 - mean, max(1 - mean - half, 0.0), min(1 - mean + half, 1.0))
        assert all(same(row[name], end) for name, end in zip(("error", "error_low", "error_high"), ends, strict=True))
        for column in row.keys() - errors:
            assert same(row[column], (POINT | {"ok": lambda one: float(len(one.group.ok))})[column](line)), column


def numbers_are(text: str, values: list[float]) -> bool:
    """Whether the first numbers of a text are these."""
    shown = [read(token) for token in re.findall(NUMBER, text)]
    return all(abs(found - value) <= room for (found, room), value in
               zip(shown[: len(values)], values, strict=True))  # fmt: skip


def test_points_of_difference_against_ratio(traced, results):
    rows = read_csv(traced / "figures/difference_vs_ratio.csv")
    first: dict[tuple, int] = {}
    for (_, protocol, bracket, _), group in sorted(results.picks.items(), key=lambda item: item[0][2]):
        if protocol == "sound" and (group.key, "dense") in results.compared:
            first.setdefault(group.key, bracket)  # one group may be the pick of several brackets
    assert {tuple(row[k] for k in KEY): float(row["bracket"]) for row in rows} == first and len(rows) == len(first)
    known = COMMON | {"bracket": lambda line: float(line.row["bracket"])}
    known |= {f"dense_{part}": paired("dense", part) for part in ("n", "difference", "half_width")}
    assert set(rows[0]) <= set(known), "a column that nobody recomputes"
    for row in rows:
        for column, text in row.items():
            assert same(text, known[column](line_of(row, results))), (row["method"], column, text)


def test_ranks(traced, results):
    rows = read_csv(traced / "figures/ranks.csv")
    tasks = sorted({key[0] for key in results.dice if key[1] == "sound"})
    score = {}
    for task in tasks:
        for method in {g.key[2] for g in results.able(task, "sound")} - {"dense"}:
            score[method, task] = summary(results, task, "sound", method)["accuracy_registered"][0]
    complete = sorted(m for m in {m for m, _ in score} if all((m, task) in score for task in tasks))
    ranks = {task: dict(zip(complete, stats.rankdata([-score[m, task] for m in complete]), strict=True))
             for task in tasks}  # fmt: skip
    p = stats.friedmanchisquare(*[[score[m, task] for task in tasks] for m in complete]).pvalue
    assert {(row["method"], row["task"]) for row in rows} == {(m, task) for m in complete for task in tasks}
    left = " ".join(sorted({m for m, _ in score} - set(complete)))
    for row in rows:
        method, task = row["method"], row["task"]
        expected = {"method": method, "task": task, "tasks": len(tasks), "left_out": left, "friedman_p": p,
                    "rank": ranks[task][method], "accuracy_registered": score[method, task],
                    "average_rank": mean(ranks[t][method] for t in tasks)}  # fmt: skip
        assert set(row) == set(expected) and all(same(row[k], v) for k, v in expected.items()), (row, expected)
    svg = (traced / "figures/ranks.svg").read_text(encoding="utf-8")
    assert 'role="img"' in svg and not [name for name in complete if METHODS[name][0] not in svg]


def best(results: Results, task: str, method: str) -> Group:
    """The sound group with the best validation accuracy, whatever its seeds."""
    some = [g for g in results.groups.values() if g.key[:3] == (task, "sound", method) and g.ok]
    return max(some, key=lambda group: group.validation)


def recall(group: Group, place: int) -> list[float]:
    return [run["confusion"][place][place] / sum(run["confusion"][place]) for run in group.ok]


@pytest.mark.parametrize("task", ["digits", "basic_motions", "japanese_vowels"])
def test_accuracy_per_class(traced, results, task):
    rows = read_csv(traced / f"figures/per_class_{task}.csv")
    methods = {group.key[2] for group in results.groups.values() if group.key[0] == task}
    expected = {}
    for method in methods:
        group = best(results, task, method)
        for place, name in enumerate(group.ok[0]["class_names"]):
            expected[method, name] = {"task": task, "method": method, "class": name, "settings": group.key[3],
                                      "accuracy": mean(recall(group, place)), "seeds": len(group.ok)}  # fmt: skip
    assert len(rows) == len(expected)
    for row in rows:
        wanted = expected[row["method"], row["class"]]
        assert set(row) == set(wanted) and all(same(row[k], v) for k, v in wanted.items()), (row, wanted)
    text = "\n".join(ElementTree.parse(traced / f"figures/per_class_{task}.svg").getroot().itertext())
    shown = [int(number) for number in re.findall(r"^\s*(\d+)\s*$", text, re.M)]
    drawn = sorted(round(100 * float(row["accuracy"])) for row in rows)
    assert np.abs(np.array(sorted(shown)) - drawn).max() <= 1 and len(shown) == len(drawn)  # halves round either way


@pytest.mark.parametrize("task", ["digits", "basic_motions", "japanese_vowels"])
def test_training_curves_are_the_histories(traced, results, task):
    rows = read_csv(traced / f"figures/training_{task}.csv")
    expected = []
    for method in sorted({group.key[2] for group in results.groups.values() if group.key[0] == task}):
        group = best(results, task, method)
        path = traced / group.ok[0]["path"] / "history.csv"
        for number, line in enumerate(read_csv(path) if path.is_file() else [], 1):
            expected.append({"task": task, "method": method, "settings": group.key[3], "seed": group.ok[0]["seed"],
                             "stage": line["stage"], "epoch": number,
                             "validation_accuracy": float(line["validation_accuracy"])})  # fmt: skip
    rows.sort(key=lambda row: (row["method"], int(row["epoch"])))
    assert len(rows) == len(expected) > 100
    for row, wanted in zip(rows, expected, strict=True):
        assert set(row) == set(wanted) and all(same(row[k], v) for k, v in wanted.items()), (row, wanted)


# --- the papers' figures


def printed(root: Path, block: str) -> dict[str, dict[str, str]]:
    return {line.get("method") or line["model"]: line for line in read_csv(root / f"report/reference/{block}.csv")}


def count(text: str, column: str) -> float:
    """`33.57M`, `2052`, or 0.41 in a column of millions."""
    return float(text.rstrip("M")) * (1e6 if "M" in text or "_M" in column else 1)


def picked(results: Results, name: str, row: str) -> Group:
    table = next(table for table in PAPER if table["name"] == name)
    wanted = {**table["rows"], **table.get("also", {})}[row]
    return next(g for g in results.able(table["task"], "sound") if g.key[2] == wanted["method"])


def group_columns(group: Group, results: Results) -> dict[str, object]:
    line = Line(group, results, {})
    names = [*KEY, "ok", "validation_accuracy_mean", "test_accuracy_mean", "test_accuracy_half_width",
             "lstm_parameters_mean", "ratio_lstm_parameters", "baseline"]  # fmt: skip
    return {name: COMMON[name](line) for name in names}


def test_a_sweep_has_a_point_for_each_value(traced, results):
    rows = read_csv(traced / "figures/figure5.csv")
    groups = [group for group in results.able("digits", "sound") if group.key[2] == "vib_lstm"]
    groups.sort(key=lambda group: group.runs[0]["settings"]["beta"])
    assert len(rows) == len(groups) == 3
    for row, group in zip(rows, groups, strict=True):
        wanted = group_columns(group, results) | {"row": "VIB", "setting": "beta", "candidates": 1,
                                                  "value": group.runs[0]["settings"]["beta"]}  # fmt: skip
        assert set(row) == set(wanted) and all(same(row[k], v) for k, v in wanted.items()), (row, wanted)


def test_classes_beside_the_paper(traced, results):
    rows = read_csv(traced / "figures/figure2.csv")
    assert len(rows) == 20
    for row in rows:
        group = picked(results, "figure2", row["row"])
        values = recall(group, group.ok[0]["class_names"].index(row["class"]))
        wanted = {"row": row["row"], "class": row["class"], "task": "digits", "method": group.key[2],
                  "settings": group.key[3], "seeds": len(values), "accuracy": mean(values),
                  "half_width": half(values)}  # fmt: skip
        assert set(row) == set(wanted) and all(same(row[k], v) for k, v in wanted.items()), (row, wanted)


def test_ratios_beside_the_paper(traced, results, root):
    rows = read_csv(traced / "figures/figure3.csv")
    lines = printed(root, "viblstm_t2")
    again = {row["row"]: row["recomputed_lstm_parameters"] for row in read_csv(traced / "tables/table2.csv")}
    largest = max(count(line["lstm_params"], "") for line in lines.values())
    assert [row["row"] for row in rows] == ["Naive-LSTM", "VIB-LSTM", "Pooled"]
    for row in rows:
        group, line = picked(results, "figure3", row["row"]), lines.get(row["row"])
        own = group_columns(group, results)
        size = count(line["lstm_params"], "") if line else None
        wanted = {name: own[name] for name in ("task", "method", "settings", "ok", "lstm_parameters_mean",
                                               "ratio_lstm_parameters", "baseline")}  # fmt: skip
        number = len([g for g in results.able("digits", "sound") if g.key[2] == group.key[2]])
        wanted |= {"row": row["row"], "kind": "run", "printed_lstm_parameters": size,
                   "printed_ratio": largest / size if size else None,
                   "picked": f"best on validation of {number} settings" if number > 1 else ""}  # fmt: skip
        own_again = again.get(row["row"])
        wanted["recomputed_ratio"] = float(again["Naive-LSTM"]) / float(own_again) if own_again else None
        assert set(row) == set(wanted) and all(same(row[k], v) for k, v in wanted.items()), (row, wanted)


def test_sizes_beside_the_paper(traced, results, root):
    rows = read_csv(traced / "figures/figure4.csv")
    line = printed(root, "viblstm_t3_hmdb51")["VIB-LSTM"]
    column = next(name for name in line if name.startswith("lstm_params"))
    ours = [row for row in rows if row["source"] == "ours"]
    groups = {g.key for g in results.groups.values() if g.key[:2] == ("digits", "sound") and g.ok
              and g.key[2] in ("vib_lstm", "small_dense")}  # fmt: skip
    assert {tuple(row[k] for k in KEY) for row in ours} == groups and len(ours) == len(groups)
    for row in ours:
        wanted = group_columns(results.groups[tuple(row[k] for k in KEY)], results)
        assert set(row) == {*wanted, "row", "source"} and all(same(row[k], v) for k, v in wanted.items()), row
    (point,) = (row for row in rows if row["source"] == "printed")
    assert float(point["lstm_parameters_mean"]) == pytest.approx(count(line[column], column))
    assert float(point["test_accuracy_mean"]) == pytest.approx(float(line["accuracy_pct"]) / 100)
