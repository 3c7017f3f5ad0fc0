"""One source under two splits: each method's test accuracy if clips of a group are on both sides, and if none is."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from squeezebench.report import formats
from squeezebench.report.drawing.axes import heading, percents, short
from squeezebench.report.drawing.palette import Look
from squeezebench.report.drawing.plot import Drawing
from squeezebench.report.drawing.svg import GRID, INK, SOFT, new_figure
from squeezebench.report.paper.match import tables_of, with_folds
from squeezebench.report.paper.splits import splits_table
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import rule_of

SECTION, WHEN = "across", "optional"
POINTS = ["table", "row", "method", "settings", "left_task", "right_task", "left_ok", "right_ok",
          "left_test_accuracy_mean", "left_test_accuracy_half_width", "right_test_accuracy_mean",
          "right_test_accuracy_half_width", "difference", "low", "high"]  # fmt: skip
UNKNOWN = Look(SOFT, "o", "-")


def draw(results: Results) -> Drawing | None:
    """A panel for each table of the layout `splits`, a row for each of its rows that ran on both sides."""
    groups = with_folds(results.groups, results.gathered)
    asked = [table for table in tables_of(results.gathered.plan) if table.layout == "splits"]
    frames = [splits_table(table, groups, results.gathered).frame.assign(table=table.name) for table in asked]
    shown = [frame.dropna(subset=["left_test_accuracy_mean", "right_test_accuracy_mean"]) for frame in frames]
    shown = [frame for frame in shown if len(frame)]
    if not shown:
        return None
    figure = new_figure(5.3, sum(0.9 + 0.24 * len(frame) for frame in shown))
    panels = figure.subplots(len(shown), squeeze=False, height_ratios=[len(frame) + 3 for frame in shown])
    for axes, frame in zip(panels[:, 0], shown, strict=True):
        _panel(axes, frame.sort_values("right_test_accuracy_mean", ascending=False), results)
    return Drawing(figure, pd.concat(shown, ignore_index=True)[POINTS], rule=rule_of(groups))


def _panel(axes: Axes, frame: pd.DataFrame, results: Results) -> None:
    for place, row in enumerate(rows_of(frame)):
        look = results.looks.get(row["method"], UNKNOWN)
        ends = [row[f"{side}_test_accuracy_mean"] for side in ("right", "left")]
        axes.plot(ends, [place, place], color=GRID, lw=2.5, zorder=1)
        for side, face in (("left", "white"), ("right", look.colour)):
            mean, half = (row[f"{side}_test_accuracy_{part}"] for part in ("mean", "half_width"))
            axes.errorbar(mean, place, xerr=None if formats.absent(half) else half, color=look.colour, lw=0.9,
                          marker=look.marker, ms=5, mfc=face, mec=look.colour, zorder=2)  # fmt: skip
        axes.annotate(formats.points(row["difference"]), (1.01, place), xycoords=("axes fraction", "data"), va="center",
                      color=INK, fontsize=7.5)  # fmt: skip
    axes.set_yticks(range(len(frame)), [formats.clean(short(name, 34)) for name in frame["row"]])
    axes.set_ylim(len(frame) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    percents(axes.xaxis)
    first = frame.iloc[0]
    tasks = [Line2D([], [], color=SOFT, marker="o", ls="none", ms=5, mfc=face,
                    label=short(formats.clean(first[f"{side}_task"]), 30))
             for side, face in (("left", "white"), ("right", SOFT))]  # fmt: skip
    axes.legend(handles=tasks, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2, fontsize=7.5, frameon=False)
    heading(axes, "Test accuracy, %; right: difference in points")
