"""Axes, markers and legends that figures share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from squeezebench.report import formats
from squeezebench.report.drawing.palette import Look
from squeezebench.report.drawing.plot import hover
from squeezebench.report.drawing.svg import INK
from squeezebench.report.sizes import DENSE

DASHED = (0, (6, 3))  # the line of the dense model


def heading(axes: Axes, text: str) -> None:
    """What the axis shows, above it on the left."""
    axes.set_title(text, loc="left", fontsize=8)


def percents(axis) -> None:
    """Fractions as per cent."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))


def sizes(axes: Axes, which: str = "x", subs: tuple[float, ...] = (1.0,)) -> None:
    """A logarithmic axis of counts; labels at `subs` in each decade."""
    _logarithmic(axes, which, formats.tick, LogLocator(10, subs=subs, numticks=12))


def ratios(axes: Axes, which: str = "x", number: int = 9) -> None:
    """A logarithmic axis of ratios, with at most `number` labels."""
    _logarithmic(axes, which, formats.ratio_tick, Ratios(10, numticks=number))


class Ratios(LogLocator):
    """Decades; where fewer than two of them are in view, what lies between them as well."""

    def tick_values(self, vmin: float, vmax: float) -> list[float]:
        decades = [tick for tick in super().tick_values(vmin, vmax) if vmin <= tick <= vmax]
        if len(decades) > 1:
            return decades
        between = [base * 10.0**power for power in range(-3, 9) for base in (1, 1.5, 2, 3, 5, 7)]
        return ticks_between(vmin, vmax, between)


def _logarithmic(axes: Axes, which: str, show: Callable[[float], str], places: LogLocator) -> None:
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(places)
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_locator(NullLocator())  # nobody would see them, and a figure lays them out


def ticks_between(low: float, high: float, preferred: Iterable[float]) -> list[float]:
    """Those of the preferred ticks that lie between two values; round numbers where fewer than two do."""
    inside = [tick for tick in preferred if low <= tick <= high]
    if len(inside) < 2:
        inside = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    return inside


def epochs(axes: Axes, label: str = "Epoch (stages end to end)") -> None:
    """An axis of whole numbers."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(label)


def marker(axes: Axes, group: Mapping[str, Any], x: str, y: str, colour: str, shape: str, hovers: dict[str, str],
           **more: Any) -> str:  # fmt: skip
    """A run group's marker, hollow if it ran as released; its hover text joins `hovers`. Returns the marker's gid."""
    gid, hollow = f"point-{len(hovers)}", group["protocol"] == "as_released"
    style = {"ms": 5, "mfc": "white" if hollow else colour, "mec": colour if hollow else "white",
             "mew": 1 if hollow else 0.5, "zorder": 3}  # fmt: skip
    axes.plot(group[x], group[y], marker=shape, ls="none", gid=gid, **(style | more))
    hovers[gid] = hover(group)
    return gid


def dense_line(axes: Axes, mean: float) -> None:
    """The accuracy of the dense model, labelled on the right."""
    axes.axhline(mean, color=INK, lw=0.9, ls=DASHED, zorder=1)
    beside(axes, mean, f"dense\n{formats.percent(mean)}", INK)


def beside(axes: Axes, y: float, text: str, colour: str) -> None:
    """A label on the right of the axes."""
    axes.annotate(text, (1.01, y), xycoords=("axes fraction", "data"), va="center", color=colour, fontsize=7.5,
                  annotation_clip=False)  # fmt: skip


def legend(figure: Figure, entries: Iterable[tuple[str, Look]], width: float = 1.1, extra: Iterable = (),
           **more: Any) -> None:  # fmt: skip
    """Names with their line and marker, below the figure."""
    handles = [
        Line2D([], [], color=look.colour, ls=look.line, marker=look.marker, ms=5, lw=width, mec="white", mew=0.5,
               label=formats.clean(name))
        for name, look in entries
    ]  # fmt: skip
    more = {"loc": "outside lower left", "ncols": 3, "handlelength": 2.6} | more
    figure.legend(handles=[*handles, *extra], **more)


def methods_of(groups: pd.DataFrame, looks: Mapping[str, Look], most: int = 26) -> list[tuple[str, Look]]:
    """The entries of a legend with the methods of run groups: dense first, controls last."""
    names = groups.drop_duplicates("method")
    names = names.assign(other=~names["method"].isin(DENSE)).sort_values(["other", "control", "method"])
    return [(short(label, most), looks[name]) for name, label in
            zip(names["method"], names["method_label"], strict=True)]  # fmt: skip


def short(title: str, most: int = 26) -> str:
    """A title that fits a legend."""
    return formats.clean(title if len(title) <= most else title[: most - 1] + "…")


def with_bars(axes: Axes, groups: pd.DataFrame, x: str, y: str, half: str, colour: str, alpha: float = 0.45) -> None:
    """The 95 % intervals of means as vertical bars."""
    width = groups[half].fillna(0)
    axes.vlines(groups[x], groups[y] - width, groups[y] + width, color=colour, lw=0.8, alpha=alpha)
