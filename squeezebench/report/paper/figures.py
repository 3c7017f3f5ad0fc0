"""The papers' figures drawn from our runs: a sweep, accuracy per class, ratios, accuracy against size."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from squeezebench.report import formats
from squeezebench.report.drawing.axes import dense_line, heading, legend, marker, percents, sizes, with_bars
from squeezebench.report.drawing.axes import ratios as ratio_axis
from squeezebench.report.drawing.palette import COLOURS, PLUGIN_MARKERS, Look, look
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import INK, SOFT, new_figure
from squeezebench.report.gather import Gathered
from squeezebench.report.paper.match import matching, pick, rule_of_table, swept
from squeezebench.report.paper.table import beside
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.groups import half_width, pareto_front
from squeezebench.report.statistics.picks import ranked
from squeezebench.report.statistics.recall import class_recall
from squeezebench.schema.printed import OurRow, PublishedTable
from squeezebench.schema.reference import Block, read_block, share

BARS = {
    "printed": {"facecolor": "white", "edgecolor": "#8a949e", "hatch": "////"},
    "ours": {"facecolor": COLOURS[0], "edgecolor": COLOURS[0]},
}
GROUP_COLUMNS = ["task", "protocol", "method", "settings", "ok", "validation_accuracy_mean", "test_accuracy_mean",
                 "test_accuracy_half_width", "size_mean", "ratio_size", "baseline"]  # fmt: skip
ACCURACY = ("test_accuracy_mean", "test_accuracy_half_width")


@dataclass(frozen=True)
class Shown:
    """One row of a published figure: its name, which runs of ours it shows, and its look, the same in each figure."""

    name: str
    row: OurRow
    task: str
    look: Look


def _rows(table: PublishedTable, gathered: Gathered) -> list[Shown]:
    """The rows with the looks of their methods. Of several rows of one method the later ones have other markers."""
    shown: list[Shown] = []
    for name, row in {**table.rows, **table.also}.items():
        own, taken = look(row.method, control=False), [earlier.look for earlier in shown]
        free = [replace(own, marker=marker, line="-") for marker in (own.marker, *PLUGIN_MARKERS)]
        task = (table.tasks_of(row, gathered.tasks) or [""])[0]
        shown.append(Shown(name, row, task, next((variant for variant in free if variant not in taken), free[0])))
    return shown


def _markers(axes: Axes, groups: pd.DataFrame, shown: Shown, x: str, y: str, hovers: dict[str, str]) -> None:
    """A marker for each run group of a row."""
    for group in rows_of(groups):
        gid = marker(axes, group, x, y, shown.look.colour, shown.look.marker, hovers)
        hovers[gid] = f"{shown.name}\n{hovers[gid]}"


def _legend(figure, rows: Iterable[Shown], **more) -> None:
    rows = list(rows)
    legend(figure, [(shown.name[:40], shown.look) for shown in rows], ncols=min(3, len(rows)), **more)


def sweep(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Drawing:
    """VIB-LSTM's Figure 5: test accuracy and compression against a setting, with 95 % bands."""
    rule = rule_of_table(table, groups, gathered)
    curves = [(shown, swept(shown.row, shown.task, table.setting, groups)) for shown in _rows(table, gathered)]
    curves = [(shown, rows.assign(row=shown.name, setting=table.setting)) for shown, rows in curves if len(rows)]
    columns = ["row", "setting", "value", "candidates", *GROUP_COLUMNS]
    if not curves:
        return Drawing.nothing(f"No run with a value of {table.setting} has finished.", columns, rule)
    hovers: dict[str, str] = {}
    figure = new_figure(5.3, 4.3)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for shown, rows in curves:
        colour, mean, half = shown.look.colour, rows[ACCURACY[0]], rows[ACCURACY[1]].fillna(0)
        top.fill_between(rows["value"], mean - half, mean + half, color=colour, alpha=0.18, lw=0)
        for axes, y in ((top, ACCURACY[0]), (bottom, "ratio_size")):
            axes.plot(rows["value"], rows[y].replace(np.inf, np.nan), color=colour, lw=1.1, zorder=2)
            _markers(axes, rows, shown, "value", y, hovers)
    points = pd.concat([rows for _, rows in curves])[columns]
    _setting_axis(bottom, table, points["value"].min() > 0)
    dense = ranked(groups[groups["task"].isin(points["task"]) & groups["method"].isin(DENSE)])
    if points["task"].nunique() == 1 and len(dense):
        dense_line(top, dense.iloc[0][ACCURACY[0]])
    top.set_ylim(top=min(1.02, top.get_ylim()[1]))
    percents(top.yaxis)
    heading(top, "Test accuracy, %")
    ratio_axis(bottom, "y")
    heading(bottom, f"{rule.compression} (log scale)")
    if table.mark:
        for axes in (top, bottom):
            axes.axvline(table.mark.at, color=INK, lw=0.9, ls=(0, (1, 2)), zorder=1)
        top.annotate(formats.clean(table.mark.says), (table.mark.at, 0.03), (4, 0), color=INK, fontsize=7.5,
                     xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    if len(curves) > 1:
        _legend(figure, [shown for shown, _ in curves])
    return Drawing(figure, points, hovers, rule)


def _setting_axis(axes: Axes, table: PublishedTable, positive: bool) -> None:
    """The swept setting, on a logarithmic axis if all of its values are positive."""
    axes.set_xlabel(table.setting + (" (log scale)" if positive else ""))
    if positive:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, subs=(1, 3), numticks=12))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_locator(NullLocator())


def classes(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Drawing:
    """VIB-LSTM's Figure 2: accuracy of each class, a mark per row, with 95 % intervals over seeds."""
    columns = ["row", "task", "method", "settings", "class", "seeds", "accuracy", "half_width"]
    rule, rows = rule_of_table(table, groups, gathered), []
    for shown in _rows(table, gathered):
        group = pick(shown.row, shown.task, groups).group
        recall = None if group is None else class_recall(group, gathered)
        if recall is not None:
            rows.append((shown, group, _class_accuracies(shown, group, *recall)))
    if not rows:
        return Drawing.nothing("No finished run recorded a confusion matrix.", columns, rule)
    every = pd.concat([frame for *_, frame in rows])
    names = sorted(every["class"].unique(), key=str.casefold)
    place = {name: position for position, name in enumerate(names)}
    hovers: dict[str, str] = {}
    figure = new_figure(5.3, 1.1 + 0.2 * len(names))
    axes = figure.add_subplot()
    spans = every.groupby("class")["accuracy"].agg(["min", "max"])
    axes.hlines([place[name] for name in spans.index], spans["min"], spans["max"], color="#c9d1d9", lw=1.6, zorder=1)
    for index, (shown, group, frame) in enumerate(rows):
        shift = (index - (len(rows) - 1) / 2) * 0.16  # intervals of two rows must not lie on each other
        for line in rows_of(frame):
            _class_mark(axes, place[line["class"]] + shift, line, shown, hovers, group["settings_label"])
    axes.set_yticks(range(len(names)), [formats.clean(name[:28]) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(max(-0.02, min(every["accuracy"].min() - 0.05, 0.8)), 1.02)
    percents(axes.xaxis)
    axes.set_xlabel("Correct, % of the class")
    _legend(figure, [shown for shown, *_ in rows], width=0)
    return Drawing(figure, every[columns], hovers, rule)


def _class_accuracies(shown: Shown, group: pd.Series, names: list[str], recall: np.ndarray) -> pd.DataFrame:
    """One line per class: mean recall over seeds with half of its interval."""
    frame = pd.DataFrame(recall, columns=range(len(names))).agg(["mean", "std", "count"]).T
    half = half_width(frame["std"], frame["count"])
    return pd.DataFrame({"row": shown.name, "task": shown.task, "method": shown.row.method,
                         "settings": group["settings"], "class": names, "seeds": frame["count"].astype(int),
                         "accuracy": frame["mean"], "half_width": half})  # fmt: skip


def _class_mark(axes: Axes, y: float, line: dict, shown: Shown, hovers: dict[str, str], settings: str) -> None:
    """A row's mark in one class, with its interval."""
    gid, mean, half = f"point-{len(hovers)}", line["accuracy"], line["half_width"]
    half = 0 if formats.absent(half) else half
    axes.hlines(y, mean - half, min(1, mean + half), color=shown.look.colour, lw=0.8, alpha=0.5)
    axes.plot(mean, y, marker=shown.look.marker, ms=5, ls="none", color=shown.look.colour, mec="white", mew=0.5,
              gid=gid, zorder=3)  # fmt: skip
    interval = formats.percent_interval(mean, line["half_width"])
    hovers[gid] = f"{line['class']}\n{shown.name}: {interval}\n{settings}"


def ratios(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Drawing:
    """VIB-LSTM's Figure 3: printed and measured compression of the LSTM."""
    frame, rule = beside(table, groups, gathered), rule_of_table(table, groups, gathered)
    frame = frame[frame["row"].isin([row.label or key for key, row in (table.rows | table.also).items()])]
    again = frame["recomputed_lstm_parameters"]
    frame = frame.assign(recomputed_ratio=again.max() / again)
    columns = ["row", "kind", "printed_ratio", "recomputed_ratio", "printed_lstm_parameters", "task", "method",
               "settings", "ok", "size_mean", "ratio_size", "baseline", "picked"]  # fmt: skip
    hovers: dict[str, str] = {}
    figure = new_figure(5.3, 1.1 + 0.42 * len(frame))
    axes = figure.add_subplot()
    handles = [Patch(label=name, **look) for name, look in BARS.items()]
    for place, line in enumerate(rows_of(frame)):
        ours = f"ours\nvs {line['baseline']}\n{line['label']}"
        _bar(axes, place - 0.19, line["printed_ratio"], line["row"], "printed", hovers)
        _bar(axes, place + 0.19, line["ratio_size"], line["row"], ours, hovers)
        if abs(line["recomputed_ratio"] / line["printed_ratio"] - 1) > 0.01:  # false if one of them is missing
            axes.vlines(line["recomputed_ratio"], place - 0.39, place + 0.01, color=COLOURS[1], lw=2.2, zorder=4)
            words = "printed sizes recomputed, if they differ"
            handles[2:] = [Line2D([], [], color=COLOURS[1], lw=2.2, label=words)]
    axes.set_yticks(range(len(frame)), [formats.clean(name) for name in frame["row"]])
    axes.set_ylim(len(frame) - 0.4, -0.6)
    ratio_axis(axes)
    values = frame[["printed_ratio", "ratio_size"]].replace(np.inf, np.nan)
    axes.set_xlim(1, max(10.0, float(np.nanmax([*values.to_numpy().ravel(), 1.0]))) * 4)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{rule.compression} (log scale)")
    figure.legend(handles=handles, loc="outside lower left", ncols=3)
    return Drawing(figure, frame[columns], hovers, rule)


def _bar(axes: Axes, y: float, value: float, row: str, words: str, hovers: dict[str, str]) -> None:
    """A bar from 1x with its ratio in digits, or the words that say why there is none."""
    kind = words.partition("\n")[0]
    if formats.absent(value) or not np.isfinite(value):
        missing = "not printed" if kind == "printed" else "not run" if formats.absent(value) else "no LSTM"
        axes.text(1.06, y, missing, va="center", fontsize=7.5, color=SOFT)
        return
    gid, end = f"point-{len(hovers)}", max(value, 1.0)
    axes.barh(y, end - 1, 0.34, left=1, lw=0.8, gid=gid, **BARS[kind])
    axes.annotate(formats.ratio(value), (end, y), (5, 0), textcoords="offset points", va="center", fontsize=7.5)
    hovers[gid] = f"{row}: {formats.ratio(value)} {words}"


def size(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Drawing:
    """VIB-LSTM's Figure 4: accuracy against size, every setting of each row, and the printed points."""
    rule, rows = rule_of_table(table, groups, gathered), _rows(table, gathered)
    block = read_block(table.printed) if table.printed else Block("", ())
    printed = dict(zip(block.keys, block.lines, strict=True))
    columns = ["row", "source", *GROUP_COLUMNS]
    hovers: dict[str, str] = {}
    points = []
    figure = new_figure(5.3, 3.8)
    axes = figure.add_subplot()
    for shown in rows:
        own_groups = matching(shown.row, shown.task, groups[(groups["ok"] > 0) & (groups["size_mean"] > 0)])
        if len(own_groups):
            points.append(own_groups.sort_values("size_mean").assign(row=shown.name, source="ours"))
            _settings(axes, points[-1], shown, hovers)
        if (point := _printed_point(block, printed.get(shown.name), shown.task, groups)) is not None:
            x, y, words = point
            gid = f"point-{len(hovers)}"
            axes.plot(x, y, marker=shown.look.marker, ms=7, ls="none", mfc="white", mec=shown.look.colour, mew=1.3,
                      zorder=4, gid=gid)  # fmt: skip
            hovers[gid] = f"{shown.name}, printed\n{words}"
            points.append(pd.DataFrame([{"row": shown.name, "source": "printed", "size_mean": x, ACCURACY[0]: y}]))
    if not points:
        return Drawing.nothing("No run of these rows has finished.", columns, rule)
    sizes(axes)
    percents(axes.yaxis)
    axes.set_ylim(top=min(1.02, axes.get_ylim()[1]))
    axes.set_xlabel(f"{rule.title()} (log scale)")
    every = pd.concat(points).reindex(columns=columns)
    hollow = " (hollow: printed in the paper)" if (every["source"] == "printed").any() else ""
    heading(axes, f"Test accuracy, %{hollow}")
    _legend(figure, rows)
    return Drawing(figure, every, hovers, rule)


def _settings(axes: Axes, groups: pd.DataFrame, shown: Shown, hovers: dict[str, str]) -> None:
    """All settings of a row, with its own Pareto front."""
    with_bars(axes, groups, "size_mean", *ACCURACY, shown.look.colour)
    _markers(axes, groups, shown, "size_mean", ACCURACY[0], hovers)
    front = groups[pareto_front(groups["size_mean"].to_numpy(), groups[ACCURACY[0]].to_numpy())]
    axes.plot(front["size_mean"], front[ACCURACY[0]], color=shown.look.colour, lw=1.1, zorder=2)


def _printed_point(
    block: Block, line: dict[str, str] | None, task: str, groups: pd.DataFrame
) -> tuple[float, float, str] | None:
    """Size, accuracy and words of a printed row; None if it prints one of the two alone. A feed-forward network's
    size is its printed share of the weights of our baseline on the task."""
    if not line:
        return None
    accuracy, error, kept = (share(line, name) for name in ("accuracy_pct", "error_pct", "r_W_pct"))
    if block.size(line) and accuracy is not None:
        return block.size(line), accuracy, f"{line['accuracy_pct']} % at {block.size_text(line)} LSTM parameters"
    base = groups.loc[groups["task"] == task, "baseline_size"].max()
    if error is None or not kept or formats.absent(base):
        return None
    return kept * base, 1 - error, f"error {line['error_pct']} % at r_W {line['r_W_pct']} %"


FIGURES = {"sweep": sweep, "classes": classes, "ratios": ratios, "size": size}  # by the layout
