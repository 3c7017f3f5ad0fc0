"""The other figures: accuracy lost at each ratio over all tasks, accuracy per class, training curves."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from squeezebench.base.reading import regular
from squeezebench.report import formats
from squeezebench.report.figures.palette import MARKERS, Look
from squeezebench.report.figures.scatter import Plot, hover, nothing, plot
from squeezebench.report.figures.svg import INK, SOFT, new_figure, style
from squeezebench.report.gather import GROUP, Gathered
from squeezebench.report.sizes import DENSE, SMALLER, rule_of
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, leading_protocol

MOST_EPOCHS = 1_000_000  # of a history that is read
LOST = ["task", "protocol", "bracket", "method", "method_title", "settings", "control",
        "ratio_size", "dense_n", "dense_difference", "dense_half_width"]  # fmt: skip
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#cfe3f1", "#5aa2cf", "#0a4f80"])


def difference_vs_ratio(chosen: pd.DataFrame, looks: dict[str, Look]) -> Plot:
    """Test accuracy minus dense at each bracket: a panel per method, a line per task."""
    kind = "difference_vs_ratio"
    shown = leading_protocol(chosen[chosen["dense_n"] > 0])
    shown = shown.drop_duplicates([*GROUP])  # one group may be the pick of several brackets: one point
    methods = list(shown.sort_values(["control", "method"])["method"].unique())
    if not methods:
        return nothing(kind, "No finished setting can be compared with a dense run.", LOST, rule=rule_of(chosen))
    tasks = sorted(shown["task"].unique())
    markers = {task: MARKERS[index % len(MARKERS)] for index, task in enumerate(tasks)}
    hovers: dict[str, str] = {}
    with style():
        columns = min(3, len(methods))
        rows = -(-len(methods) // columns)
        figure = new_figure(9, 1.9 * rows + 0.6)
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        low = shown["dense_difference"].min()
        for axes, method in zip(grid.flat, methods, strict=False):
            axes.set_xscale("log")
            axes.axhline(0, color=INK, lw=0.8, ls=(0, (6, 3)))
            if method not in SMALLER:
                for _, control in shown[shown["method"].isin(SMALLER)].groupby("task"):
                    control = control.sort_values("ratio_size")
                    axes.plot(control["ratio_size"], control["dense_difference"], color="#c9d1d9", lw=1.2)
            for task, some in shown[shown["method"] == method].groupby("task"):
                _lost(axes, some.sort_values("ratio_size"), looks[method], markers[task], hovers)
            title = shown.loc[shown["method"] == method, "method_label"].iloc[0]
            axes.set_title(formats.clean(title[:40]), loc="left", fontsize=8, color=looks[method].colour)
            axes.yaxis.set_major_formatter(
                FuncFormatter(lambda y, _: f"{100 * y:+g}".replace("-", formats.MINUS) if y else "0")
            )
            axes.xaxis.set_major_locator(LogLocator(10, numticks=5))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: formats.ratio_tick(x)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        grid[0, 0].set_ylim(1.15 * low - 0.005, max(0.02, shown["dense_difference"].max() * 1.3))
        for axes in grid.flat[len(methods) :]:
            axes.set_visible(False)
        for axes in grid.flat[len(methods) - columns : len(methods)]:
            axes.tick_params(labelbottom=True)
        figure.supylabel("Points to dense", fontsize=8)
        figure.supxlabel(f"Ratio of {rule_of(chosen).noun} (log scale)", fontsize=8)
        handles = [
            Line2D([], [], color=SOFT, marker=markers[t], ms=5, lw=0.9, label=formats.clean(t[:40])) for t in tasks
        ]
        small = " or ".join(sorted(set(methods) & set(SMALLER))) or SMALLER[0]
        handles.append(Line2D([], [], color="#c9d1d9", lw=1.2, label=f"{small}, same tasks"))
        figure.legend(handles=handles, loc="outside upper left", ncols=4)
        return plot(kind, figure, shown[LOST], hovers, rule=rule_of(chosen))


def _lost(axes, some: pd.DataFrame, look: Look, marker: str, hovers: dict[str, str]) -> None:
    x, y = some["ratio_size"], some["dense_difference"]
    half = some["dense_half_width"].where(some["dense_n"] >= ENOUGH_SEEDS).fillna(0)
    axes.plot(x, y, color=look.colour, lw=0.9, alpha=0.7)
    axes.vlines(x, y - half, y + half, color=look.colour, lw=0.8, alpha=0.4)
    for group in some.to_dict("records"):
        gid = f"point-{len(hovers)}"
        axes.plot(group["ratio_size"], group["dense_difference"], marker=marker, ms=4.5, ls="none",
                  color=look.colour, mec="white", mew=0.5, gid=gid)  # fmt: skip
        paired = "not enough seeds for a difference to dense"
        if group["dense_n"] >= ENOUGH_SEEDS:
            points = formats.points_interval(group["dense_difference"], group["dense_half_width"])
            paired = f"{points} points to dense"
        seeds = formats.plural(group["dense_n"], "paired seed")
        hovers[gid] = f"{group['task']}\n{hover(group)}\n{paired} ({seeds})"


def best_per_method(task: str, groups: pd.DataFrame) -> pd.DataFrame:
    """The group of each method that is best on validation, among its sound ones where it has any."""
    here = groups[(groups["task"] == task) & groups["validation_accuracy_mean"].notna()]
    here = here.sort_values(["protocol", "validation_accuracy_mean"], ascending=False, kind="stable")
    best = here.drop_duplicates("method").copy()  # "sound" sorts behind "as_released": descending, it is first
    marked = {"sound": "", "paper": " (paper's protocol)", "as_released": " (as released)"}
    best["method_label"] += best["protocol"].map(marked)
    return best.sort_values(["control", "method"])


def per_class(task: str, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    """Recall of each class, one row per method."""
    kind, columns = "per_class", ["task", "method", "settings", "class", "accuracy", "seeds"]
    rule = rule_of(groups[groups["task"] == task])
    lines = []
    for _, group in best_per_method(task, groups).iterrows():
        if (found := class_recall(group, gathered)) is None:
            continue
        names, recall = found
        which = (group["method_label"], group["method"], group["settings"])
        for position, (name, value) in enumerate(zip(names, recall.mean(axis=0), strict=True)):
            lines.append((*which, name, value, len(recall), position))
    if not lines:
        return nothing(kind, "No finished run of this task recorded a confusion matrix.", columns, task, rule)
    table = pd.DataFrame(lines, columns=["label", "method", "settings", "class", "accuracy", "seeds", "position"])
    values = table.pivot(index="method", columns="position", values="accuracy").loc[table["method"].unique()]
    classes = table.drop_duplicates("position").sort_values("position")["class"].tolist()
    with style():
        figure = new_figure(5.3 if len(classes) <= 12 else 9, 0.9 + 0.25 * len(values))
        axes = figure.add_subplot()
        axes.grid(False)
        low = min(0.9, np.nanmin(values.to_numpy()))  # shades span the values, so that a weak class is seen
        axes.pcolormesh(values.to_numpy(), cmap=SHADES, vmin=low, vmax=1, edgecolors="white", linewidth=1.2)
        axes.invert_yaxis()
        if len(classes) <= 24:
            for (row, column), value in np.ndenumerate(values.to_numpy()):
                text = formats.NONE if np.isnan(value) else f"{100 * value:.0f}"
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=7.5,
                          color="white" if value > low + 0.75 * (1 - low) else INK)  # fmt: skip
        labels = [formats.clean(name[:18]) for name in classes]
        turned = max(map(len, labels)) * len(labels) > 110
        axes.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=90 if turned else 0, fontsize=7.5)
        if len(labels) > 60:  # a name for each would be unreadable; the CSV has them all
            axes.set_xticks([])
            axes.set_xlabel(f"{len(labels)} classes")
        titles = table.drop_duplicates("method")["label"]
        axes.set_yticks(np.arange(len(values)) + 0.5, [formats.clean(title[:32]) for title in titles])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title("Correct, % of each class", loc="left", fontsize=8)
        return plot(kind, figure, table.assign(task=task)[columns], {}, task, rule=rule)


def class_recall(group: pd.Series, gathered: Gathered) -> tuple[list[str], np.ndarray] | None:
    """Names of the classes and recall (seeds, classes) of a group; None where no run recorded a confusion matrix, or
    the runs are not of one task."""
    runs = runs_of(group, gathered)
    runs = runs[runs["confusion"].notna()]
    shapes = {np.shape(matrix) for matrix in runs["confusion"]}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2 or shape[0] != shape[1]:
        return None
    matrices = np.array(runs["confusion"].tolist(), float)  # (seeds, classes, classes)
    with np.errstate(invalid="ignore"):
        recall = np.diagonal(matrices, axis1=1, axis2=2) / matrices.sum(axis=2)
    names = runs["class_names"].iloc[0]
    return [str(name) for name in names] if len(names) == shape[0] else [str(i) for i in range(shape[0])], recall


def training(task: str, groups: pd.DataFrame, gathered: Gathered, looks: dict[str, Look]) -> Plot:
    """Validation accuracy by epoch: one seed of each method's best group on validation."""
    kind, columns = (
        "training",
        ["task", "method", "settings", "seed", "stage", "epoch", "validation_accuracy"],
    )
    curves = []
    for _, group in best_per_method(task, groups).iterrows():
        runs = runs_of(group, gathered).sort_values("seed")
        curve = read_history(gathered, runs["path"].iloc[0]) if len(runs) else None
        if curve is not None:
            names = {"task": task, "method": group["method"], "settings": group["settings"]}
            curves.append((group, curve.assign(seed=runs["seed"].iloc[0], **names)))
    if not curves:
        return nothing(kind, "No finished run of this task left a history.csv.", columns, task)
    with style():
        figure = new_figure(5.3, 3.3)
        axes = figure.add_subplot()
        for group, curve in curves:
            look = looks[group["method"]]
            axes.plot(curve["epoch"], curve["validation_accuracy"], color=look.colour, lw=1.1,
                      ls="-" if group["method"] in DENSE else look.line,
                      label=formats.clean(group["method_label"][:26]))  # fmt: skip
            starts = curve[(curve["stage"] != curve["stage"].shift()) & (curve.index > 0)]
            axes.plot(starts["epoch"], starts["validation_accuracy"], marker="|", ms=7, ls="none", color=look.colour)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("Validation accuracy, %", loc="left", fontsize=8)
        axes.set_xlabel("Epoch (stages end to end)")
        figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
        return plot(kind, figure, pd.concat([curve for _, curve in curves])[columns], {}, task)


def read_history(gathered: Gathered, place: str, more: tuple[str, ...] = ()) -> pd.DataFrame | None:
    """Stage, epoch (counted over all stages), validation accuracy, and the columns `more` of what a method observes;
    None where there is nothing to draw."""
    try:
        history = pd.read_csv(regular(gathered.folder / place / "history.csv"), nrows=MOST_EPOCHS)
        history = history.dropna(subset=["stage", "epoch", "validation_accuracy"])
        kinds = {"epoch": int, "validation_accuracy": float} | dict.fromkeys(more, float)
        history = history.astype(kinds).reset_index(drop=True)
    except (OSError, ValueError, KeyError):
        return None  # optional, and never worth losing the report for
    if history.empty:
        return None
    history["epoch"] = np.arange(1, len(history) + 1)  # one row per epoch with a validation
    return history[["stage", "epoch", "validation_accuracy", *more]]


def runs_of(group: pd.Series, gathered: Gathered) -> pd.DataFrame:
    """The finished runs of a run group."""
    return gathered.runs.iloc[gathered.finished.get(tuple(group[key] for key in GROUP), [])]
