"""The methods of a task at the registered ratio, ranked by test error, with intervals; the others with the reason."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from squeezebench.report import formats
from squeezebench.report.drawing.axes import DASHED, heading, marker, short, ticks_between
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import GRID, INK, SOFT, new_figure
from squeezebench.report.ranking import Ranking, ranking
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE, rule_of
from squeezebench.report.statistics.picks import SAME_SIZE

SECTION, EACH, FOLDS, PAGE = "glance", "task", "mean", "sizes"
GROUP = ["task", "protocol", "method", "method_title", "settings", "control", "ok", "collapsed", "size_mean",
         "ratio_size", "test_accuracy_mean", "test_accuracy_half_width", "train_accuracy_mean",
         "validation_accuracy_mean"]  # fmt: skip
POINTS = ["rank", "compare_at", *GROUP, "error", "error_low", "error_high", "reason"]
TICKS = [step * 10.0**power for power in range(-4, 0) for step in (1, 2, 5)] + [1.0]
NARROW = 3.4  # inches: a phone shows it whole


def draw(results: Results, task: str) -> Drawing:
    rule, order = rule_of(results.of(task)), ranking(results, task)
    table = points(order, results, task)
    if table["error"].isna().all():
        return Drawing.nothing("No run of this task has finished.", POINTS, rule)
    rows = rows_of(table)
    figure = new_figure(NARROW, 0.62 + 0.185 * len(rows))
    axes = figure.add_subplot()
    axes.set_xscale("log")
    low, high = _limits(table)
    axes.set_xlim(low, high)
    hovers: dict[str, str] = {}
    for place, row in enumerate(rows):
        _row(axes, place, row, results, hovers)
    _labels(axes, rows)
    _reference(axes, table)
    heading(axes, f"Test error at {formats.ratio_tick(order.at)}, % (log scale)")
    return Drawing(figure, table[POINTS], hovers, rule)


def points(order: Ranking, results: Results, task: str) -> pd.DataFrame:
    """A line for each method: references, ranked ones, collapsed ones, and those that do not reach the ratio."""
    shown = pd.concat([order.references.assign(place=-1), order.groups.assign(place=range(1, len(order.groups) + 1))])
    error, half = 1 - shown["test_accuracy_mean"], shown["test_accuracy_half_width"]
    shown = shown.assign(error=error, error_low=(error - half).clip(lower=0), error_high=(error + half).clip(upper=1))
    ranked = (shown["place"] > 0) & ~shown["collapsed"]
    reason = np.where(shown["method"].isin(DENSE), "reference", np.where(shown["place"] < 0, "no recurrence", ""))
    shown = shown.assign(rank=shown["place"].where(ranked), reason=np.where(shown["collapsed"], "collapsed", reason))
    columns = ["task", "method", "method_label", "method_title", "brief", "reason"]
    absent = [(task, row.method, row.label, row.label, row.brief, row.reason) for row in order.absent]
    control = results.groups.groupby("method")["control"].any()
    others = pd.DataFrame(absent, columns=columns)
    others = others.assign(control=[bool(control.get(name, False)) for name in others["method"]])
    table = pd.concat([shown, others], ignore_index=True) if len(others) else shown.reset_index(drop=True)
    return table.assign(compare_at=order.at)


def _limits(table: pd.DataFrame) -> tuple[float, float]:
    """The range of the errors, with the ends of their intervals as far as these do not crush it."""
    error = table["error"].dropna()
    least = error[error > 0].min() if (error > 0).any() else 0.001
    low = max(table["error_low"].fillna(least).min(), least / 2.5)
    high = max(table["error_high"].fillna(table["error"]).max(), 1.2 * least)
    return low * 0.85, min(high * 1.2, 1.15)


def _row(axes: Axes, place: int, row: dict, results: Results, hovers: dict[str, str]) -> None:
    """One method: its marker with the interval, and its error in figures; or why it is not there."""
    if formats.absent(row["error"]):
        axes.annotate(short(row["brief"], 30), (0.02, place), xycoords=("axes fraction", "data"), va="center",
                      color=SOFT, fontsize=7.5)  # fmt: skip
        return
    look, left = results.looks[row["method"]], axes.get_xlim()[0]
    if not formats.absent(row["error_low"]):
        axes.hlines(place, max(row["error_low"], left), row["error_high"], color=look.colour, lw=1.4, alpha=0.55)
    at = row | {"x": max(row["error"], left), "y": place}
    pale = {"mfc": "white", "mec": look.colour, "mew": 1} if row["collapsed"] else {}
    marker(axes, at, "x", "y", look.colour, look.marker, hovers, ms=5.5, clip_on=False, **pale)
    words = f"{100 * row['error']:.1f}{_own_ratio(row)}" + (" collapsed" if row["collapsed"] else "")
    axes.annotate(words, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=7.5, color=INK,
                  annotation_clip=False)  # fmt: skip


def _own_ratio(row: dict) -> str:
    """The ratio of a ranked network that is not as large as the others: ` (15×)`; nothing within 10 %."""
    beyond = not formats.absent(row["rank"]) and row["ratio_size"] > row["compare_at"] * SAME_SIZE
    return f" ({formats.ratio(row['ratio_size'])})" if beyond else ""


def _labels(axes: Axes, rows: list[dict]) -> None:
    """The names of the methods beside their rows, and the ticks of the errors."""
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_yticks(range(len(rows)), [short(row["method_label"], 22) for row in rows], fontsize=8)
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(SOFT if row["control"] and row["method"] not in DENSE else INK)
    axes.grid(visible=False, axis="y")
    low, high = axes.get_xlim()
    inside = ticks_between(low, min(high, 1.0), TICKS)
    while len(inside) > 6:
        inside = inside[::2]
    axes.xaxis.set_major_locator(FixedLocator(inside))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}"))


def _reference(axes: Axes, table: pd.DataFrame) -> None:
    """The error of the dense model as a line with its band, through the rows that have an error."""
    (left, right), rows = axes.get_xlim(), [-0.6, table["error"].notna().sum() - 0.5]
    for row in rows_of(table[table["method"].isin(DENSE)].head(1)):
        axes.plot([max(row["error"], left)] * 2, rows, color=INK, lw=0.8, ls=DASHED, zorder=1)
        if not formats.absent(row["error_low"]):
            ends = max(row["error_low"], left), min(row["error_high"], right)
            axes.fill_betweenx(rows, *ends, color=GRID, alpha=0.6, lw=0, zorder=0)
