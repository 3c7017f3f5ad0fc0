"""Test accuracy against size, for each task: every run group, the dense band and the Pareto front."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from squeezebench.report import formats
from squeezebench.report.drawing.axes import (
    DASHED,
    beside,
    heading,
    legend,
    marker,
    methods_of,
    percents,
    sizes,
    with_bars,
)
from squeezebench.report.drawing.palette import Look
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import GRID, INK, SOFT, new_figure
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE, rule_of
from squeezebench.report.statistics.groups import leading_protocol, pareto_front

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
    sized = here[here["size_mean"] > 0].sort_values(["control", "method", "size_mean"])
    flat = here[here["size_mean"] == 0].sort_values("validation_accuracy_mean", ascending=False)
    figure = new_figure(5.2, 4.1)
    axes = figure.add_subplot()
    _limits(axes, sized, here)
    _reference_lines(axes, sized, flat, results)
    _fronts(axes, sized, looks)
    _bars(axes, sized, looks)
    hovers = _markers(axes, sized, looks)
    axes.set_xlabel(f"{rule.title()} (log scale)")
    released = (here["protocol"] == "as_released").any()
    heading(axes, "Test accuracy, %" + (" (hollow: as released, best test epoch)" if released else ""))
    percents(axes.yaxis)
    _ratio_axis(axes, sized)
    legend(figure, methods_of(sized, looks), width=0.9)
    return Drawing(figure, pd.concat([sized, flat.head(1)])[POINTS], hovers, rule)


def _limits(axes: Axes, sized: pd.DataFrame, here: pd.DataFrame) -> None:
    """Limits from the means. Bars may leave the picture: two seeds have intervals wider than the data."""
    mean = here["test_accuracy_mean"]
    room = max(0.01, 0.12 * (mean.max() - mean.min()))
    half = here["test_accuracy_half_width"].fillna(0).clip(upper=2 * room)
    axes.set_ylim((mean - half).min() - room / 2, min((mean + half).max() + room / 2, 1 + room / 4))
    counts = sized["size_mean"] if len(sized) else pd.Series([1.0, 10.0])
    span = counts.max() / counts.min()
    # Below two decades powers of ten alone would leave one label.
    sizes(axes, subs=(1.0, 2.0, 5.0) if span < 30 else (1.0,))
    axes.set_xlim(counts.min() / max(span**0.06, 1.3), counts.max() * max(span**0.06, 1.3))


def _fronts(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> None:
    """The front of all means as a pale step line, each method's own front as a thin one."""
    sound = leading_protocol(sized)
    front = sound[sound["front"]].sort_values("size_mean")
    axes.step(front["size_mean"], front["test_accuracy_mean"], where="post", lw=3.5, color="#c9d1d9",
              solid_joinstyle="round", zorder=1.5)  # fmt: skip
    for (method, _), groups in sized.groupby(["method", "protocol"]):
        groups = groups.sort_values("size_mean")
        x, y = groups["size_mean"].to_numpy(), groups["test_accuracy_mean"].to_numpy()
        own = pareto_front(x, y)
        axes.plot(x[own], y[own], color=looks[method].colour, ls=looks[method].line, lw=0.9, alpha=0.75, zorder=2)


def _markers(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> dict[str, str]:
    """A marker per run group; returns their hover texts."""
    hovers: dict[str, str] = {}
    for group in rows_of(sized):
        look = looks[group["method"]]
        marker(axes, group, "size_mean", "test_accuracy_mean", look.colour, look.marker, hovers,
               zorder=3 if group["control"] else 4)  # fmt: skip
    return hovers


def _bars(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Intervals of accuracy and of size."""
    left = axes.get_xlim()[0]
    for method, groups in sized.groupby("method", sort=False):
        colour = looks[method].colour
        with_bars(axes, groups, "size_mean", "test_accuracy_mean", "test_accuracy_half_width", colour)
        x, half = groups["size_mean"], groups["size_half_width"].fillna(0)
        axes.hlines(groups["test_accuracy_mean"], np.maximum(x - half, left / 10), x + half, color=colour, lw=0.8,
                    alpha=0.45)  # fmt: skip


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
