"""Every number in a table of the page, recomputed from the raw records; a column that nobody recomputes fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from csv_files import read_csv
from expected_cells import KEY, TABLES, every_cell_recomputed
from page_tables import Tables
from recomputed import Results
from traced_results import rewrite

from squeezebench.report import build_report


@pytest.fixture(scope="module")
def results(traced) -> Results:
    return Results(traced)


@pytest.fixture(scope="module")
def page(traced) -> Tables:
    return Tables((traced / "report.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_cell_of_a_table_of_results(traced, page, results, name):
    every_cell_recomputed(page.tables[name], traced / f"tables/{name}.csv", TABLES[name], results, "no LSTM")


def test_the_lines_are_all_that_should_be_there(traced, results):
    rows = {name: read_csv(traced / f"tables/{name}.csv") for name in TABLES}
    assert sorted(tuple(row[k] for k in KEY) for row in rows["groups"]) == sorted(results.groups)
    picked = {(r["task"], r["protocol"], float(r["bracket"]), r["method"]): r["settings"] for r in rows["selected"]}
    assert picked == {key: group.key[3] for key, group in results.picks.items()}
    assert len(picked) == len(rows["selected"])
    shown = {group.key for group in results.picks.values()}
    shown |= {key for key, group in results.groups.items() if key[2] == "dense" and group.ok}
    assert sorted(tuple(row[k] for k in KEY) for row in rows["cost"]) == sorted(shown)
    methods = {(t, p, g.key[2]) for (t, p), some in results.dice.items() for g in some if g.key[2] != "dense"}
    assert sorted(tuple(row[k] for k in KEY[:3]) for row in rows["summary"]) == sorted(methods)


# --- a planted change


def cells(page: Tables) -> dict[tuple, tuple]:
    """Every cell of the page by table, line (its first cells that are words) and column."""
    found = {}
    for name, table in page.tables.items():
        for number, row in enumerate(table.rows):
            for title, cell in zip(table.heads, row, strict=True):
                found[name, number, title] = (cell.text, tuple(cell.marks), cell.note)
    return found


def changed(traced: Path, tmp_path: Path, change) -> tuple[dict[str, set[tuple]], Tables]:
    """Table -> (line, column) of the cells that are other ones where one record is; one of TT-LSTM on digits."""
    folder = tmp_path / "changed"
    shutil.copytree(traced / "runs", folder / "runs")
    shutil.copy(traced / "plan.json", folder)
    (place,) = folder.glob("runs/digits/tt_lstm/0-*/seed-1")
    rewrite(place, change)
    page = Tables(build_report(folder).read_text(encoding="utf-8"))
    before, after = cells(Tables((traced / "report.html").read_text(encoding="utf-8"))), cells(page)
    assert before.keys() == after.keys()
    found: dict[str, set[tuple]] = {}
    for name, number, title in before:
        if before[name, number, title] != after[name, number, title]:
            found.setdefault(name, set()).add((number, title))
    return found, page


def lines_about(page: Tables, name: str, settings: str = "") -> set[int]:
    """Places of the lines of TT-LSTM on digits, with these settings."""
    table = page.tables[name]
    return {number for number, row in enumerate(table.rows) for texts in [[cell.text for cell in row]]
            if "digits" in texts and "TT-LSTM" in texts and (not settings or settings in texts)}  # fmt: skip


@pytest.mark.usefixtures("undrawn")
def test_a_changed_accuracy_changes_its_own_cells_and_no_other(traced, tmp_path):
    found, page = changed(traced, tmp_path, lambda one: one["accuracy"].update(test=one["accuracy"]["test"] - 0.05))
    differences = {"Points to dense", "Points to small_dense", "Points to best control"}
    own = {name: lines_about(page, name, "rank = 6") for name in ("groups", "selected", "cost")}
    assert all(own.values())
    assert found.pop("groups") == {(line, "Test accuracy") for line in own["groups"]}
    assert found.pop("selected") == {(line, title) for line in own["selected"] for title in
                                     {"Test accuracy", *differences}}  # fmt: skip
    # float16 and int8 have accuracies of their own; how far these are from float32's is another number now.
    assert found.pop("cost") == {(line, f"On disk: {kind}") for line in own["cost"] for kind in ("float16", "int8")}
    (line,) = lines_about(page, "summary")
    assert found.pop("summary", set()) <= {(line, title) for title in page.tables["summary"].heads[2:7]}
    # No claim is about TT-LSTM alone: where one compares with it, its line may change.
    rows = page.tables["claims_elsewhere"].rows
    assert all("TT-LSTM" in rows[number][4].text for number, _ in found.pop("claims_elsewhere", ()))
    assert found == {}


@pytest.mark.usefixtures("undrawn")
def test_a_changed_count_changes_its_own_cells_and_no_other(traced, tmp_path):
    found, page = changed(traced, tmp_path, lambda one: one["counts"].update(
        lstm_total=one["counts"]["lstm_total"] + 900))  # fmt: skip
    size = {"LSTM parameters", "Ratio (LSTM parameters)"}
    (line,) = lines_about(page, "groups", "rank = 6")
    assert found.pop("groups") == {(line, title) for title in size}
    allowed = {"selected": {"Ratio (LSTM parameters)", "Points to small_dense", "Points to best control",
                            "Detectable"},
               "cost": {"Ratio (LSTM parameters)"}, "summary": set(page.tables["summary"].heads[2:7])}  # fmt: skip
    for name, titles in allowed.items():
        here = found.pop(name, set())
        assert {number for number, _ in here} <= lines_about(page, name), name
        assert {title for _, title in here} <= titles, name
        assert here or name == "summary", name  # which has ratios to three digits of the sizes that reach 10x
    assert set(found) <= {"claims_elsewhere"}
