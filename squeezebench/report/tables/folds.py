"""Leave one group out: each run group's mean over all folds of its task."""

from __future__ import annotations

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.sizes import of_row
from squeezebench.report.statistics.folds import over_folds
from squeezebench.report.statistics.spread import ENOUGH_SEEDS
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Row, Table, number_cell, number_column, numeric

SECTION, WHEN = "glance", "optional"  # one task in several parts: its mean comes before the parts


def build(results: Results) -> Table | None:
    """One line per run group; None if no task of the experiment has all its folds planned at once."""
    frame = over_folds(results.groups, results.tasks)
    if frame.empty:
        return None
    columns = [
        *cells.NAMED,
        numeric("Folds", _folds),
        numeric("Test accuracy", cells.with_interval("test_accuracy", formats.percent_interval, said=False)),
        number_column("Worst fold", "test_accuracy_worst", formats.percent),
        numeric("Points to dense", _points),
        number_column(results.rule.title(), "size_mean", formats.count),
        numeric(f"Ratio ({results.rule.noun})", _ratio),
    ]
    return Table(columns, frame, results.rule.raw(name for name in frame if not name.endswith("_label")))


def _folds(row: Row) -> Cell:
    text = str(row["folds"]) if row["folds"] == row["of_folds"] else f"{row['folds']} of {row['of_folds']}"
    return Cell(text, row["folds"], note=f"{row['runs']} runs")


def _points(row: Row) -> Cell:
    if 0 < row["dense_n"] < ENOUGH_SEEDS:
        return Cell("not enough folds")
    return number_cell(row["dense_difference"], lambda mean: formats.points_interval(mean, row["dense_half_width"]))


def _ratio(row: Row) -> Cell:
    return number_cell(row["ratio_size"], of_row(row).ratio)
