"""What each method is worth on each task in a few numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.sizes import of_row, rule_of
from squeezebench.report.statistics.spread import ENOUGH_SEEDS
from squeezebench.report.statistics.summary import NEAR, PICKED, RATIOS, STATISTICS
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_column, numeric, text_column
from squeezebench.report.words import captions

SECTION, PAGE = "summary", "sizes"


def build(results: Results) -> Table:
    """One line per task and method."""
    rule = rule_of(results.summary)
    hints = captions(rule.name)["hints"]
    columns = [
        text_column("Task", "task"),
        Column("Method", cells.method),
        numeric("Hypervolume", _hypervolume(rule.nothing), hint=hints["hypervolume"]),
        numeric(f"Ratio at dense {formats.points(-NEAR)}", _picked("near_dense", _ratio, "not reached", _size),
                hint=hints["near_dense"]),
        *(numeric(f"Accuracy at {formats.ratio_tick(ratio)}",
                  _picked(f"accuracy_{ratio}", _accuracy, f"none at {formats.ratio_tick(ratio)}", _at),
                  hint=hints["accuracy_at"]) for ratio in RATIOS),
        number_column("Seeds", "n_seeds", str, tex=False, detail=True),
        number_column("Settings", "n_settings", str, tex=False, detail=True),
    ]  # fmt: skip
    raw = ["task", "protocol", "method", "control", "n_settings", "n_seeds", "chance", "compare_at", "hypervolume"]
    for name in STATISTICS:
        raw += [name, *(f"{name}_{part}" for part in PICKED.values() if part != "settings_label")]
    return Table(columns, results.summary, rule.raw(raw))


def _hypervolume(never: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        if row["n_seeds"] < ENOUGH_SEEDS:
            return Cell(cells.FEW)
        value = row["hypervolume"]
        return Cell(never) if formats.absent(value) else Cell(formats.amount(value), float(value))

    return cell


def _picked(name: str, show: Callable[[Row, str], str], never: str, note: Callable[[Row, str], str]):
    def cell(row: Row) -> Cell:
        if row["n_seeds"] < ENOUGH_SEEDS:
            return Cell(cells.FEW)
        if formats.absent(row[name]):
            return Cell(formats.NONE)
        if np.isneginf(row[name]):
            return Cell(never)
        return Cell(show(row, name), float(row[name]), note=formats.clean(note(row, name)))

    return cell


def _ratio(row: Row, name: str) -> str:
    return of_row(row).ratio(row[name])


def _accuracy(row: Row, name: str) -> str:
    return formats.percent_interval(row[f"{name}_test_accuracy"], row[f"{name}_test_accuracy_half_width"])


def _size(row: Row, name: str) -> str:
    """Which setting it is, its size and its test accuracy."""
    return f"{row[f'{name}_settings_label']}: {formats.count(row[f'{name}_size'])}, {_accuracy(row, name)} on test"


def _at(row: Row, name: str) -> str:
    """Which setting it is and how small it really is."""
    return f"{row[f'{name}_settings_label']}, {of_row(row).ratio(row[f'{name}_ratio'])}"
