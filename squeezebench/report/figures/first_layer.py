"""VIBNet's Figure 2: the bound on what the first hidden layer tells of the input, and compression, over training."""

from __future__ import annotations

import pandas as pd
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from squeezebench.report import formats
from squeezebench.report.figures.more import best_per_method, read_history, runs_of
from squeezebench.report.figures.palette import Look
from squeezebench.report.figures.scatter import Plot, plot
from squeezebench.report.figures.svg import new_figure, style
from squeezebench.report.gather import Gathered
from squeezebench.report.sizes import rule_of

OBSERVED = ("first_layer_nats", "kept_weights")  # what a method has to leave in its history
COLUMNS = ["task", "method", "settings", "seed", "stage", "epoch", "first_layer_nats", "kept_weights", "compression"]


def first_layer(task: str, groups: pd.DataFrame, gathered: Gathered, looks: dict[str, Look]) -> Plot | None:
    """One seed of each method's best group on validation; None where no history has what it needs."""
    curves = []
    for _, group in best_per_method(task, groups).iterrows():
        runs = runs_of(group, gathered).sort_values("seed")
        curve = read_history(gathered, runs["path"].iloc[0], OBSERVED) if len(runs) else None
        if curve is None or (curve := curve.dropna().reset_index(drop=True)).empty:
            continue
        names = {"task": task, "method": group["method"], "settings": group["settings"], "seed": runs["seed"].iloc[0]}
        compression = runs["baseline_size"].iloc[0] / curve["kept_weights"].where(curve["kept_weights"] > 0)
        curves.append((group, curve.assign(compression=compression, **names)))
    if not curves:
        return None
    with style():
        figure = new_figure(5.3, 4.2)
        above, below = figure.subplots(2, 1, sharex=True)
        for group, curve in curves:
            look, title = looks[group["method"]], formats.clean(group["method_label"][:26])
            starts = curve[(curve["stage"] != curve["stage"].shift()) & (curve.index > 0)]
            for axes, column in ((above, "first_layer_nats"), (below, "compression")):
                axes.plot(curve["epoch"], curve[column], color=look.colour, lw=1.1, ls=look.line,
                          label=title if axes is above else None)  # fmt: skip
                axes.plot(starts["epoch"], starts[column], marker="|", ms=7, ls="none", color=look.colour)
        above.set_ylim(bottom=0)
        above.set_title("Bound on the information between input and first hidden layer, nats", loc="left", fontsize=8)
        below.set_yscale("log")
        below.yaxis.set_major_formatter(FuncFormatter(lambda y, _: formats.ratio_tick(y)))
        below.yaxis.set_minor_formatter(NullFormatter())
        below.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.set_title("Compression (log scale)", loc="left", fontsize=8)
        below.set_xlabel("Epoch (stages end to end)")
        figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
        points = pd.concat([curve for _, curve in curves])[COLUMNS]
        return plot("first_layer", figure, points, {}, task, rule=rule_of(groups[groups["task"] == task]))
