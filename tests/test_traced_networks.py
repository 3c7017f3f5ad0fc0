"""A report on image tasks: every number of its tables and CSV files recomputed from the raw records, the printed tables
of VIBNet beside them with their verdicts, and pages with tasks of both kinds."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
import synthetic_records
from csv_files import read_csv
from drawing import drawing_only
from expected_cells import KEY, NETWORKS, every_cell_recomputed, every_column_recomputed
from page_tables import Tables, says
from recomputed import Group, Results, at, canonical
from recomputed_means import half, mean
from synthetic_networks import DENSE, PAPER, counts, make, network
from synthetic_records import write
from test_traced_files import FILES as RECURRENT
from traced_results import rewrite, same

from squeezebench.base.errors import InputError
from squeezebench.report import build_report, outputs
from squeezebench.report.paper.networks import most
from squeezebench.report.words import captions
from squeezebench.schema.printed import PublishedTable, check_tables


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("networks"))
    with drawing_only("accuracy_vs_size"):
        build_report(folder)
    return folder


@pytest.fixture(scope="module")
def results(built) -> Results:
    return Results(built)


@pytest.fixture(scope="module")
def page(built) -> Tables:
    return Tables((built / "report.html").read_text(encoding="utf-8"))


# --- tables of the page


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_every_cell_of_a_table_of_results(built, page, results, name):
    every_cell_recomputed(page.tables[name], built / f"tables/{name}.csv", NETWORKS[name], results, "no weights")


def test_settings_are_picked_by_weights(built, results):
    rows = read_csv(built / "tables/selected.csv")
    picked = {(r["task"], r["protocol"], float(r["bracket"]), r["method"]): r["settings"] for r in rows}
    assert picked == {key: group.key[3] for key, group in results.picks.items()}
    assert {key[2] for key in picked} >= {3, 10, 30, 100}


def test_nothing_on_the_page_speaks_of_an_lstm(built):
    page = (built / "report.html").read_text(encoding="utf-8")
    said = page.split('<h2 id="h-how">')[0]
    assert "LSTM" not in said and "sequence" not in said
    assert "small_dense" not in page and "LSTM parameters" not in page


# --- files beside it


def renamed(file: dict) -> dict:
    """The columns of a CSV file of feed-forward tasks: sizes are weights."""
    return {name.replace("baseline_lstm_total", "baseline_weights").replace("lstm_parameters", "weights"): value
            for name, value in file.items()}  # fmt: skip


def structures(line) -> str:
    return " ".join("-".join(map(str, run["kept"]["structure"])) for run in line.group.ok)


FURTHER = {
    "size_rule": lambda line: "weights",
    "weights_mean": lambda line: line.group.mean("weights"),
    "weights_half_width": lambda line: line.group.half("weights"),
    **{f"{name}_mean": lambda line, name=name: line.group.mean(name) for name in
       ("neurons", "share_weights", "share_neurons", "share_macs")},
    **{f"{name}_half_width": lambda line, name=name: line.group.half(name) for name in
       ("neurons", "share_weights", "share_neurons", "share_macs")},
    "baseline_weights": lambda line: mean(line.group.values("baseline/counts/weights")),
    "baseline_neurons": lambda line: mean(line.group.values("baseline/counts/neurons")),
    "kept_structure": structures,
    "of_structure": lambda line: "-".join(map(str, DENSE[line.group.key[0]])),
    **dict.fromkeys(("of_inputs", "of_hidden", "ratio_input_to_hidden_parameters"), lambda line: None),
}  # fmt: skip
FILES = {name: renamed(file) | FURTHER for name, file in RECURRENT.items()}


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_column_of_a_file_of_results(built, results, name):
    every_column_recomputed(built / f"tables/{name}.csv", FILES[name], results)


def test_every_record_is_a_line_of_runs(built, results):
    rows = {row["path"]: row for row in read_csv(built / "tables/runs.csv")}
    assert rows.keys() == {one["path"] for one in results.records}
    places = {"count_weights": "counts/weights", "count_neurons": "counts/neurons", "test": "accuracy/test",
              "baseline_weights": "baseline/counts/weights", "baseline_neurons": "baseline/counts/neurons",
              "macs": "cost/macs", "bytes": "cost/bytes", "latency_ms_1": "cost/latency_ms/1"}  # fmt: skip
    for one in results.records:
        row = rows[one["path"]]
        assert (row["size_rule"], row["settings"]) == ("weights", canonical(one["settings"]))
        assert row["kept_structure"] == "-".join(map(str, one["kept"]["structure"]))
        for column, place in places.items():
            assert same(row[column], at(one, place)), (one["path"], column)
    assert len(rows) == len(read_csv(built / "tables/runs.csv"))


@pytest.mark.parametrize("task", sorted(DENSE))
def test_points_of_accuracy_against_size(built, results, task):
    rows = read_csv(built / f"figures/accuracy_vs_size_{task}.csv")
    assert {tuple(row[k] for k in KEY) for row in rows} == {key for key in results.groups if key[0] == task}
    for row in rows:
        group = results.groups[tuple(row[k] for k in KEY)]
        assert same(row["weights_mean"], group.mean("weights")) and same(row["ratio_weights"], group.ratio())
    svg = (built / f"figures/accuracy_vs_size_{task}.svg").read_text()
    assert "Weights (log scale)" in svg and "LSTM" not in svg


# --- beside the paper


TARGETS = {"error": ("error_pct", 0.01), "weights": ("r_W_pct", 0.01), "neurons": ("r_N_pct", 0.01),
           "macs": ("flop_M", 1e6)}  # fmt: skip


def limits(printed: dict[str, str]) -> dict[str, float]:
    """What meets a printed row: sizes that round to what is printed or to less, an error no larger than printed."""
    found = {}
    for what, (column, unit) in TARGETS.items():
        if text := printed.get(column):
            found[what] = (float(text) + (what != "error") * 0.5 * 10.0 ** -len(text.partition(".")[2])) * unit
    return found


def measured(group: Group) -> dict[str, list[float]]:
    return {"error": [1 - value for value in group.values("test_accuracy")], "macs": group.values("macs"),
            **{what: group.values(f"share_{what}") for what in ("weights", "neurons")}}  # fmt: skip


def verdict(group: Group, bounds: dict[str, float]) -> str:
    values = measured(group)
    ends = {what: (mean(values[what]), half(values[what])) for what in bounds}
    if any(middle - width > bounds[what] + 1e-12 for what, (middle, width) in ends.items()):
        return "missed"
    inside = all(middle + width <= bounds[what] + 1e-12 for what, (middle, width) in ends.items())
    return "reached" if inside else "undecided"


def shown_beside(results: Results, task: str, method: str, bounds: dict[str, float]) -> Group:
    able = [group for group in results.able(task, "sound") if group.key[2] == method]  # the best on validation first
    small = [g for g in able if all(mean(measured(g)[w]) <= bounds[w] for w in bounds if w != "error")]
    return small[0] if small else min(able, key=lambda group: group.size)


def printed_rows(root: Path, name: str) -> list[dict[str, str]]:
    return read_csv(root / f"report/reference/{name}.csv")


@pytest.mark.parametrize("table", [one for one in PAPER if one["layout"] == "networks"], ids=lambda one: one["name"])
def test_a_printed_table_beside_ours(built, page, results, root, table):
    rows = read_csv(built / f"tables/{table['name']}.csv")
    lines = printed_rows(root, table["printed"])
    labels = {name: row.get("label", name) for name, row in table["rows"].items()}
    names = [labels.get(line["method"], line["method"]) for line in lines] + list(table.get("also", {}))
    assert [row["row"] for row in rows] == names
    cells = [dict(zip(page.tables[table["name"]].heads, row, strict=True)) for row in page.tables[table["name"]].rows]
    verdicts = set()
    for line, row, cell in zip(lines, rows, cells, strict=False):
        assert cell["Method"].text == labels.get(line["method"], line["method"])
        for title, column in (("Error", "error_pct"), ("r_W", "r_W_pct"), ("r_N", "r_N_pct")):
            assert cell[f"Printed: {title}"].text == f"{line[column]} %"
        if "flop_M" in line:
            assert cell["Printed: FLOP"].text == f"{line['flop_M']} M"
        else:
            assert cell["Printed: Structure"].text == line["pruned_model"]
        entry = table["rows"].get(line["method"])
        if entry is None:
            assert (row["kind"], cell["Printed row"].text, row["verdict"]) == ("printed only", "–", "")
            continue
        if "where" in entry:
            assert {row["kind"], cell["Ours: Error"].text, cell["Printed row"].text} == {"not run"}
            continue
        if "pick" in entry:
            continue  # picked as in every other table; test_paper_tables.py has it
        bounds = limits(line)
        group = shown_beside(results, table["task"], entry["method"], bounds)
        assert (row["method"], row["settings"]) == group.key[2:]
        values = measured(group)
        for title, what in (("Error", "error"), ("r_W", "weights"), ("r_N", "neurons")):
            template, numbers = "{} ± {} %", [100 * mean(values[what]), 100 * half(values[what])]
            assert says(cell[f"Ours: {title}"].text, template, *numbers), (cell[f"Ours: {title}"], numbers)
        assert says(cell["Ours: FLOP"].text, "{}", mean(values["macs"]))
        met = sum(all(values[w][seed] <= bounds[w] + 1e-12 for w in bounds) for seed in range(len(group.ok)))
        assert (row["verdict"], int(row["seeds_that_meet_all"])) == (verdict(group, bounds), met)
        assert cell["Printed row"].text == row["verdict"]
        assert f"{met} of {len(group.ok)} seeds meet all" in cell["Printed row"].note
        for what in bounds:
            assert row[f"meets_{what}"] == str(mean(values[what]) <= bounds[what] + 1e-12)
        verdicts.add(row["verdict"])
    assert verdicts


def test_the_papers_own_structures_meet_their_own_rows(root):
    """A rounded figure must not refuse what it was rounded from."""
    (own,) = [line for line in printed_rows(root, "vibnet_t1") if line["method"] == "VIBNet"]
    kept = list(map(int, own["pruned_model"].split("-")))
    (ours, _), (base, _) = counts("mnist_fc", kept), counts("mnist_fc", DENSE["mnist_fc"])
    for what in ("weights", "neurons"):
        share = ours[what] / base[what]
        assert share <= most(own, what) < share * 1.005, what
    assert ours["weights"] / base["weights"] > float(own["r_W_pct"]) / 100  # 3.5906 is printed as 3.59
    assert most(own, "error") == pytest.approx(0.016) and math.isnan(most(own, "macs"))


def small(folder: Path, errors: list[float], kept: list[int]) -> dict[str, str]:
    """The line of VIBNet in Table 1, of runs with these errors and this structure."""
    own, macs = counts("mnist_fc", kept)
    made = network("mnist_fc", "vibnet", 0, 0)
    for seed, error in enumerate(errors):
        changed = {"counts": own, "kept": {"structure": kept, "of_structure": DENSE["mnist_fc"]},
                   "cost": made.cost.model_copy(update={"macs": macs}).model_dump(),
                   "accuracy": {"validation": 0.98, "test": 1 - error}}  # fmt: skip
        write(folder, network("mnist_fc", "vibnet", 0, seed, **changed))
    table = PublishedTable.model_validate(PAPER[0] | {"rows": {"VIBNet": {"method": "vibnet"}}, "also": {}})
    (folder / "plan.json").write_text(json.dumps({"runs": [], "config": {"tables": [table.model_dump(mode="json")]}}))
    build_report(folder)
    return {row["row"]: row for row in read_csv(folder / "tables/vibnet_table1.csv")}["VIBNet"]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("errors", "kept", "expected", "met"),
    [
        ([0.0150, 0.0151, 0.0149, 0.0150, 0.0150], [97, 71, 33], "reached", 5),
        ([0.0150, 0.0165, 0.0155, 0.0170, 0.0152], [97, 71, 33], "undecided", 3),  # met on average, not certainly
        ([0.0150, 0.0175, 0.0160, 0.0165, 0.0170], [97, 71, 33], "undecided", 2),  # on average above, not certainly
        ([0.0172, 0.0171, 0.0173, 0.0172, 0.0172], [97, 71, 33], "missed", 0),
        ([0.0150, 0.0151, 0.0149, 0.0150, 0.0150], [98, 71, 33], "missed", 0),  # r_W 3.617 %
        ([0.0150, 0.0151, 0.0149, 0.0150], [97, 71, 33], "undecided", 4),  # not enough seeds
    ],
)
def test_verdicts(tmp_path, errors, kept, expected, met):
    row = small(tmp_path, errors, kept)
    assert (row["verdict"], row["seeds_that_meet_all"]) == (expected, str(met))
    assert row["meets_weights"] == str(kept[0] == 97)


def test_the_frontier_shows_every_setting_and_the_printed_row(built, results):
    rows = read_csv(built / "figures/frontier.csv")
    ours = [row for row in rows if row["source"] == "ours"]
    assert {(row["method"], row["settings"]) for row in ours} == {
        key[2:] for key in results.groups
        if key[0] == "mnist_fc" and key[2] in ("vibnet", "small_network")}  # fmt: skip
    (printed,) = (row for row in rows if row["source"] == "printed")
    assert same(printed["weights_mean"], 0.0359 * 266_200) and same(printed["test_accuracy_mean"], 0.984)


def test_every_file_that_is_promised_is_written(built):
    assert all((built / place).is_file() for place in outputs(built / "plan.json"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"layout": "table"}, "vibnet_t1 is of feed-forward networks; give networks or size"),
        (
            {"printed": "viblstm_t2", "rows": {"ISS": {"method": "vibnet"}}},
            "viblstm_t2 holds no errors of feed-forward",
        ),
        ({"printed": "vibnet_t3", "rows": {"VIBNet": {"method": "vibnet"}}}, "vibnet_t3 has no row 'VIBNet'"),
    ],
)
def test_a_table_that_could_show_nothing_is_refused(changed, said):
    table = PublishedTable.model_validate(
        {"name": "one", "title": "One", "layout": "networks", "printed": "vibnet_t1",
         "rows": {"VIBNet": {"method": "vibnet"}}} | changed)  # fmt: skip
    with pytest.raises(InputError, match=said):
        check_tables([table], {"vibnet": []}, ["mnist_fc"], "experiment")


def test_rows_of_one_name_are_told_apart_by_their_group():
    table = {"name": "one", "title": "One", "layout": "networks", "printed": "vibnet_t3",
             "rows": {"VIBNet (2)": {"method": "vibnet"}}}  # fmt: skip
    check_tables([PublishedTable.model_validate(table)], {"vibnet": []}, ["cifar"], "experiment")


# --- tasks of both kinds, and changes


def test_a_page_with_tasks_of_both_kinds(tmp_path):
    make(tmp_path, tasks=("mnist_fc",))
    synthetic_records.make(tmp_path, tasks=("digits",), steps=2)  # its plan replaces the other one
    (tmp_path / "plan.json").unlink()
    with drawing_only("accuracy_vs_size"):
        page = build_report(tmp_path).read_text(encoding="utf-8")
    rows = read_csv(tmp_path / "tables/groups.csv")
    assert {(row["task"], row["size_rule"]) for row in rows} == {("digits", "lstm_total"), ("mnist_fc", "weights")}
    found = Results.__new__(Results)
    found.groups = {}
    for path in tmp_path.glob("runs/**/record.json"):
        one = json.loads(path.read_text())
        key = (*(one[name] for name in KEY[:3]), canonical(one["settings"]))
        found.groups.setdefault(key, Group(key)).runs.append(one)
    for row in rows:
        group = found.groups[tuple(row[k] for k in KEY)]
        assert same(row["size_mean"], group.size) and same(row["ratio_size"], group.ratio()), row
    texts = {task: (tmp_path / f"figures/accuracy_vs_size_{task}.svg").read_text() for task in ("digits", "mnist_fc")}
    assert "LSTM parameters (log scale)" in texts["digits"] and "Weights (log scale)" in texts["mnist_fc"]
    said = [text for text in page.split("<li") if "The reference" in text]
    assert len(said) == 2 and sum(" LSTM parameters." in text for text in said) == 1
    assert sum(" weights." in text for text in said) == 1


@pytest.mark.usefixtures("undrawn")
def test_a_changed_count_of_weights_changes_what_it_should(built, tmp_path, page):
    import shutil

    shutil.copytree(built / "runs", tmp_path / "runs")
    shutil.copy(built / "plan.json", tmp_path)
    (place,) = tmp_path.glob("runs/mnist_fc/vibnet/2-*/seed-1")
    rewrite(place, lambda one: one["counts"].update(weights=one["counts"]["weights"] + 900))
    other = Tables(build_report(tmp_path).read_text(encoding="utf-8"))
    differ = {(title, tuple(c.text for c in new[:2])) for old, new in
              zip(page.tables["groups"].rows, other.tables["groups"].rows, strict=True)
              for title, a, b in zip(page.tables["groups"].heads, old, new, strict=True) if a != b}  # fmt: skip
    assert {title for title, _ in differ} == {"Weights", "Ratio (weights)", "r_W"}
    assert {where for _, where in differ} == {("mnist_fc", "VIBNet")}


@pytest.mark.usefixtures("undrawn")
def test_a_task_whose_runs_all_failed_has_a_page_of_its_own(tmp_path):
    nothing = {"status": "failed", "reason": "loss is NaN", "accuracy": {}, "counts": None, "confusion": None,
               "cost": None, "baseline": None, "kept": {}}  # fmt: skip
    write(tmp_path, network("mnist_fc", "vibnet", 0, 0, **nothing))
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "loss is NaN" in page
    assert len(read_csv(tmp_path / "tables/groups.csv")) == 1


# --- words


@pytest.mark.parametrize("rule", ["weights", "mixed"])
def test_the_words_of_other_sizes_stand_in_the_places_of_those_for_lstm_parameters(rule):
    """captions() raises where a sentence under `sizes:` has nothing to stand in for."""
    ours, base = captions(rule), captions()

    def leaves(words, path=()):
        for key, value in words.items():
            yield from leaves(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]

    before, after = dict(leaves(base)), dict(leaves(ours))
    assert before.keys() == after.keys()
    changed = [path for path in before if before[path] != after[path]]
    assert len(changed) >= 10
    for path in changed:  # the names in braces are filled in by the code, whatever the sentence
        fields = [{part.split("}")[0] for part in str(words[path]).split("{")[1:]} for words in (before, after)]
        assert fields[0] == fields[1], path


def test_no_sentence_of_a_feed_forward_page_is_about_lstms():
    words = captions("weights")
    places = [words["headlines"], words["equal_size"], words["headline"], words["missing"], words["hints"],
              words["figures"]["ranks"],
              words["figures"]["accuracy_vs_size"], words["figures"]["difference_vs_ratio"],
              words["figures"]["per_class"], words["statistics"], {"groups": words["tables"]["groups"]}]  # fmt: skip
    for text in itertools.chain.from_iterable(place.values() for place in places):
        assert "LSTM" not in text and "small_dense" not in text, text
