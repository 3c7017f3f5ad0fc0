"""VIBNet's Figure 2: the bound on what the first hidden layer tells of the input, and compression, over training."""

from __future__ import annotations

import pandas as pd

from squeezebench.report.drawing.axes import epochs, heading, ratios
from squeezebench.report.drawing.history import curve, histories
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure
from squeezebench.report.results import Results
from squeezebench.report.sizes import rule_of

SECTION, EACH, WHEN, ORDER = "classes", "task", "optional", 2
OBSERVED = ("first_layer_nats", "kept_weights")  # what a method has to leave in its history
POINTS = ["task", "method", "settings", "seed", "stage", "epoch", "first_layer_nats", "kept_weights", "compression"]


def draw(results: Results, task: str) -> Drawing | None:
    curves = [(group, whole.dropna().reset_index(drop=True)) for group, whole in histories(results, task, OBSERVED)]
    curves = [
        (group, rows.assign(compression=rows["baseline_size"] / rows["kept_weights"].where(rows["kept_weights"] > 0)))
        for group, rows in curves if len(rows)
    ]  # fmt: skip
    if not curves:
        return None
    figure = new_figure(5.3, 4.2)
    above, below = figure.subplots(2, 1, sharex=True)
    for group, rows in curves:
        look = results.looks[group["method"]]
        curve(above, group, rows, "first_layer_nats", look)
        curve(below, group, rows, "compression", look, named=False)
    above.set_ylim(bottom=0)
    heading(above, "Bound on the information between input and first hidden layer, nats")
    ratios(below, "y")
    heading(below, "Compression (log scale)")
    epochs(below)
    figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
    return Drawing(figure, pd.concat([rows for _, rows in curves])[POINTS], rule=rule_of(results.of(task)))
