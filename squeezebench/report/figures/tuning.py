"""The best validation accuracy so far by the number of trials, for each task that is tuned.

It answers whether a method was better only because it was tuned more.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.drawing.axes import epochs, heading, percents
from squeezebench.report.drawing.palette import Look
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import SOFT, new_figure
from squeezebench.report.gather import canonical, number
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, rule_of
from squeezebench.report.tuned import Tuned
from squeezebench.schema.tuning_result import best_so_far

SECTION, EACH, WHEN = "tuning", "task", "tuned"
POINTS = ["task", "method", "trial", "status", "reason", "drawn", "validation_accuracy", "size", "ratio",
          "meets_the_ratio", "value", "best_trial", "best_value", "best_validation_accuracy", "seconds"]  # fmt: skip


def draw(results: Results, task: str) -> Drawing | None:
    """Trials that miss the ratio of the objective do not count as the best so far."""
    rule, here = rule_of(results.of(task)), [tuning for tuning in results.tuned if tuning.task == task]
    tuned = [tuning for tuning in here if tuning.result]
    if not tuned:
        return Drawing.nothing("No method of this task has been tuned yet.", POINTS, rule) if here else None
    points = pd.DataFrame([line for tuning in tuned for line in _points(tuning)], columns=POINTS)
    figure = new_figure(5.3, 3.3)
    axes = figure.add_subplot()
    for tuning in tuned:
        look = results.looks.get(tuning.method, Look(SOFT, "o", "-"))
        curve = points[(points["method"] == tuning.method) & points["best_validation_accuracy"].notna()]
        if len(curve):  # if every point was tried, more trials would change nothing
            curve = pd.concat([curve, curve.tail(1).assign(trial=points["trial"].max())]).drop_duplicates("trial")
        words = tuning.title[:26] + ("" if len(curve) else " (never met)")
        line = "-" if tuning.method in DENSE else look.line
        axes.plot(curve["trial"] + 1, curve["best_validation_accuracy"], drawstyle="steps-post", color=look.colour,
                  ls=line, lw=1.1, marker=look.marker, ms=4.5, mec="white", mew=0.5, label=words)  # fmt: skip
    percents(axes.yaxis)
    epochs(axes, "Trials")
    axes.set_xlim(0.5, points["trial"].max() + 1.5)
    ratio = tuned[0].result.tuning.objective.ratio
    heading(axes, f"Best validation accuracy so far{f' at {formats.ratio(ratio)} or more' if ratio else ''}, %")
    figure.legend(loc="outside lower left", ncols=3, handlelength=2.6)
    return Drawing(figure, points, rule=rule)


def _points(tuning: Tuned) -> list[dict[str, Any]]:
    result, lines = tuning.result, []
    for trial, best in zip(result.trials, best_so_far(result), strict=True):
        reached = best is not None and result.tuning.objective.met(best.ratio)
        lines.append(
            {
                "task": tuning.task,
                "method": tuning.method,
                "trial": trial.number,
                "status": trial.status,
                "reason": trial.reason,
                "drawn": canonical(trial.drawn),
                "validation_accuracy": number(trial.validation),
                "size": number(trial.lstm_total),
                "ratio": number(trial.ratio),
                "meets_the_ratio": trial.status == "ok" and result.tuning.objective.met(trial.ratio),
                "value": number(trial.value),
                "best_trial": number(best and best.number),
                "best_value": number(best and best.value),
                "best_validation_accuracy": number(best.validation if reached else None),
                "seconds": trial.seconds,
            }
        )
    return lines
