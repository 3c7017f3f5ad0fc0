"""Published tables beside ours: every figure recomputed here from the records and the printed files."""

from __future__ import annotations

import json
import math
import statistics
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from csv_files import read_csv
from drawing import drawing_only
from page_tables import Reader
from pydantic import ValidationError
from refusals import refusal_of
from scipy import stats
from synthetic_records import make, record, write

from squeezebench.base.errors import InputError
from squeezebench.report import build_report, outputs
from squeezebench.report.declarations import declared
from squeezebench.report.gather import gather
from squeezebench.report.paper.match import pick
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.printed import RESERVED, OurRow, PublishedTable, check_tables
from squeezebench.schema.reference import REFERENCE, backbone_parameters, read_block, share

TABLE2 = {
    "name": "table2", "title": "Table 2: UCF11, CNN features", "printed": "viblstm_t2", "task": "digits",
    "differs": "digits, not videos", "backbone": "inception_v3",
    "rows": {
        "Naive-LSTM": {"method": "dense"},
        "TR-LSTM": {"method": "tt_lstm", "where": {"rank": 777}},
        "VIB-LSTM": {"method": "vib_lstm"},
        "VIB-LSTM+ISS": {"method": "iss", "pick": "smallest"},
        "ISS": {"method": "iss", "at_least": 4.0},
    },
    "also": {"Smaller dense": {"method": "small_dense", "where": {"hidden": [24, 3]}, "backbone": "efficientnet_b1"}},
}  # fmt: skip
LADDER = {"name": "appendix1", "title": "Appendix Table 1", "printed": "viblstm_appT1", "layout": "ladder",
          "task": "digits", "rows": {"2048 x 674": {"method": "vib_lstm", "where": {"beta": 0.04}},
                                     "28 x 8": {"method": "vib_lstm", "where": {"beta": [0.16]}}}}  # fmt: skip
LEAK = {"name": "leak", "title": "What a random split leaks", "layout": "splits", "left": "digits",
        "right": "basic_motions", "rows": {"VIB-LSTM": {"method": "vib_lstm"}, "Gone": {"method": "iss",
                                           "where": {"strength": 9.0}}}}  # fmt: skip
SWEEP = {"name": "figure5", "title": "Figure 5", "layout": "sweep", "setting": "beta", "task": "digits",
         "rows": {"VIB": {"method": "vib_lstm"}}, "mark": {"at": 0.1, "says": "paper: falls beyond"}}  # fmt: skip
CLASSES = {"name": "figure2", "title": "Figure 2", "layout": "classes", "task": "digits",
           "rows": {"Dense": {"method": "dense"}, "VIB": {"method": "vib_lstm"}}}  # fmt: skip
RATIOS = {"name": "figure3", "title": "Figure 3", "layout": "ratios", "printed": "viblstm_t2", "task": "digits",
          "rows": {key: TABLE2["rows"][key] for key in ("Naive-LSTM", "TR-LSTM", "VIB-LSTM")},
          "also": {"Pooled": {"method": "pooled_linear"}}}  # fmt: skip
SIZE = {"name": "figure4", "title": "Figure 4", "layout": "size", "printed": "viblstm_t3_hmdb51", "task": "digits",
        "rows": {"VIB-LSTM": {"method": "vib_lstm"}}, "also": {"Smaller": {"method": "small_dense"}}}  # fmt: skip
ALL = [TABLE2, LADDER, LEAK, SWEEP, CLASSES, RATIOS, SIZE]


def planned(folder: Path, tables: list[dict], tasks=("digits", "basic_motions"), **more) -> Path:
    """An experiment with its records whose plan asks for `tables`."""
    make(folder, tasks=tasks, steps=4)
    plan = json.loads((folder / "plan.json").read_text())
    plan["config"]["tables"] = [PublishedTable.model_validate(table).model_dump(mode="json") for table in tables]
    (folder / "plan.json").write_text(json.dumps(plan | more))
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = planned(tmp_path_factory.mktemp("results") / "paper", ALL)
    with drawing_only("figure"):
        build_report(folder)
    return folder


def rows_of(folder: Path, name: str) -> dict[str, dict[str, str]]:
    return {row["row"]: row for row in read_csv(folder / f"tables/{name}.csv")}


def groups_of(folder: Path, task: str, method: str) -> list[list[dict]]:
    """Records of a method by setting, read without the report's code."""
    found: dict[str, list[dict]] = {}
    for path in sorted(folder.glob(f"runs/{task}/{method}/*/seed-*/record.json")):
        one = json.loads(path.read_text())
        found.setdefault(json.dumps(one["settings"], sort_keys=True), []).append(one)
    return list(found.values())


def mean(runs: list[dict], *keys: str) -> float:
    values = runs
    for key in keys:
        values = [value[key] for value in values]
    return statistics.fmean(values)


def half(values: list[float]) -> float:
    return stats.t(len(values) - 1).ppf(0.975) * statistics.stdev(values) / math.sqrt(len(values))


def validation(runs: list[dict]) -> float:
    return mean(runs, "accuracy", "validation")


def ratio(runs: list[dict]) -> float:
    return mean(runs, "baseline", "counts", "lstm_total") / mean(runs, "counts", "lstm_total")


def printed_lines(block: str) -> dict[str, dict[str, str]]:
    lines = read_csv(REFERENCE / f"{block}.csv")
    return {line["method"] if "input" not in line else f"{line['input']} x {line['hidden']}": line for line in lines}


# --- tables


def expected_picks(folder: Path) -> dict[str, list[dict]]:
    """The records that have to stand beside each row of TABLE2."""
    dense = max(groups_of(folder, "digits", "dense"), key=validation)
    iss = groups_of(folder, "digits", "iss")
    near = [runs for runs in iss if validation(runs) >= validation(dense) - 0.01] or [max(iss, key=validation)]
    small = [r for r in groups_of(folder, "digits", "small_dense") if r[0]["settings"]["hidden"] in (24, 3)]
    return {
        "Naive-LSTM": dense,
        "VIB-LSTM": max(groups_of(folder, "digits", "vib_lstm"), key=validation),
        "VIB-LSTM+ISS": min(near, key=lambda runs: mean(runs, "counts", "lstm_total")),
        "ISS": max((runs for runs in iss if ratio(runs) >= 4), key=validation),
        "Smaller dense": max(small, key=validation),
    }


def test_every_number_of_a_table_comes_from_the_records_and_the_printed_file(built):
    printed, rows, picks = printed_lines("viblstm_t2"), rows_of(built, "table2"), expected_picks(built)
    assert list(rows) == [*printed, "Smaller dense"], "the paper's order, then what it does not have"
    for name, runs in picks.items():
        row = rows[name]
        accuracies = [run["accuracy"]["test"] for run in runs]
        backbone = 6513184 if name == "Smaller dense" else 21785568
        expected = {
            "test_accuracy_mean": statistics.fmean(accuracies),
            "test_accuracy_half_width": half(accuracies),
            "lstm_parameters_mean": mean(runs, "counts", "lstm_total"),
            "ratio_lstm_parameters": ratio(runs),
            "kept_inputs_mean": mean(runs, "kept", "inputs"),
            "backbone_parameters": backbone,
            "total_parameters": backbone + mean(runs, "counts", "model_total"),
        }
        if name in printed:
            expected["printed_accuracy"] = float(printed[name]["accuracy_pct"]) / 100
            expected["difference"] = expected["test_accuracy_mean"] - expected["printed_accuracy"]
        for key, value in expected.items():
            assert float(row[key]) == pytest.approx(value, rel=1e-9), (name, key)
        assert row["kind"] == "run" and row["ok"] == "3.0"
        assert json.loads(row["settings"]) == runs[0]["settings"]
    assert rows["Smaller dense"]["difference"] == ""
    assert float(rows["VIB-LSTM"]["printed_lstm_parameters"]) == 2052
    assert float(rows["Naive-LSTM"]["printed_total_parameters"]) == 55.38e6


def test_rows_that_are_cited_not_run_or_printed_only_say_so(built):
    rows = rows_of(built, "table2")
    kinds = {name: row["kind"] for name, row in rows.items()}
    assert kinds["Two-Stream [10]"] == kinds["Attention-ConvLSTM [11]"] == "cited"
    assert kinds["EfficientNet+VIB-LSTM"] == "printed only" and kinds["TR-LSTM"] == "not run"
    assert rows["TR-LSTM"]["test_accuracy_mean"] == "" and rows["TR-LSTM"]["printed_accuracy"] == "0.938"
    page = (built / "report.html").read_text(encoding="utf-8")
    assert '<span class="mark">cited</span>' in page and "not run" in page and "not in the paper" in page


def test_the_picking_is_said_beside_the_row(built):
    rows = rows_of(built, "table2")
    assert rows["VIB-LSTM"]["picked"] == "best on validation of 4 settings"
    assert rows["VIB-LSTM+ISS"]["picked"].startswith(("smallest within 1 point", "best on validation; none within 1"))
    assert "at 4.00× or more" in rows["ISS"]["picked"] and rows["Naive-LSTM"]["picked"] == ""
    assert rows["VIB-LSTM"]["picked"] in (built / "report.html").read_text(encoding="utf-8")


def test_test_accuracy_plays_no_part_in_the_picking(tmp_path):
    make(tmp_path, tasks=("digits",), methods=("dense",), steps=1)
    for step, (seen, hidden) in enumerate([(0.9, 0.5), (0.8, 0.99)]):
        for seed in range(3):
            write(tmp_path, record("digits", "vib_lstm", step, seed, accuracy={"validation": seen, "test": hidden}))
    (tmp_path / "plan.json").unlink()
    groups = run_groups(gather(tmp_path))
    for how in ("best", "smallest"):
        found = pick(OurRow(method="vib_lstm", pick=how), "digits", groups)
        assert found.group["test_accuracy_mean"] == pytest.approx(0.5), found.words


def test_recomputed_sizes_are_the_audits(built):
    rows = rows_of(built, "table2")
    assert float(rows["Naive-LSTM"]["recomputed_lstm_parameters"]) == 4 * 2048 * (2048 + 2048 + 2)
    assert rows["VIB-LSTM"]["recomputed_lstm_parameters"] == "2160.0"
    assert rows["VIB-LSTM"]["lstm_verdict"] == "unexplained"
    assert (rows["EfficientNet+VIB-LSTM"]["total_readings"], rows["Naive-LSTM"]["total_verdict"]) == ("2.0", "ok")
    for key, row in rows_of(built, "appendix1").items():
        d, h = map(int, key.split(" x "))
        assert float(row["recomputed_lstm_parameters"]) == 4 * h * (d + h + 2)
    assert rows_of(built, "appendix1")["2048 x 6"]["lstm_verdict"] == "mismatch"


def test_a_leak_is_one_setting_under_two_splits(built):
    """What is computed of both is in test_traced_words.py."""
    rows = rows_of(built, "leak")
    right = max(groups_of(built, "basic_motions", "vib_lstm"), key=validation)
    row = rows["VIB-LSTM"]
    assert json.loads(row["settings"]) == right[0]["settings"] and row["candidates"] == "4.0"
    assert rows["Gone"]["left_test_accuracy_mean"] == "" and "not run" in (built / "report.html").read_text()
    (drawn,) = read_csv(built / "figures/leaking_split.csv")
    assert {**row, **drawn} == row | {"table": "leak"}


@pytest.mark.usefixtures("undrawn")
def test_runs_as_released_are_marked_and_only_shown_where_nothing_sound_is(tmp_path):
    folder = planned(tmp_path, [TABLE2], tasks=("digits",))
    for seed in range(3):
        accuracy = {"validation": 0.999, "test": 0.999, "test_final_epoch": 0.9}
        one = record("digits", "vib_lstm", 1, seed, protocol="as_released", accuracy=accuracy)
        write(folder, one, f"runs/x/{seed}")
    plan = json.loads((folder / "plan.json").read_text())
    plan["runs"] += [{"task": "digits", "method": "vib_lstm", "settings": one.varied, "seed": seed,
                      "path": f"runs/x/{seed}"} for seed in range(3)]  # fmt: skip
    (folder / "plan.json").write_text(json.dumps({key: plan[key] for key in plan if key != "protocol"}))
    build_report(folder)
    assert rows_of(folder, "table2")["VIB-LSTM"]["protocol"] == "sound"
    for path in folder.glob("runs/digits/**/record.json"):
        path.unlink()
    build_report(folder)
    row = rows_of(folder, "table2")["VIB-LSTM"]
    assert (row["protocol"], float(row["test_accuracy_mean"])) == ("as_released", pytest.approx(0.999))
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "as released" in page.split('id="table-table2"')[1].split("</table>")[0]


# --- figures


def test_figures_say_what_is_printed_and_what_is_not_there(built):
    """Their points are recomputed in test_traced_files.py."""
    sweep, ratios = (
        "".join(ElementTree.parse(built / f"figures/{name}.svg").getroot().itertext())
        for name in ("figure5", "figure3")
    )
    assert "paper: falls beyond" in sweep and "dense" in sweep
    assert {"not run", "not printed", "no LSTM"} <= {part.strip() for part in ratios.split("\n")}
    rows = {row["row"]: row for row in read_csv(built / "figures/figure3.csv")}
    assert set(rows) == {"Naive-LSTM", "TR-LSTM", "VIB-LSTM", "Pooled"}
    assert float(rows["TR-LSTM"]["printed_ratio"]) == pytest.approx(33.57 / 1.340)
    assert float(rows["TR-LSTM"]["recomputed_ratio"]) == pytest.approx(33570816 / 17457152)


# --- files, text, nothing run


def test_the_files_written_are_the_files_announced(built):
    written = {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file() and "runs" not in p.parts}
    optional = {f"figures/leaking_split.{suffix}" for suffix in ("csv", "svg")}  # the workflow does not wait for them
    assert written == {*outputs(built / "plan.json"), "plan.json"} | optional
    assert {"tables/table2.tex", "figures/figure5.svg", "figures/figure5.csv"} <= written
    assert "tables/figure5.csv" not in written


@pytest.mark.usefixtures("undrawn")
def test_a_plan_of_which_nothing_has_run_writes_every_file(tmp_path):
    folder = planned(tmp_path, ALL)
    for path in folder.glob("runs/**/record.json"):
        path.unlink()
    page = build_report(folder).read_text(encoding="utf-8")
    assert all((folder / path).is_file() for path in outputs(folder / "plan.json"))
    assert {row["kind"] for row in rows_of(folder, "table2").values()} == {"not run", "cited", "printed only"}
    assert "nothing has been run yet" in page


@pytest.mark.usefixtures("undrawn")
def test_failed_and_too_few_runs_are_said(tmp_path):
    folder = planned(tmp_path, [TABLE2], tasks=("digits",))
    empty = {"accuracy": {}, "counts": None, "confusion": None, "cost": None}
    for path in folder.glob("runs/digits/vib_lstm/*/*/record.json"):
        one = json.loads(path.read_text())
        one = {key: one[key] for key in ("settings", "seed", "varied")}
        write(folder, record("digits", "vib_lstm", 0, 0, status="failed", reason="loss is NaN", **empty).model_copy(
            update=one), path.parent.relative_to(folder).as_posix())  # fmt: skip
    for path in folder.glob("runs/digits/dense/*/seed-[12]/record.json"):
        path.unlink()
    page = build_report(folder).read_text(encoding="utf-8")
    rows = rows_of(folder, "table2")
    assert (rows["VIB-LSTM"]["kind"], rows["VIB-LSTM"]["picked"]) == ("not run", "12 failed")
    assert rows["Naive-LSTM"]["ok"] == "1.0" and rows["Naive-LSTM"]["test_accuracy_half_width"] == ""
    assert "12 failed" in page and "one seed, no interval" in page


EVIL = "<script>alert(1)</script>\"'& 50 % $x_1$"


def test_text_of_the_experiment_is_escaped_on_the_page_and_in_latex(tmp_path):
    table = TABLE2 | {"title": EVIL, "differs": EVIL, "also": {EVIL: {"method": "dense"}}}
    drawn = SWEEP | {"title": EVIL, "rows": {EVIL: {"method": "vib_lstm"}}, "mark": {"at": 0.1, "says": EVIL}}
    folder = planned(tmp_path, [table, drawn], tasks=("digits",))
    with drawing_only("figure5"):
        page = build_report(folder).read_text(encoding="utf-8")
    assert "alert(1)" in page and [tag for tag, _ in Reader(page).tags].count("script") == 1
    ElementTree.fromstring((folder / "figures/figure5.svg").read_text(encoding="utf-8"))
    text = (folder / "tables/table2.tex").read_text(encoding="utf-8")
    assert r"\textless{}script\textgreater{}alert(1)" in text and r"\& 50 \% \$x\_1\$" in text


def test_latex_has_the_headings_over_both_sides_and_equal_rows(built):
    lines = (built / "tables/table2.tex").read_text(encoding="utf-8").splitlines()
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    spec = next(line for line in lines if line.startswith(r"\begin{tabular}")).split("{")[-1].rstrip("}")
    assert {line.count(" & ") + 1 for line in body} == {len(spec)} and len(body) == 9
    top = next(line for line in lines if "multicolumn" in line)
    assert "{Printed}" in top and "Ours" in top
    spans = [int(part.split("}")[0]) for part in top.split(r"\multicolumn{")[1:]]
    assert sum(spans) == len(spec)


def test_names_of_the_reports_own_files_are_taken():
    own = {one.name for kind in ("tables", "figures") for one in declared(kind)}
    assert len(own) > 15 and own <= set(RESERVED)


# --- mistakes in an experiment

SETTINGS = {"dense": set(), "vib_lstm": {"beta", "group_lasso"}, "tt_lstm": {"rank"}, "iss": {"strength"},
         "small_dense": {"hidden"}, "pooled_linear": set()}  # fmt: skip


def test_the_tables_of_this_file_pass_the_check():
    check_tables(
        [PublishedTable.model_validate(table) for table in ALL], SETTINGS, ["digits", "basic_motions"], "x.yaml"
    )


@pytest.mark.parametrize(("changed", "words"), [
    ({"printed": "viblstm_t9"}, "printed: unknown block 'viblstm_t9' of printed figures; did you mean viblstm_t"),
    ({"printed": "sources"}, "unknown block 'sources'"),
    ({"printed": "../sources"}, "unknown block"),
    ({"printed": "itpcc_t1", "rows": {}}, "itpcc_t1 holds neither accuracies nor sizes of LSTMs"),
    ({"rows": {"VIB-LSTN": {"method": "dense"}}}, "has no row 'VIB-LSTN'; did you mean VIB-LSTM"),
    ({"rows": {"VIB-LSTM": {"method": "vib"}}}, "method 'vib' is not in the experiment; did you mean vib_lstm"),
    (
        {"rows": {"VIB-LSTM": {"method": "vib_lstm", "where": {"bta": 1}}}},
        "vib_lstm has no setting 'bta'; did you mean",
    ),
    ({"rows": {"VIB-LSTM": {"method": "vib_lstm", "task": "digit"}}}, "task 'digit' is not in the experiment"),
    ({"task": None}, "the experiment has several tasks (basic_motions, digits); say which with `task:`"),
    ({"backbone": "inception"}, "unknown backbone 'inception'; did you mean inception_v3"),
])  # fmt: skip
def test_a_mistake_is_one_clear_line(changed, words):
    table = PublishedTable.model_validate(TABLE2 | changed)
    line = refusal_of(check_tables, [table], SETTINGS, ["digits", "basic_motions"], "x.yaml")
    assert line.startswith("x.yaml: tables: table2") and words in line


def test_two_tables_of_one_name_are_refused():
    table = PublishedTable.model_validate(TABLE2)
    with pytest.raises(InputError, match="the name is given twice"):
        check_tables([table, table], SETTINGS, ["digits"], "x.yaml")


@pytest.mark.parametrize(("changed", "words"), [
    ({"name": "groups"}, "would meet the report's own files"), ({"name": "../x"}, "pattern"),
    ({"layout": "sweep"}, "needs the key 'setting'"), ({"layout": "splits"}, "needs the key 'left'"),
    ({"printed": None}, "needs the key 'printed'"), ({"rows": {}, "also": {}}, "at least one row"),
    ({"row": {}}, "Extra inputs"), ({"also": {"ISS": {"method": "iss"}}}, "under `rows` and under `also`"),
])  # fmt: skip
def test_a_table_that_cannot_be_drawn_is_refused(changed, words):
    with pytest.raises(ValidationError, match=words):
        PublishedTable.model_validate(TABLE2 | changed)


@pytest.mark.usefixtures("undrawn")
def test_a_damaged_plan_is_one_line(tmp_path):
    folder = planned(tmp_path, [TABLE2], tasks=("digits",))
    plan = json.loads((folder / "plan.json").read_text())
    plan["config"]["tables"][0]["layout"] = "pie"
    (folder / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(InputError, match=r"plan: config.tables: layout: Input should be"):
        build_report(folder)
    (folder / "plan.json").write_text(json.dumps(plan | {"config": {"tables": [3]}}))
    with pytest.raises(InputError, match="not a list of published tables"):
        outputs(folder / "plan.json")


# --- the printed files


@pytest.mark.parametrize("name", ["viblstm_t1", "viblstm_t2", "viblstm_t3_hmdb51", "viblstm_t3_ucf101", "viblstm_t4",
                                  "viblstm_appT1", "viblstm_appT2", "viblstm_appT3"])  # fmt: skip
def test_printed_tables_read_whole(name):
    block = read_block(name)
    assert len(set(block.keys)) == len(block.lines) > 3
    for line in block.lines:
        accuracy = share(line, "accuracy_pct")
        assert (accuracy is None) == (line["accuracy_pct"] == "-") and (accuracy is None or 0.5 < accuracy < 1)
        assert (block.size(line) is None) == (block.size_text(line) == "")


def test_printed_sizes_keep_their_misprints_and_read_as_numbers():
    block = read_block("viblstm_appT2")
    line = dict(zip(block.keys, block.lines, strict=True))["1024 x 512"]
    assert (block.size_text(line), block.size(line)) == ("3.14M4", 3.14e6)
    assert backbone_parameters("inception_v3 + inception_v3") == 2 * 21785568
