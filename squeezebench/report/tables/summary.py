"""What each method is worth on each task in a few numbers, each with its interval or none at all."""

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
        numeric("Hypervolume", _cell("hypervolume", formats.amount, rule.nothing), hint=hints["hypervolume"]),
        numeric(f"Ratio at dense {formats.points(-NEAR)}", _cell("near_dense", formats.ratio, "not reached", _size),
                hint=hints["near_dense"]),
        *(numeric(f"Accuracy at {formats.ratio_tick(ratio)}",
                  _cell(f"accuracy_{ratio}", formats.percent, f"none at {formats.ratio_tick(ratio)}", _at),
                  hint=hints["accuracy_at"]) for ratio in RATIOS),
        number_column("Seeds", "n_seeds", str, tex=False, detail=True),
        number_column("Settings", "n_settings", str, tex=False, detail=True),
    ]  # fmt: skip
    raw = ["task", "protocol", "method", "control", "n_settings", "n_seeds", "covers", "chance", "compare_at"]
    for name in STATISTICS:
        raw += [name, f"{name}_low", f"{name}_high"]
        raw += [f"{name}_{part}" for part in PICKED if part != "settings_label"] if name != "hypervolume" else []
    return Table(columns, results.summary, rule.raw(raw))


def _cell(name: str, show: Callable[[float], str], never: str, note: Callable[[Row, str], str] | None = None):
    def cell(row: Row) -> Cell:
        if row["n_seeds"] < ENOUGH_SEEDS:
            return Cell(cells.FEW)
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        if formats.absent(value):
            return Cell(never if name == "hypervolume" else formats.NONE)
        if np.isneginf(value):
            return Cell(never)
        words, end = (show(one).removesuffix(f"{formats.NBSP}%") for one in (max(low, 0.0), high))
        words = never if np.isneginf(low) else words
        text = show(value) if low == high else f"{show(value)} [{words}, {end}]"
        return Cell(text, float(value), note=formats.clean(note(row, name)) if note else "")

    return cell


def _size(row: Row, name: str) -> str:
    """Which setting it is, its parameters and its test accuracy."""
    size = formats.count(row[f"{name}_size"])
    test = formats.percent_interval(row[f"{name}_test_accuracy"], row[f"{name}_test_accuracy_half_width"])
    return f"{row[f'{name}_settings_label']}: {size}, {test} on test"


def _at(row: Row, name: str) -> str:
    """Which setting it is and how small it really is."""
    return f"{row[f'{name}_settings_label']}, {of_row(row).ratio(row[f'{name}_ratio'])}"
