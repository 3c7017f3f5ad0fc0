"""The papers' figures drawn from our runs: a sweep, accuracy per class, ratios, accuracy against size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from squeezebench.report import formats
from squeezebench.report.figures.more import class_recall
from squeezebench.report.figures.palette import COLOURS, MARKERS
from squeezebench.report.figures.scatter import Plot, hover
from squeezebench.report.figures.svg import INK, SOFT, new_figure, render, style
from squeezebench.report.gather import Gathered
from squeezebench.report.paper.match import matching, pick, rule_of_table, swept
from squeezebench.report.paper.table import beside
from squeezebench.report.sizes import DENSE, Rule
from squeezebench.report.statistics.compare import ranked
from squeezebench.report.statistics.groups import half_width, pareto_front
from squeezebench.schema.printed import Block, OurRow, PublishedTable, read_block

BARS = {
    "printed": {"facecolor": "white", "edgecolor": "#8a949e", "hatch": "////"},
    "ours": {"facecolor": COLOURS[0], "edgecolor": COLOURS[0]},
}
GROUP_COLUMNS = ["task", "protocol", "method", "settings", "ok", "validation_accuracy_mean", "test_accuracy_mean",
                 "test_accuracy_half_width", "size_mean", "ratio_size", "baseline"]  # fmt: skip


def paper_figure(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """The figure of one of the drawn layouts."""
    draw: dict[str, Callable[..., Plot]] = {"sweep": sweep, "classes": classes, "ratios": ratios, "size": size}
    return draw[table.layout](table, groups, gathered)


def _plot(table: PublishedTable, figure: Figure, points: pd.DataFrame, hovers: dict[str, str], rule: Rule) -> Plot:
    title = formats.clean(table.title)
    svg = render(figure, table.name, title, hovers)
    return Plot(table.name, f"paper_{table.layout}", title, svg, points, rule=rule)


def _nothing(table: PublishedTable, words: str, columns: list[str], rule: Rule) -> Plot:
    """A figure that says why it is empty; its files exist all the same."""
    title = formats.clean(table.title)
    with style():
        figure = new_figure(6, 0.8)
        figure.text(0.01, 0.4, words, color=SOFT)
        svg = render(figure, table.name, title, {})
    return Plot(table.name, f"paper_{table.layout}", title, svg, pd.DataFrame(columns=columns), words, rule)


def _rows(table: PublishedTable, gathered: Gathered) -> list[tuple[str, OurRow, str, str, str]]:
    """Name, row, task, colour and marker of each row; a row looks the same in all figures of its place."""
    entries = {**table.rows, **table.also}
    return [
        (formats.clean(name), row, *(table.tasks_of(row, gathered.tasks) or [""]),
         COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        for index, (name, row) in enumerate(entries.items())
    ]  # fmt: skip


def sweep(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """Figure 5: test accuracy and compression against a setting, with 95 % bands."""
    curves, rule = [], rule_of_table(table, groups, gathered)
    for name, row, task, colour, marker in _rows(table, gathered):
        some = swept(row, task, table.setting, groups)
        if len(some):
            curves.append((name, task, some.assign(row=name, setting=table.setting), colour, marker))
    columns = ["row", "setting", "value", "candidates", *GROUP_COLUMNS]
    if not curves:
        return _nothing(table, f"No run with a value of {table.setting} has finished.", columns, rule)
    hovers: dict[str, str] = {}
    with style():
        figure = new_figure(5.3, 4.3)
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for _, _, some, colour, marker in curves:
            x, y = some["value"], some["test_accuracy_mean"]
            half = some["test_accuracy_half_width"].fillna(0)
            top.fill_between(x, y - half, y + half, color=colour, alpha=0.18, lw=0)
            _points(top, some, "value", "test_accuracy_mean", colour, marker, hovers)
            _points(bottom, some, "value", "ratio_size", colour, marker, hovers)
        values = pd.concat([some["value"] for _, _, some, _, _ in curves])
        if values.min() > 0:
            top.set_xscale("log")
            top.xaxis.set_major_locator(LogLocator(10, subs=(1, 3), numticks=12))
            top.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            top.xaxis.set_minor_locator(NullLocator())
        _dense_line(top, {task for _, task, *_ in curves}, groups)
        top.set_ylim(top=min(1.02, top.get_ylim()[1]))
        top.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        top.set_title("Test accuracy, %", loc="left", fontsize=8)
        bottom.set_yscale("log")
        _ratio_ticks(bottom.yaxis)
        bottom.set_title(f"{rule.compression} (log scale)", loc="left", fontsize=8)
        bottom.set_xlabel(table.setting + (" (log scale)" if values.min() > 0 else ""))
        if table.mark:
            for axes in (top, bottom):
                axes.axvline(table.mark.at, color=INK, lw=0.9, ls=(0, (1, 2)), zorder=1)
            top.annotate(formats.clean(table.mark.says), (table.mark.at, 0.03), (4, 0), color=INK, fontsize=7.5,
                         xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
        if len(curves) > 1:
            _legend(figure, [(name, colour, marker) for name, _, _, colour, marker in curves])
        return _plot(table, figure, pd.concat([some for _, _, some, _, _ in curves])[columns], hovers, rule)


def classes(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """Figure 2: accuracy of each class, a mark per row, with 95 % intervals over seeds."""
    columns = ["row", "task", "method", "settings", "class", "seeds", "accuracy", "half_width"]
    shown, rule = [], rule_of_table(table, groups, gathered)
    for name, row, task, colour, marker in _rows(table, gathered):
        found = pick(row, task, groups)
        recall = None if found.group is None else class_recall(found.group, gathered)
        if recall is not None:
            frame = pd.DataFrame(recall[1], columns=range(len(recall[0])))
            frame = frame.agg(["mean", "std", "count"]).T
            frame = pd.DataFrame({"row": name, "task": task, "method": row.method, "settings": found.group["settings"],
                                  "class": recall[0], "seeds": frame["count"].astype(int), "accuracy": frame["mean"],
                                  "half_width": half_width(frame["std"], frame["count"])})  # fmt: skip
            shown.append((name, frame, colour, marker, found))
    if not shown:
        return _nothing(table, "No finished run recorded a confusion matrix.", columns, rule)
    names = list(dict.fromkeys(label for _, frame, *_ in shown for label in frame["class"]))
    names = sorted(names, key=str.casefold)
    hovers: dict[str, str] = {}
    with style():
        figure = new_figure(5.3, 1.1 + 0.2 * len(names))
        axes = figure.add_subplot()
        place = {label: position for position, label in enumerate(names)}
        both = pd.concat([frame for _, frame, *_ in shown])
        for label, some in both.groupby("class"):
            axes.plot([some["accuracy"].min(), some["accuracy"].max()], [place[label]] * 2, color="#c9d1d9", lw=1.6,
                      solid_capstyle="round", zorder=1)  # fmt: skip
        for index, (name, frame, colour, marker, found) in enumerate(shown):
            shift = (index - (len(shown) - 1) / 2) * 0.16  # intervals of two rows must not lie on each other
            for line in frame.to_dict("records"):
                y, gid = place[line["class"]] + shift, f"point-{len(hovers)}"
                half = 0 if formats.absent(line["half_width"]) else line["half_width"]
                low, high = line["accuracy"] - half, min(1, line["accuracy"] + half)
                axes.hlines(y, low, high, color=colour, lw=0.8, alpha=0.5)
                axes.plot(line["accuracy"], y, marker=marker, ms=5, ls="none", color=colour, mec="white", mew=0.5,
                          gid=gid, zorder=3)  # fmt: skip
                interval = formats.percent_interval(line["accuracy"], line["half_width"])
                hovers[gid] = f"{line['class']}\n{name}: {interval}\n{found.group['settings_label']}"
        axes.set_yticks(range(len(names)), [formats.clean(label[:28]) for label in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(max(-0.02, min(both["accuracy"].min() - 0.05, 0.8)), 1.02)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
        axes.set_xlabel("Correct, % of the class")
        _legend(figure, [(name, colour, marker) for name, _, colour, marker, _ in shown], lines=False)
        return _plot(table, figure, both[columns], hovers, rule)


def ratios(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """Figure 3: printed and measured compression of the LSTM."""
    frame, rule = beside(table, groups, gathered), rule_of_table(table, groups, gathered)
    frame = frame[frame["row"].isin([*table.rows, *table.also])]
    largest = frame["recomputed_lstm_parameters"].max()
    frame = frame.assign(recomputed_ratio=largest / frame["recomputed_lstm_parameters"])
    columns = ["row", "kind", "printed_ratio", "recomputed_ratio", "printed_lstm_parameters", "task", "method",
               "settings", "ok", "size_mean", "ratio_size", "baseline", "picked"]  # fmt: skip
    hovers: dict[str, str] = {}
    with style():
        figure = new_figure(5.3, 1.1 + 0.42 * len(frame))
        axes = figure.add_subplot()
        axes.set_xscale("log")
        drawn = False
        for place, line in enumerate(frame.to_dict("records")):
            ours = f"ours\nvs {line['baseline']}\n{line['label']}"
            _bar(axes, place - 0.19, line["printed_ratio"], line["row"], "printed", hovers)
            drawn |= _again(axes, place - 0.19, line)
            _bar(axes, place + 0.19, line["ratio_size"], line["row"], ours, hovers)
        axes.set_yticks(range(len(frame)), [formats.clean(name) for name in frame["row"]])
        axes.set_ylim(len(frame) - 0.4, -0.6)
        values = frame[["printed_ratio", "ratio_size"]].replace(np.inf, np.nan)
        axes.set_xlim(1, max(10.0, float(np.nanmax([*values.to_numpy().ravel(), 1.0]))) * 4)
        axes.grid(False, axis="y")
        _ratio_ticks(axes.xaxis)
        axes.set_xlabel(f"{rule.compression} (log scale)")
        handles = [Patch(label=name, **look) for name, look in BARS.items()]
        if drawn:
            words = "printed sizes recomputed, where they differ"
            handles.append(Line2D([], [], color=COLOURS[1], lw=2.2, label=words))
        figure.legend(handles=handles, loc="outside lower left", ncols=3)
        return _plot(table, figure, frame[columns], hovers, rule)


def _bar(axes: Axes, y: float, value: float, row: str, words: str, hovers: dict[str, str]) -> None:
    """A bar from 1x with its ratio in figures, or the words that say why there is none."""
    kind = words.partition("\n")[0]
    if formats.absent(value) or not np.isfinite(value):
        missing = "not printed" if kind == "printed" else "not run" if formats.absent(value) else "no LSTM"
        axes.text(1.06, y, missing, va="center", fontsize=7.5, color=SOFT)
        return
    gid, end = f"point-{len(hovers)}", max(value, 1.0)
    axes.barh(y, end - 1, 0.34, left=1, lw=0.8, gid=gid, **BARS[kind])
    axes.annotate(formats.ratio(value), (end, y), (5, 0), textcoords="offset points", va="center", fontsize=7.5)
    hovers[gid] = f"{row}: {formats.ratio(value)} {words}"


def _again(axes: Axes, y: float, line: dict) -> bool:
    """A tick across the printed bar where the ratio of the recomputed sizes is another one by more than 1 %; whether
    there is one."""
    printed, again = line["printed_ratio"], line["recomputed_ratio"]
    if formats.absent(again) or formats.absent(printed) or abs(again / printed - 1) <= 0.01:
        return False
    axes.vlines(again, y - 0.2, y + 0.2, color=COLOURS[1], lw=2.2, zorder=4)
    return True


def size(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """Figure 4: accuracy against size, every setting of each row, and the printed points."""
    rule = rule_of_table(table, groups, gathered)
    block = read_block(table.printed) if table.printed else None
    printed = dict(zip(block.keys, block.lines, strict=True)) if block else {}
    columns = ["row", "source", *GROUP_COLUMNS]
    hovers: dict[str, str] = {}
    points, handles = [], []
    with style():
        figure = new_figure(5.3, 3.8)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        for name, row, task, colour, marker in _rows(table, gathered):
            some = matching(row, task, groups[(groups["ok"] > 0) & (groups["size_mean"] > 0)])
            some = some.sort_values("size_mean").assign(row=name, source="ours")
            if len(some):
                x, y = some["size_mean"].to_numpy(), some["test_accuracy_mean"].to_numpy()
                half = some["test_accuracy_half_width"].fillna(0).to_numpy()
                axes.vlines(x, y - half, y + half, color=colour, lw=0.8, alpha=0.45)
                own = pareto_front(x, y)
                _points(axes, some, "size_mean", "test_accuracy_mean", colour, marker, hovers, line=False)
                axes.plot(x[own], y[own], color=colour, lw=1.1, zorder=2)
                points.append(some)
            handles.append((name, colour, marker))
            line = printed.get(name)
            if (point := _printed_point(block, line, task, groups)) is not None:
                x, y, words = point
                gid = f"point-{len(hovers)}"
                axes.plot(x, y, marker=marker, ms=7, ls="none", mfc="white",
                          mec=colour, mew=1.3, zorder=4, gid=gid)  # fmt: skip
                hovers[gid] = f"{name}, printed\n{words}"
                points.append(pd.DataFrame([{"row": name, "source": "printed", "size_mean": x,
                                             "test_accuracy_mean": y}]))  # fmt: skip
        if not points:
            return _nothing(table, "No run of these rows has finished.", columns, rule)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: formats.tick(x)))
        axes.xaxis.set_major_locator(LogLocator(10, numticks=12))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        axes.set_ylim(top=min(1.02, axes.get_ylim()[1]))
        axes.set_xlabel(f"{rule.title()} (log scale)")
        every = pd.concat(points).reindex(columns=columns)
        hollow = " (hollow: printed in the paper)" if (every["source"] == "printed").any() else ""
        axes.set_title(f"Test accuracy, %{hollow}", loc="left", fontsize=8)
        _legend(figure, handles)
        return _plot(table, figure, every, hovers, rule)


def _printed_point(
    block: Block | None, line: dict[str, str] | None, task: str, groups: pd.DataFrame
) -> tuple[float, float, str] | None:
    """Size, accuracy and words of a printed row; None where it prints one of the two alone. A feed-forward network's
    size is its printed share of the weights of our baseline on the task."""
    if not line:
        return None
    if block.size(line) and block.accuracy(line) is not None:
        words = f"{line['accuracy_pct']} % at {block.size_text(line)} LSTM parameters"
        return block.size(line), block.accuracy(line), words
    base = groups.loc[groups["task"] == task, "baseline_size"].max()
    if block.error(line) is None or not block.share(line) or formats.absent(base):
        return None
    return block.share(line) * base, 1 - block.error(line), f"error {line['error_pct']} % at r_W {line['r_W_pct']} %"


def _points(
    axes: Axes, some: pd.DataFrame, x: str, y: str, colour: str, marker: str, hovers: dict[str, str], line: bool = True
) -> None:
    """A curve with a marker for each group that tells its numbers on hover."""
    if line:
        axes.plot(some[x], some[y].replace(np.inf, np.nan), color=colour, lw=1.1, zorder=2)
    for group in some.to_dict("records"):
        gid = f"point-{len(hovers)}"
        hollow = group["protocol"] == "as_released"
        axes.plot(group[x], group[y], marker=marker, ms=5, ls="none", mfc="white" if hollow else colour,
                  mec=colour if hollow else "white", mew=1 if hollow else 0.5, zorder=3, gid=gid)  # fmt: skip
        hovers[gid] = f"{group['row']}\n{hover(group)}"


def _dense_line(axes: Axes, tasks: set[str], groups: pd.DataFrame) -> None:
    """The dense model of a figure's only task, as a dashed line with its accuracy."""
    dense = ranked(groups[groups["task"].isin(tasks) & groups["method"].isin(DENSE)])
    if len(tasks) != 1 or dense.empty:
        return
    mean = dense.iloc[0]["test_accuracy_mean"]
    axes.axhline(mean, color=INK, lw=0.9, ls=(0, (6, 3)), zorder=1)
    axes.annotate(f"dense\n{formats.percent(mean)}", (1.01, mean), xycoords=("axes fraction", "data"), va="center",
                  color=INK, fontsize=7.5, annotation_clip=False)  # fmt: skip


def _ratio_ticks(axis) -> None:
    axis.set_major_locator(LogLocator(10, numticks=9))
    axis.set_major_formatter(FuncFormatter(lambda value, _: formats.ratio_tick(value)))
    axis.set_minor_locator(NullLocator())


def _legend(figure: Figure, entries: list[tuple[str, str, str]], lines: bool = True) -> None:
    handles = [
        Line2D([], [], color=colour, marker=marker, ms=5, lw=1.1 if lines else 0, mec="white", mew=0.5, label=name[:40])
        for name, colour, marker in entries
    ]
    figure.legend(handles=handles, loc="outside lower left", ncols=min(3, len(handles)))
