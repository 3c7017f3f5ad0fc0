"""Test accuracy against size, for each task: every run group, the dense band and the Pareto front."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from squeezebench.report import formats
from squeezebench.report.drawing import size
from squeezebench.report.drawing.axes import DASHED, beside, heading, percents
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import GRID, INK, SOFT, new_figure
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, rule_of

SECTION, EACH, FOLDS, PAGE = "front", "task", "mean", "sizes"
POINTS = ["task", "protocol", "method", "method_title", "settings", "varied", "control", "ok", "stale",
          "front", "size_mean", "size_half_width", "ratio_size", "baseline",
          "test_accuracy_mean", "test_accuracy_half_width"]  # fmt: skip


def draw(results: Results, task: str) -> Drawing:
    """Run groups without an LSTM have no place on the axis; the best of them on validation is a line."""
    groups, looks = results.of(task), results.looks
    rule = rule_of(groups)
    here = groups[groups["test_accuracy_mean"].notna()]
    if here.empty:
        return Drawing.nothing("No run of this task has finished.", POINTS, rule)
    sized = here[here["size_mean"] > 0].sort_values(size.ORDER)
    flat = here[here["size_mean"] == 0].sort_values("validation_accuracy_mean", ascending=False)
    figure = new_figure(5.2, 4.1)
    axes = figure.add_subplot()
    size.limits(axes, sized, here)
    _reference_lines(axes, sized, flat, results)
    size.fronts(axes, sized, looks)
    size.bars(axes, sized, looks)
    hovers = size.markers(axes, sized, looks)
    axes.set_xlabel(f"{rule.title()} (log scale)")
    released = (here["protocol"] == "as_released").any()
    heading(axes, "Test accuracy, %" + (" (hollow: as released, best test epoch)" if released else ""))
    percents(axes.yaxis)
    _ratio_axis(axes, sized)
    size.methods(figure, sized, looks)
    return Drawing(figure, pd.concat([sized, flat.head(1)])[POINTS], hovers, rule)


def _reference_lines(axes: Axes, sized: pd.DataFrame, flat: pd.DataFrame, results: Results) -> None:
    """The dense model with its band and the best model without a recurrence, labelled on the right."""
    dense = sized[sized["method"].isin(DENSE)].sort_values("validation_accuracy_mean", ascending=False)
    lines = [(group, INK, DASHED, "dense") for _, group in dense.head(1).iterrows()]
    lines += [(group, results.looks[group["method"]].colour, (0, (1, 2)), "no\nrecurrence")
              for _, group in flat.head(1).iterrows()]  # fmt: skip
    bottom, top = axes.get_ylim()
    taken: list[float] = []
    for group, colour, dashes, words in lines:
        place = mean = group["test_accuracy_mean"]
        half = group["test_accuracy_half_width"]
        axes.axhline(mean, color=colour, lw=0.9, ls=dashes, zorder=1)
        if not formats.absent(half):
            axes.axhspan(max(mean - half, bottom), min(mean + half, top), color=GRID, alpha=0.6, lw=0, zorder=0.5)
        if taken and abs(place - taken[0]) < 0.14 * (top - bottom):  # two labels of up to three lines must not meet
            place = taken[0] - 0.14 * (top - bottom)
        taken.append(place)
        beside(axes, place, f"{words}\n{formats.percent(mean)}", colour)


def _ratio_axis(axes: Axes, sized: pd.DataFrame) -> None:
    """The same axis as ratios, if the task has one baseline."""
    baselines = sized["baseline_size"].dropna().unique()
    if len(baselines) != 1 or not baselines[0] > 0:
        return
    low, high = axes.get_xlim()
    for steps in ((1,), (1, 2, 5)):
        ratios = [step * 10**power for power in range(8) for step in steps]
        ratios = [ratio for ratio in ratios if low <= baselines[0] / ratio <= high]
        if len(ratios) > 2:
            break
    top = axes.twiny()
    top.set_xscale("log")
    top.set_xlim(low, high)
    top.set_xticks([baselines[0] / ratio for ratio in ratios], [formats.ratio_tick(ratio) for ratio in ratios])
    top.set_xticks([], minor=True)
    top.tick_params(length=0, labelcolor=SOFT, labelsize=7.5, pad=1)
    top.grid(False)
    top.spines[:].set_visible(False)
    top.set_zorder(axes.get_zorder() - 1)  # markers of the main axes stay on top, for hovering
    axes.patch.set_visible(False)
