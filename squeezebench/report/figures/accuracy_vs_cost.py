"""Test accuracy against size, bytes, multiply-accumulates, latency and training time: small multiples of each task."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, Locator, LogLocator, MaxNLocator, NullLocator

from squeezebench.report import formats
from squeezebench.report.drawing.axes import DASHED, heading, legend, marker, methods_of, ticks_between
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import INK, new_figure
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE, rule_of
from squeezebench.report.statistics.groups import leading_protocol

SECTION, EACH, FOLDS, PAGE = "brief", "task", "mean", "sizes"


@dataclass(frozen=True)
class Cost:
    column: str
    title: str
    unit: str = ""


COSTS = (
    Cost("size_mean", ""),  # what is counted depends on the task
    Cost("bytes_mean", "Bytes on disk", "B"),
    Cost("macs_mean", "Multiply-accumulates"),
    Cost("latency_ms_batch_1_mean", "Latency at batch 1, ms", "ms"),
    Cost("train_seconds_mean", "Training, s", "s"),
)
FASTEST = "fastest_dense_latency_ms_batch_1_mean"
POINTS = ["task", "protocol", "method", "method_title", "settings", "control", "ok", "test_accuracy_mean",
          "test_accuracy_half_width", *(cost.column for cost in COSTS), FASTEST]  # fmt: skip
ERRORS = [0.8, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001]


def draw(results: Results, task: str) -> Drawing:
    groups = leading_protocol(results.of(task))
    rule = rule_of(groups)
    here = groups[groups["test_accuracy_mean"].notna()].sort_values(["control", "method", "size_mean"])
    if here.empty:
        return Drawing.nothing("No run of this task has finished.", POINTS, rule)
    error = 1 - here["test_accuracy_mean"]
    least = error[error > 0].min() if (error > 0).any() else 0.001
    here = here.assign(error=error.clip(lower=least / 2))
    figure = new_figure(6.2, 4.5)
    figure.get_layout_engine().set(w_pad=0.09)  # inches: the first and last numbers of neighbours must not meet
    cells = list(figure.subplots(2, 3, sharey=True).flat)
    hovers: dict[str, str] = {}
    for axes, cost in zip(cells, COSTS, strict=False):
        _panel(axes, cost, here, results, hovers)
        heading(axes, cost.title or rule.title())
    _accuracies(cells[0], here)
    for axes in (cells[0], cells[3]):
        axes.set_ylabel("Test accuracy, %", fontsize=8)
    _legend(figure, cells[-1], here, results)
    return Drawing(figure, here[POINTS], hovers, rule)


def _panel(axes: Axes, cost: Cost, here: pd.DataFrame, results: Results, hovers: dict[str, str]) -> None:
    """Every run group that has the cost; the settings of one method are joined in the order of their cost."""
    able = here[here[cost.column] > 0]
    axes.set_xscale("log")
    for method, groups in able.groupby("method", sort=False):
        look, groups = results.looks[method], groups.sort_values(cost.column)
        if len(groups) > 1:
            axes.plot(
                groups[cost.column], groups["error"], color=look.colour, ls=look.line, lw=0.8, alpha=0.6, zorder=2
            )
        for group in rows_of(groups):
            gid = marker(axes, group, cost.column, "error", look.colour, look.marker, hovers, ms=4.2,
                         zorder=3 if group["control"] else 4)  # fmt: skip
            hovers[gid] += f"\n{cost.title or rule_of(here).title()}: {_amount(cost, group[cost.column])}"
    if cost.unit == "ms":
        for value in able.loc[able["method"].isin(DENSE), FASTEST].dropna().head(1):
            axes.axvline(value, color=INK, lw=0.9, ls=DASHED, zorder=1)
    span = able[cost.column].max() / able[cost.column].min() if len(able) else 10
    axes.xaxis.set_major_locator(places(span))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(cost, value)))
    axes.xaxis.set_minor_locator(NullLocator())


def places(span: float) -> Locator:
    """Where a logarithmic axis has labels, if its largest value is `span` times the smallest one.

    Below 5 only one of 1, 2 and 5 may be in view, and a LogLocator that finds one place writes as many as it can.
    """
    if span < 5:
        return MaxNLocator(3)
    return LogLocator(10, subs=(1.0,) if span > 30 else (1.0, 2.0, 5.0), numticks=12)


def _amount(cost: Cost, value: float) -> str:
    if cost.unit == "B":
        return formats.size(value)
    return f"{formats.amount(value)} {cost.unit}" if cost.unit else formats.count(value)


def _tick(cost: Cost, value: float) -> str:
    return f"{value:g}" if cost.unit in ("ms", "s") else formats.tick(value)


def _accuracies(axes: Axes, here: pd.DataFrame) -> None:
    """The shared axis: accuracies by the logarithm of the error, so that the good ones are told apart."""
    worst, best = min(here["error"].max() * 1.25, 1.0), here["error"].min() / 1.25
    axes.set_yscale("log")
    axes.set_ylim(worst, best)
    axes.yaxis.set_major_locator(FixedLocator(ticks_between(best, worst, ERRORS)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 - 100 * value:.3g}"))


def _legend(figure: Figure, axes: Axes, here: pd.DataFrame, results: Results) -> None:
    """The names in the place of a sixth panel; below the figure if there are more than fit."""
    axes.set_axis_off()
    entries = methods_of(here, results.looks, 20)
    if len(entries) <= 14:
        place = {"loc": "center left", "bbox_to_anchor": (0.0, 0.5), "bbox_transform": axes.transAxes, "ncols": 1}
        legend(figure, entries, width=0.9, **place, labelspacing=0.25)
    else:
        legend(figure, entries, width=0.9, ncols=4)
