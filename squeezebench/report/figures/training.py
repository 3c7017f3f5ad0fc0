"""Validation accuracy by epoch, for each task: one seed of the group of each method that is best on validation."""

from __future__ import annotations

import pandas as pd

from squeezebench.report.drawing.axes import epochs, heading, percents
from squeezebench.report.drawing.history import curve, histories
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure
from squeezebench.report.results import Results

SECTION, EACH, ORDER, PAGE = "classes", "task", 1, "sizes"
POINTS = ["task", "method", "settings", "seed", "stage", "epoch", "validation_accuracy"]


def draw(results: Results, task: str) -> Drawing:
    curves = list(histories(results, task))
    if not curves:
        return Drawing.nothing("No finished run of this task left a history.csv.", POINTS)
    figure = new_figure(5.3, 3.3)
    axes = figure.add_subplot()
    for group, history in curves:
        curve(axes, group, history, "validation_accuracy", results.looks[group["method"]])
    percents(axes.yaxis)
    heading(axes, "Validation accuracy, %")
    epochs(axes)
    figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
    return Drawing(figure, pd.concat([history for _, history in curves])[POINTS])
