"""The figure of each task: accuracy against size. What every figure hands over is defined here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from squeezebench.report import formats
from squeezebench.report.figures.palette import Look
from squeezebench.report.figures.svg import GRID, INK, SOFT, new_figure, render, style
from squeezebench.report.names import slug
from squeezebench.report.sizes import DENSE, RECURRENT, Rule, of_row, rule_of
from squeezebench.report.statistics.groups import leading_protocol, pareto_front
from squeezebench.report.words import captions


@dataclass(frozen=True)
class Plot:
    """One figure: its SVG, the points it plots, and its words."""

    name: str
    kind: str
    title: str
    svg: str
    points: pd.DataFrame
    words: str = ""  # why there is nothing to see, where that is so
    rule: Rule = RECURRENT  # how the sizes in it are counted

    @property
    def wide(self) -> bool:
        return float(self.svg.split('data-width="', 1)[1].split('"')[0]) > 700

    @property
    def caption(self) -> str:
        return captions(self.rule.name)["figures"][self.kind]["caption"]

    def csv(self) -> str:
        points = self.points.rename(columns=self.rule.csv)
        return formats.clean(points.to_csv(index=False, lineterminator="\n"))


def plot(
    kind: str, figure: Figure, points: pd.DataFrame, hovers: dict[str, str], task: str = "", words: str = "",
    rule: Rule = RECURRENT,
) -> Plot:  # fmt: skip
    """Finish a drawn figure under its stable name."""
    name = f"{kind}_{slug(task)}" if task else kind
    title = captions()["figures"][kind]["title"].format(task=task)
    return Plot(name, kind, title, render(figure, name, title, hovers), points, words, rule)


def nothing(kind: str, words: str, columns: list[str], task: str = "", rule: Rule = RECURRENT) -> Plot:
    """A figure that says why it is empty: the workflow's outputs exist even where nothing has finished."""
    with style():
        figure = new_figure(6, 0.8)
        figure.text(0.01, 0.4, words, color=SOFT)
        return plot(kind, figure, pd.DataFrame(columns=columns), {}, task, words, rule)


def hover(group: pd.Series) -> str:
    """What a marker says: method, settings, accuracy, size."""
    released = " (as released: best test epoch)" if group["protocol"] == "as_released" else ""
    interval = "" if group["ok"] > 1 else ", no interval"
    rule = of_row(group)
    return "\n".join([
        f"{group['method_label']}: {group['settings_label']}",
        f"test {formats.percent_interval(group['test_accuracy_mean'], group['test_accuracy_half_width'])}"
        f" ({formats.plural(int(group['ok']), 'seed')}{interval}){released}",
        f"{formats.count(group['size_mean'])} {rule.noun}, "
        f"{rule.ratio(group['ratio_size'])}"
        + (f" vs {group['baseline']}" if group["baseline"] else ""),
    ])  # fmt: skip


POINTS = ["task", "protocol", "method", "method_title", "settings", "varied", "control", "ok", "stale",
          "front", "size_mean", "size_half_width", "ratio_size", "baseline",
          "test_accuracy_mean", "test_accuracy_half_width"]  # fmt: skip


def accuracy_vs_size(task: str, groups: pd.DataFrame, looks: dict[str, Look]) -> Plot:
    """Test accuracy against size: every run group, the dense band, the Pareto front."""
    kind = "accuracy_vs_size"
    here = groups[(groups["task"] == task) & groups["test_accuracy_mean"].notna()]
    rule = rule_of(groups[groups["task"] == task])
    sized = here[here["size_mean"] > 0].sort_values(["control", "method", "size_mean"])
    flat = here[here["size_mean"] == 0].sort_values("validation_accuracy_mean", ascending=False)
    if here.empty:
        return nothing(kind, "No run of this task has finished.", POINTS, task, rule)
    with style():
        figure = new_figure(6, 4.3)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        _limits(axes, sized, here)
        _reference_lines(axes, sized, flat, looks)
        _fronts(axes, sized, looks)
        hovers = _markers(axes, sized, looks)
        axes.set_xlabel(f"{rule.title()} (log scale)")
        released = (here["protocol"] == "as_released").any()
        axes.set_title("Test accuracy, %" + (" (hollow: as released, best test epoch)" if released else ""),
                       loc="left", fontsize=8)  # fmt: skip
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        _ratio_axis(axes, sized)
        figure.legend(handles=_legend(sized, looks), loc="outside lower left", ncols=3, handlelength=2.6)
        return plot(kind, figure, pd.concat([sized, flat.head(1)])[POINTS], hovers, task, rule=rule)


def glance(task: str, groups: pd.DataFrame, looks: dict[str, Look]) -> str:
    """The same picture for the first screen, small: an SVG without bars, names and files of its own."""
    here = groups[(groups["task"] == task) & groups["test_accuracy_mean"].notna()]
    sized = leading_protocol(here[here["size_mean"] > 0])
    sized = sized.sort_values(["control", "method", "size_mean"])
    if sized.empty:
        return ""
    with style():
        figure = new_figure(3.6, 2.2)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        _limits(axes, sized, sized)
        dense = sized[sized["method"].isin(DENSE)].sort_values("validation_accuracy_mean", ascending=False).head(1)
        for mean in dense["test_accuracy_mean"]:
            axes.axhline(mean, color=INK, lw=0.9, ls=(0, (6, 3)), zorder=1)
        _fronts(axes, sized, looks)
        hovers = _markers(axes, sized, looks, bars=False)
        axes.set_title(f"Test accuracy, % · {rule_of(sized).noun}", loc="left", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        title = captions()["figures"]["accuracy_vs_size"]["title"].format(task=task)
        return render(figure, f"glance_{slug(task)}", title, hovers)


def key(groups: pd.DataFrame, looks: dict[str, Look]) -> str:
    """What the lines and markers of the small pictures stand for."""
    handles = _legend(leading_protocol(groups[groups["size_mean"] > 0]), looks)
    if not handles:
        return ""
    with style():
        columns = min(6, len(handles))
        figure = new_figure(9, 0.05 + 0.19 * -(-len(handles) // columns))
        figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=2.6, borderaxespad=0)
        return render(figure, "glance-key", captions()["glance"], {})  # glance_ begins the names of tasks' pictures


def _limits(axes, sized: pd.DataFrame, here: pd.DataFrame) -> None:
    """Limits from the means. Bars may leave the picture: two seeds have intervals wider than the data."""
    low, high = here["test_accuracy_mean"].min(), here["test_accuracy_mean"].max()
    room = max(0.01, 0.12 * (high - low))
    half = here["test_accuracy_half_width"].fillna(0).clip(upper=2 * room)
    axes.set_ylim((here["test_accuracy_mean"] - half).min() - room / 2,
                  min((here["test_accuracy_mean"] + half).max() + room / 2, 1 + room / 4))  # fmt: skip
    sizes = sized["size_mean"] if len(sized) else pd.Series([1.0, 10.0])
    spread = max((sizes.max() / sizes.min()) ** 0.06, 1.3)
    axes.set_xlim(sizes.min() / spread, sizes.max() * spread)
    axes.xaxis.set_major_locator(LogLocator(10, numticks=12))
    if sizes.max() / sizes.min() < 30:  # less than two decades: powers of ten alone would leave one label
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: formats.tick(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _reference_lines(axes, sized: pd.DataFrame, flat: pd.DataFrame, looks: dict[str, Look]) -> None:
    """The dense model with its band and the best model without a recurrence, labelled at the right."""
    dense = sized[sized["method"].isin(DENSE)].sort_values("validation_accuracy_mean", ascending=False)
    lines = [(dense.iloc[0], (0, (6, 3)), "dense")] if len(dense) else []
    lines += [(flat.iloc[0], (0, (1, 2)), "no\nrecurrence")] if len(flat) else []
    bottom, top = axes.get_ylim()
    taken: list[float] = []
    for group, dashes, words in lines:
        mean, half = group["test_accuracy_mean"], group["test_accuracy_half_width"]
        colour = INK if words == "dense" else looks[group["method"]].colour
        axes.axhline(mean, color=colour, lw=0.9, ls=dashes, zorder=1)
        if not formats.absent(half):
            axes.axhspan(max(mean - half, bottom), min(mean + half, top), color=GRID, alpha=0.6, lw=0, zorder=0.5)
        place = mean
        if taken and abs(place - taken[0]) < 0.14 * (top - bottom):  # two labels of up to three lines must not meet
            place = taken[0] - 0.14 * (top - bottom)
        taken.append(place)
        axes.annotate(f"{words}\n{formats.percent(mean)}", (1.01, place), xycoords=("axes fraction", "data"),
                      va="center", color=colour, fontsize=7.5, annotation_clip=False)  # fmt: skip


def _fronts(axes, sized: pd.DataFrame, looks: dict[str, Look]) -> None:
    """The front of all means as a pale step line, each method's own front as a thin one."""
    sound = leading_protocol(sized)
    front = sound[sound["front"]].sort_values("size_mean")
    axes.step(front["size_mean"], front["test_accuracy_mean"], where="post", lw=3.5,
              color="#c9d1d9", solid_joinstyle="round", zorder=1.5)  # fmt: skip
    for (method, _), some in sized.groupby(["method", "protocol"]):
        some = some.sort_values("size_mean")
        x, y = some["size_mean"].to_numpy(), some["test_accuracy_mean"].to_numpy()
        own = pareto_front(x, y)
        look = looks[method]
        axes.plot(x[own], y[own], color=look.colour, ls=look.line, lw=0.9, alpha=0.75, zorder=2)


def _markers(axes, sized: pd.DataFrame, looks: dict[str, Look], bars: bool = True) -> dict[str, str]:
    """Bars and markers; returns the hover text of each marker."""
    left = axes.get_xlim()[0]
    hovers = {}
    for method, some in sized.groupby("method", sort=False) if bars else ():
        look = looks[method]
        x, y = some["size_mean"], some["test_accuracy_mean"]
        x_half, y_half = (
            some["size_half_width"].fillna(0),
            some["test_accuracy_half_width"].fillna(0),
        )
        faint = {"color": look.colour, "lw": 0.8, "alpha": 0.45, "zorder": 2.5}
        axes.vlines(x, y - y_half, y + y_half, **faint)
        axes.hlines(y, np.maximum(x - x_half, left / 10), x + x_half, **faint)
    for number, group in enumerate(sized.to_dict("records")):
        look = looks[group["method"]]
        gid = f"point-{number}"
        hollow = group["protocol"] == "as_released"
        axes.plot(group["size_mean"], group["test_accuracy_mean"], marker=look.marker, ms=5,
                  ls="none", mfc="white" if hollow else look.colour, mec=look.colour if hollow else "white",
                  mew=1 if hollow else 0.5, zorder=3 if group["control"] else 4, gid=gid)  # fmt: skip
        hovers[gid] = hover(group)
    return hovers


def _ratio_axis(axes, sized: pd.DataFrame) -> None:
    """The same axis as ratios, where the task has one baseline."""
    sizes = sized["baseline_size"].dropna().unique()
    if len(sizes) != 1 or not sizes[0] > 0:
        return
    low, high = axes.get_xlim()
    ratios = [r for p in range(8) for r in (10**p,) if low <= sizes[0] / r <= high]
    if len(ratios) < 3:
        ratios = [b * 10**p for p in range(8) for b in (1, 2, 5) if low <= sizes[0] / (b * 10**p) <= high]
    top = axes.twiny()
    top.set_xscale("log")
    top.set_xlim(low, high)
    top.set_xticks([sizes[0] / ratio for ratio in ratios], [formats.ratio_tick(ratio) for ratio in ratios])
    top.set_xticks([], minor=True)
    top.tick_params(length=0, labelcolor=SOFT, labelsize=7.5, pad=1)
    top.grid(False)
    top.spines[:].set_visible(False)
    top.set_zorder(axes.get_zorder() - 1)  # markers of the main axes stay on top, for hovering
    axes.patch.set_visible(False)


def _legend(sized: pd.DataFrame, looks: dict[str, Look]) -> list[Line2D]:
    names = sized.drop_duplicates("method")
    names = names.assign(last=~names["method"].isin(DENSE)).sort_values(["last", "control", "method"])
    return [
        Line2D([], [], color=looks[m].colour, ls=looks[m].line, marker=looks[m].marker, ms=5, lw=0.9,
               mec="white", mew=0.5, label=formats.clean(title if len(title) <= 26 else title[:25] + "…"))
        for m, title in zip(names["method"], names["method_label"], strict=True)
    ]  # fmt: skip
