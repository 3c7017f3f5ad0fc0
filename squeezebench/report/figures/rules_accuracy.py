"""Each learning rule of a task: its test accuracy minus that of exact gradients on the same network, with intervals."""

from __future__ import annotations

from squeezebench.report import formats
from squeezebench.report.drawing.axes import DASHED, heading, short
from squeezebench.report.drawing.palette import COLOURS, GREYS
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import INK, new_figure
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of

SECTION, EACH, PAGE = "glance", "task", "rules"
POINTS = ["task", "rule_label", "settings", "ok", "test_accuracy_mean", "test_accuracy_half_width", "exact_n",
          "exact_difference", "exact_half_width", "tick_n", "tick_difference", "tick_half_width"]  # fmt: skip


def draw(results: Results, task: str) -> Drawing:
    """A row for each rule: a dot for the difference to back-propagation, a square to the same with its batch norm."""
    here = results.rules[results.rules["task"] == task].sort_values(["network", "rule"], kind="stable")
    if here.empty:
        return Drawing.nothing("No run of this task with a learning rule has finished.", POINTS)
    if here[["exact_n", "tick_n"]].isna().all(axis=None):
        return Drawing.nothing("No finished run trains a network of this task by exact gradients too.", POINTS)
    rows = rows_of(here)
    figure = new_figure(4.6, 0.75 + 0.23 * len(rows))
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, lw=0.8, ls=DASHED, zorder=1)
    for place, row in enumerate(rows):
        for name, lift, colour, marker in (("exact", -0.13, COLOURS[0], "o"), ("tick", 0.13, GREYS[1], "s")):
            difference, half = row[f"{name}_difference"], row[f"{name}_half_width"]
            if not formats.absent(difference):
                axes.plot(100 * difference, place + lift, marker, ms=4.5, color=colour, zorder=3)
                width = 0 if formats.absent(half) else 100 * half
                axes.hlines(place + lift, 100 * difference - width, 100 * difference + width, color=colour, lw=1.2)
        axes.annotate(formats.percent(row["test_accuracy_mean"]), (1.01, place), va="center", fontsize=7.5, color=INK,
                      xycoords=("axes fraction", "data"), annotation_clip=False)  # fmt: skip
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [short(row["rule_label"], 40) for row in rows], fontsize=8)
    heading(axes, "Points to BP (dots) and to BP per tick (squares)")
    return Drawing(figure, here[POINTS])
