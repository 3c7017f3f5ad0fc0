"""One source under two splits: what a split that leaks adds to the accuracy."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from squeezebench.base.folds import task_of_fold
from squeezebench.report import formats
from squeezebench.report.gather import GROUP, Gathered
from squeezebench.report.paper.cells import caption, parameters
from squeezebench.report.paper.match import both_sides, told_apart
from squeezebench.report.sizes import rule_of
from squeezebench.report.statistics.groups import accuracy_spread
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, Spread, over_seeds, unpaired
from squeezebench.report.tabular.cells import FEW, accuracy, marks
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_cell, numeric, text_cell
from squeezebench.report.words import captions
from squeezebench.schema.printed import PublishedTable

SIDE = ["ok", "test_accuracy_mean", "test_accuracy_half_width", "size_mean"]
SHARED = ["protocol", "method", "settings", "control", "stale"]
SIDES = [f"{side}_{name}" for side in ("left", "right") for name in ("task", *SIDE)]


def splits_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Table:
    """The accuracy of one setting on both tasks and the difference of the means.

    The two test parts hold different sequences, so seeds are not paired: the interval is Welch's, over seeds and, if
    the records hold predictions, over test sequences. The mean over folds varies with the folds instead.
    """
    tasks = (table.left, table.right)
    rule = rule_of(groups[groups["task"].isin(tasks)])
    lines: list[Row] = []
    for name, row in {**table.rows, **table.also}.items():
        line: Row = {"row": name, "method": row.method, "left_task": table.left, "right_task": table.right}
        if (sides := both_sides(row, tasks, groups)) is not None:
            left, right, line["candidates"] = sides
            line |= {key: right[key] for key in SHARED} | {"label": told_apart(right, groups)}
            line |= {f"{side}_{key}": group[key] for side, group in (("left", left), ("right", right)) for key in SIDE}
            spread = unpaired(*(_spread(group, groups, gathered) for group in (left, right)))
            ends = (spread.mean - spread.half, spread.mean + spread.half)
            line["difference"], line["low"], line["high"] = spread.mean, *ends
        lines.append(line)
    frame = pd.DataFrame(lines, columns=["row", *SHARED, "label", *SIDES, "candidates", "difference", "low", "high"])
    numbers = [name for name in frame if name.endswith(("_mean", "_half_width", "_ok"))]
    frame = frame.astype(dict.fromkeys([*numbers, "candidates", "difference", "low", "high"], float))
    interval = captions()["hints"]["interval"]
    columns = [
        Column("Method", _name),
        numeric(f"Accuracy, {formats.clean(table.left)}", _side("left"), hint=interval),
        numeric(f"Accuracy, {formats.clean(table.right)}", _side("right"), hint=interval),
        numeric("Difference, points", _difference, hint=captions()["paper"]["hints"]["welch"]),
        numeric(f"{rule.title()} (left, right)", _sizes, tex=False),
    ]
    raw = rule.raw(name for name in frame if name != "label")
    return Table(columns, frame, raw, caption(table), table.name)


def _spread(group: pd.Series, groups: pd.DataFrame, gathered: Gathered) -> Spread:
    if formats.absent(group.get("folds")):
        return accuracy_spread([gathered.runs_of(group)], [1.0], gathered)
    same = (groups[GROUP[1:]] == group[GROUP[1:]]).all(axis=1) & (groups["task"].map(task_of_fold) == group["task"])
    return over_seeds(groups.loc[same, "test_accuracy_mean"].to_numpy())


def _name(row: Row) -> Cell:
    if formats.absent(row["candidates"]):
        return text_cell(row["row"])
    number = int(row["candidates"])
    picked = f"best on validation of {row['right_task']}, of {number} settings" if number > 1 else ""
    return text_cell(row["row"], "; ".join(part for part in (row["label"], picked) if part), marks(row))


def _side(side: str) -> Callable[[Row], Cell]:
    show = accuracy(f"{side}_test_accuracy")

    def cell(row: Row) -> Cell:
        absent = formats.absent(row[f"{side}_test_accuracy_mean"])
        return Cell("not run") if absent else show({**row, "ok": row[f"{side}_ok"]})

    return cell


def _difference(row: Row) -> Cell:
    value, ends = row["difference"], [formats.points(row[end]) for end in ("low", "high")]
    few = min(row["left_ok"], row["right_ok"]) < ENOUGH_SEEDS or formats.absent(row["low"])
    if few and not formats.absent(value):
        return Cell(FEW)
    return number_cell(value, lambda points: f"{formats.points(points)} [{', '.join(ends)}]")


def _sizes(row: Row) -> Cell:
    left, right = (row[f"{side}_size_mean"] for side in ("left", "right"))
    return number_cell(None if formats.absent(left) else right, lambda size: f"{parameters(left)}, {parameters(size)}")
