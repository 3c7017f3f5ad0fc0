"""Recall of each class, for each task: one row per method."""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn
from matplotlib.colors import LinearSegmentedColormap

from squeezebench.report import formats
from squeezebench.report.drawing.axes import heading
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure
from squeezebench.report.results import Results
from squeezebench.report.sizes import rule_of
from squeezebench.report.statistics.recall import class_recall

SECTION, EACH, PAGE = "classes", "task", "sizes"
POINTS = ["task", "method", "settings", "class", "accuracy", "seeds"]
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#cfe3f1", "#5aa2cf", "#0a4f80"])


def draw(results: Results, task: str) -> Drawing:
    """The mean over the seeds of the group of each method that is best on validation."""
    rule, lines = rule_of(results.of(task)), []
    for _, group in results.best_per_method(task).iterrows():
        if (recalls := class_recall(group, results.gathered)) is None:
            continue
        names, recall = recalls
        which = (task, group["method_label"], group["method"], group["settings"])
        lines += [(*which, name, value, len(recall), position)
                  for position, (name, value) in enumerate(zip(names, recall.mean(axis=0), strict=True))]  # fmt: skip
    if not lines:
        return Drawing.nothing("No finished run of this task recorded a confusion matrix.", POINTS, rule)
    columns = ["task", "label", "method", "settings", "class", "accuracy", "seeds", "position"]
    table = pd.DataFrame(lines, columns=columns)
    values = table.pivot(index="method", columns="position", values="accuracy").loc[table["method"].unique()]
    labels = [formats.clean(name[:18]) for name in table.drop_duplicates("position").sort_values("position")["class"]]
    figure = new_figure(5.3 if len(labels) <= 12 else 9, 0.9 + 0.25 * len(values))
    axes = figure.add_subplot()
    low = min(0.9, np.nanmin(values.to_numpy()))  # shades span the values, so that a weak class is seen
    seaborn.heatmap(
        100 * values, vmin=100 * low, vmax=100, cmap=SHADES, cbar=False, linewidths=1.2, linecolor="white", ax=axes,
        annot=len(labels) <= 24, fmt=".0f", annot_kws={"fontsize": 7.5},
        yticklabels=[formats.clean(title[:32]) for title in table.drop_duplicates("method")["label"]],
        xticklabels=labels if len(labels) <= 60 else False,  # the CSV has the names
    )  # fmt: skip
    turned = max(map(len, labels)) * len(labels) > 110
    axes.tick_params(axis="x", rotation=90 if turned else 0, labelsize=7.5, length=0)
    axes.tick_params(axis="y", rotation=0, length=0)
    axes.set(ylabel="", xlabel=f"{len(labels)} classes" if len(labels) > 60 else "")
    heading(axes, "Correct, % of each class")
    return Drawing(figure, table[POINTS], rule=rule)
