"""Accuracy against size: the parts of the figure of a task."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from squeezebench.report.drawing.axes import legend, marker, short, sizes, with_bars
from squeezebench.report.drawing.palette import Look
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.groups import leading_protocol, pareto_front

ORDER = ["control", "method", "size_mean"]


def methods(figure: Figure, sized: pd.DataFrame, looks: dict[str, Look], **more) -> None:
    """The legend of all methods: dense last, controls before it."""
    names = sized.drop_duplicates("method")
    names = names.assign(last=~names["method"].isin(DENSE)).sort_values(["last", "control", "method"])
    entries = [(short(title), looks[name]) for name, title in zip(names["method"], names["method_label"], strict=True)]
    legend(figure, entries, width=0.9, **more)


def limits(axes: Axes, sized: pd.DataFrame, here: pd.DataFrame) -> None:
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


def fronts(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> None:
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


def markers(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> dict[str, str]:
    """A marker per run group; returns their hover texts."""
    hovers: dict[str, str] = {}
    for group in rows_of(sized):
        look = looks[group["method"]]
        marker(axes, group, "size_mean", "test_accuracy_mean", look.colour, look.marker, hovers,
               zorder=3 if group["control"] else 4)  # fmt: skip
    return hovers


def bars(axes: Axes, sized: pd.DataFrame, looks: dict[str, Look]) -> None:
    """Intervals of accuracy and of size."""
    left = axes.get_xlim()[0]
    for method, groups in sized.groupby("method", sort=False):
        colour = looks[method].colour
        with_bars(axes, groups, "size_mean", "test_accuracy_mean", "test_accuracy_half_width", colour)
        x, half = groups["size_mean"], groups["size_half_width"].fillna(0)
        axes.hlines(groups["test_accuracy_mean"], np.maximum(x - half, left / 10), x + half, color=colour, lw=0.8,
                    alpha=0.45)  # fmt: skip
