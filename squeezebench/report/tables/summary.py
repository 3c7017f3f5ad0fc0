"""The table of summaries: what each method is worth on each task, every number with its interval or none at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.sizes import of_row, rule_of
from squeezebench.report.statistics.groups import ENOUGH_SEEDS
from squeezebench.report.statistics.summary import NEAR, PICKED, RATIOS, STATISTICS
from squeezebench.report.tables.table import Cell, Column, Table, text_column
from squeezebench.report.tables.views import method_cell
from squeezebench.report.words import captions

Row = dict[str, Any]
FEW = "not enough seeds"


def summary_table(summary: pd.DataFrame) -> Table:
    """One line per task and method."""
    rule = rule_of(summary)
    words = captions(rule.name)
    hints = words["hints"]
    columns = [
        text_column("Task", "task"),
        Column("Method", method_cell),
        Column("Hypervolume", _cell("hypervolume", formats.amount, rule.nothing), numeric=True,
               hint=hints["hypervolume"]),
        Column(f"Ratio at dense {formats.points(-NEAR)}", _cell("near_dense", formats.ratio, "not reached", _size),
               numeric=True, hint=hints["near_dense"]),
        *(Column(f"Accuracy at {formats.ratio_tick(ratio)}",
                 _cell(f"accuracy_{ratio}", formats.percent, f"none at {formats.ratio_tick(ratio)}", _at),
                 numeric=True, hint=hints["accuracy_at"]) for ratio in RATIOS),
        Column("Seeds", lambda row: Cell(str(row["n_seeds"]), row["n_seeds"]), numeric=True, tex=False),
        Column("Settings", lambda row: Cell(str(row["n_settings"]), row["n_settings"]), numeric=True, tex=False),
    ]  # fmt: skip
    raw = ["task", "protocol", "method", "control", "n_settings", "n_seeds", "chance"]
    for name in STATISTICS:
        raw += [name, f"{name}_low", f"{name}_high"]
        raw += [f"{name}_{part}" for part in PICKED if part != "settings_label"] if name != "hypervolume" else []
    return Table("summary", columns, summary, rule.raw(raw), words["tables"]["summary"])


def _cell(name: str, show: Callable[[float], str], never: str, note: Callable[[Row, str], str] | None = None):
    def cell(row: Row) -> Cell:
        if row["n_seeds"] < ENOUGH_SEEDS:
            return Cell(FEW)
        value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
        if formats.absent(value):
            return Cell(never if name == "hypervolume" else formats.NONE)
        if np.isneginf(value):
            return Cell(never)
        words = never if np.isneginf(low) else show(low)
        text = show(value) if low == high else f"{show(value)} [{words}, {show(high)}]"
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
