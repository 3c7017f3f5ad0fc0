"""One source under two splits: what a split that leaks adds to the accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from squeezebench.report import formats
from squeezebench.report.figures.more import runs_of
from squeezebench.report.gather import Gathered
from squeezebench.report.paper.match import both_sides, told_apart
from squeezebench.report.paper.table import caption, parameters
from squeezebench.report.sizes import rule_of
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL
from squeezebench.report.tables.table import Cell, Column, Table
from squeezebench.report.tables.views import marks
from squeezebench.report.words import captions
from squeezebench.schema.printed import PublishedTable

Row = dict[str, Any]

SIDE = ["ok", "test_accuracy_mean", "test_accuracy_half_width", "size_mean"]
SHARED = ["protocol", "method", "settings", "control", "stale", "unplanned"]
SIDES = [f"{side}_{name}" for side in ("left", "right") for name in ("task", *SIDE)]


def splits_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Table:
    """The accuracy of one setting on both tasks and the difference of the means.

    The two test parts hold different sequences, so seeds are not paired: the interval is Welch's.
    """
    tasks = (table.left, table.right)
    rule = rule_of(groups[groups["task"].isin(tasks)])
    lines: list[Row] = []
    for name, row in {**table.rows, **table.also}.items():
        line: Row = {"row": name, "method": row.method, "left_task": table.left, "right_task": table.right}
        if (found := both_sides(row, tasks, groups)) is not None:
            left, right, line["candidates"] = found
            line |= {key: right[key] for key in SHARED} | {"label": told_apart(right, groups)}
            line |= {f"{side}_{key}": group[key] for side, group in (("left", left), ("right", right)) for key in SIDE}
            values = [runs_of(group, gathered)["test"].dropna().to_numpy() for group in (left, right)]
            line["difference"], line["low"], line["high"] = welch(*values)
        lines.append(line)
    frame = pd.DataFrame(lines, columns=["row", *SHARED, "label", *SIDES, "candidates", "difference", "low", "high"])
    numbers = [name for name in frame if name.endswith(("_mean", "_half_width", "_ok"))]
    frame = frame.astype(dict.fromkeys([*numbers, "candidates", "difference", "low", "high"], float))
    interval = captions()["hints"]["interval"]
    columns = [
        Column("Method", _name),
        Column(f"Accuracy, {formats.clean(table.left)}", _side("left"), numeric=True, hint=interval),
        Column(f"Accuracy, {formats.clean(table.right)}", _side("right"), numeric=True, hint=interval),
        Column("Difference, points", _difference, numeric=True, hint=captions()["paper"]["hints"]["welch"]),
        Column(f"{rule.title()} (left, right)", _sizes, numeric=True, tex=False),
    ]
    raw = rule.raw(name for name in frame if name != "label")
    return Table(table.name, columns, frame, raw, caption(table))


def welch(left: np.ndarray, right: np.ndarray) -> tuple[float, float, float]:
    """Difference of means with Welch's 95 % interval; the interval is missing where a side has one value."""
    difference = left.mean() - right.mean()
    if min(len(left), len(right)) < 2 or not (left.std() or right.std()):
        return difference, np.nan, np.nan
    interval = stats.ttest_ind(left, right, equal_var=False).confidence_interval(LEVEL)
    return difference, interval.low, interval.high


def _name(row: Row) -> Cell:
    name = formats.clean(row["row"])
    if formats.absent(row["candidates"]):
        return Cell(name)
    number = int(row["candidates"])
    picked = f"best on validation of {row['right_task']}, of {number} settings" if number > 1 else ""
    return Cell(name, marks=marks(row), note=formats.clean("; ".join(part for part in (row["label"], picked) if part)))


def _side(side: str):
    def cell(row: Row) -> Cell:
        mean, half = row[f"{side}_test_accuracy_mean"], row[f"{side}_test_accuracy_half_width"]
        if formats.absent(mean):
            return Cell("not run")
        note = "one seed, no interval" if formats.absent(half) else ""
        return Cell(formats.percent_interval(mean, half), mean, note=note)

    return cell


def _difference(row: Row) -> Cell:
    value = row["difference"]
    if formats.absent(value):
        return Cell(formats.NONE)
    if min(row["left_ok"], row["right_ok"]) < ENOUGH_SEEDS or formats.absent(row["low"]):
        return Cell("not enough seeds")
    return Cell(f"{formats.points(value)} [{formats.points(row['low'])}, {formats.points(row['high'])}]", value)


def _sizes(row: Row) -> Cell:
    sizes = [row[f"{side}_size_mean"] for side in ("left", "right")]
    if any(map(formats.absent, sizes)):
        return Cell(formats.NONE)
    return Cell(", ".join(map(parameters, sizes)), sizes[1])
