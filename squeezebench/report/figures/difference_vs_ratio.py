"""Test accuracy minus dense at each ratio: a panel per method, a line per task."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from squeezebench.report import formats
from squeezebench.report.drawing.axes import DASHED, legend, marker, ratios
from squeezebench.report.drawing.palette import MARKERS, Look
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import INK, SOFT, new_figure
from squeezebench.report.gather import GROUP
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import SMALLER, rule_of
from squeezebench.report.statistics.groups import leading_protocol
from squeezebench.report.statistics.spread import ENOUGH_SEEDS

SECTION, FOLDS, WIDE, PAGE = "across", "mean", True, "sizes"
POINTS = ["task", "protocol", "bracket", "method", "method_title", "settings", "control",
          "ratio_size", "dense_n", "dense_difference", "dense_half_width"]  # fmt: skip
PALE = "#c9d1d9"


def draw(results: Results) -> Drawing:
    """The settings that are picked on validation, at the ratios that they really have."""
    chosen = results.chosen
    rule = rule_of(chosen)
    shown = leading_protocol(chosen[chosen["dense_n"] > 0])
    shown = shown.drop_duplicates(GROUP)  # one group may be the pick of several brackets: one point
    methods = list(shown.sort_values(["control", "method"])["method"].unique())
    if not methods:
        return Drawing.nothing("No finished setting can be compared with a dense run.", POINTS, rule)
    tasks = {task: MARKERS[index % len(MARKERS)] for index, task in enumerate(sorted(shown["task"].unique()))}
    hovers: dict[str, str] = {}
    columns = min(3, len(methods))
    rows = -(-len(methods) // columns)
    figure = new_figure(9, 1.9 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lost, ratio = shown["dense_difference"], shown["ratio_size"]
    grid[0, 0].set_xlim(ratio.min() / 1.4, ratio.max() * 1.4)  # one ratio alone would leave the axis without a width
    grid[0, 0].set_ylim(1.15 * lost.min() - 0.005, max(0.02, lost.max() * 1.3))
    for axes, method in zip(grid.flat, methods, strict=False):
        _panel(axes, method, shown, results.looks[method], tasks, hovers)
    for axes in grid.flat[len(methods) :]:
        axes.set_visible(False)
    for axes in grid.flat[len(methods) - columns : len(methods)]:
        axes.tick_params(labelbottom=True)
    figure.supylabel("Points to dense", fontsize=8)
    figure.supxlabel(f"Ratio of {rule.noun} (log scale)", fontsize=8)
    small = " or ".join(sorted(set(methods) & set(SMALLER)))
    extra = [Line2D([], [], color=PALE, lw=1.2, label=f"{small}, same tasks")] if small else []
    entries = [(task[:40], Look(SOFT, shape, "-")) for task, shape in tasks.items()]
    legend(figure, entries, width=0.9, extra=extra, loc="outside upper left", ncols=4)
    return Drawing(figure, shown[POINTS], hovers, rule)


def _panel(axes: Axes, method: str, shown: pd.DataFrame, look: Look, tasks: dict[str, str],
           hovers: dict[str, str]) -> None:  # fmt: skip
    """One method on all tasks, the smaller dense model on the same tasks behind it."""
    ratios(axes, number=5)
    axes.axhline(0, color=INK, lw=0.8, ls=DASHED)
    if method not in SMALLER:
        for _, control in shown[shown["method"].isin(SMALLER)].groupby("task"):
            control = control.sort_values("ratio_size")
            axes.plot(control["ratio_size"], control["dense_difference"], color=PALE, lw=1.2)
    own = shown[shown["method"] == method]
    for task, groups in own.groupby("task"):
        _line(axes, groups.sort_values("ratio_size"), look, tasks[task], hovers)
    axes.set_title(formats.clean(own["method_label"].iloc[0][:40]), loc="left", fontsize=8, color=look.colour)
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda y, _: f"{100 * y:+g}".replace("-", formats.MINUS) if y else "0")
    )


def _line(axes: Axes, groups: pd.DataFrame, look: Look, shape: str, hovers: dict[str, str]) -> None:
    """One method on one task, with the intervals of the paired differences."""
    x, y = groups["ratio_size"], groups["dense_difference"]
    half = groups["dense_half_width"].where(groups["dense_n"] >= ENOUGH_SEEDS).fillna(0)
    axes.plot(x, y, color=look.colour, lw=0.9, alpha=0.7)
    axes.vlines(x, y - half, y + half, color=look.colour, lw=0.8, alpha=0.4)
    for group in rows_of(groups):
        gid = marker(axes, group, "ratio_size", "dense_difference", look.colour, shape, hovers,
                     ms=4.5, mfc=look.colour, mec="white", mew=0.5)  # fmt: skip
        paired = "not enough seeds for a difference to dense"
        if group["dense_n"] >= ENOUGH_SEEDS:
            points = formats.points_interval(group["dense_difference"], group["dense_half_width"])
            paired = f"{points} points to dense"
        seeds = formats.plural(group["dense_n"], "paired seed")
        hovers[gid] = f"{group['task']}\n{hovers[gid]}\n{paired} ({seeds})"
