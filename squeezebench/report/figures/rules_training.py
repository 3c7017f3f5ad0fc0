"""Learning curves of each rule: validation accuracy by epoch, the mean of its seeds."""

from __future__ import annotations

import pandas as pd

from squeezebench.report.drawing.axes import epochs, heading, percents, short
from squeezebench.report.drawing.history import read_history
from squeezebench.report.drawing.palette import COLOURS
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import new_figure
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of

SECTION, EACH, PAGE = "rules", "task", "rules"
POINTS = ["task", "rule_label", "settings", "epoch", "seeds", "validation_accuracy", "lowest", "highest"]
LINES = {"backpropagation": (0, (5, 2)), "backpropagation_per_tick": (0, (1, 1.3))}  # all others are whole


def draw(results: Results, task: str) -> Drawing:
    """Networks have colours, rules have lines; the band of a rule is from its lowest to its highest seed."""
    here = results.rules[results.rules["task"] == task].sort_values(["network", "rule"], kind="stable")
    curves = [(row, _curve(results, row)) for row in rows_of(here)]
    curves = [(row, curve) for row, curve in curves if curve is not None]
    if not curves:
        return Drawing.nothing("No finished run of this task left a history.csv.", POINTS)
    networks = list(dict.fromkeys(row["network"] for row, _ in curves))
    figure = new_figure(5.3, 3.6)
    axes = figure.add_subplot()
    for row, curve in curves:
        colour = COLOURS[networks.index(row["network"]) % len(COLOURS)]
        line = LINES.get(row["rule"], (0, (6, 1, 1, 1)) if "of BP first" in row["rule_label"] else "-")
        axes.plot(curve["epoch"], curve["validation_accuracy"], color=colour, lw=1.2, ls=line,
                  label=short(row["rule_label"], 34))  # fmt: skip
        if row["rule"] not in LINES:
            axes.fill_between(curve["epoch"], curve["lowest"], curve["highest"], color=colour, alpha=0.1, lw=0)
    percents(axes.yaxis)
    heading(axes, "Validation accuracy, %")
    epochs(axes, "Epoch")
    figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
    return Drawing(figure, pd.concat([curve for _, curve in curves])[POINTS])


def _curve(results: Results, row: dict) -> pd.DataFrame | None:
    """The mean, the lowest and the highest validation accuracy of each epoch, over the finished seeds."""
    paths = results.gathered.runs_of(row)["path"]
    histories = [history for path in paths if (history := read_history(results.gathered, path)) is not None]
    if not histories:
        return None
    accuracy = pd.concat(histories).groupby("epoch")["validation_accuracy"].agg(["count", "mean", "min", "max"])
    accuracy = accuracy.reset_index().set_axis(["epoch", "seeds", "validation_accuracy", "lowest", "highest"], axis=1)
    return accuracy.assign(**{name: row[name] for name in ("task", "rule_label", "settings")})
