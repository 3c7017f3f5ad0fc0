"""The settings that are picked on validation, against dense, a smaller dense model and the best control."""

from __future__ import annotations

import math
from collections.abc import Callable

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import of_row
from squeezebench.report.statistics.compare import COMPARED
from squeezebench.report.statistics.picks import PARTNERS
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_cell, numeric, text_column
from squeezebench.report.words import captions

SECTION, PAGE = "selected", "sizes"
RAW = ["task", "protocol", "bracket", "registered", "collapsed",
       "method", "method_title", "control", "settings", "varied", "seeds", "ok", "stale",
       "size_mean", "ratio_size", "ratio_size_low", "ratio_size_high", "baseline", "validation_accuracy_mean",
       "validation_accuracy_half_width", "test_accuracy_mean", "test_accuracy_half_width", "test_accuracy_covers",
       *(f"{which}_{part}" for which in PARTNERS for part in (
           "partner_method", "partner_settings", "partner_size_mean", *(part for part in COMPARED if part != "group"))
         )]  # fmt: skip


def build(results: Results) -> Table:
    """One line per task, method and bracket of the ratio."""
    groups, rule = results.groups, results.rule
    hints = captions(rule.name)["hints"]
    names: dict[str, dict[int, str]] = {which: {} for which in PARTNERS}
    for index, row in zip(groups.index, rows_of(groups), strict=True):
        label, size = row["settings_label"], of_row(row).ratio(row["ratio_size"])
        names["small"][index] = f"vs {label}, {size}"
        names["control"][index] = f"vs {row['method_label']} {label}, {size}"
        names["dense"][index] = f"vs {row['method_label']}" + ("" if label == "defaults" else f" {label}")
    columns = [
        text_column("Task", "task"),
        numeric("At least", _bracket),
        Column("Method", cells.method),
        text_column("Settings picked", "settings_label"),
        numeric("Seeds", cells.seeds, hint=hints["seeds"], tex=False, detail=True),
        numeric(f"Ratio ({rule.noun})", cells.ratio, hint=hints["ratio"]),
        numeric("Validation", cells.accuracy("validation_accuracy"), hint=hints["interval"], tex=False, detail=True),
        numeric("Test accuracy", cells.accuracy("test_accuracy"), hint=hints["interval"]),
        numeric("Points to dense", _difference("dense", names), hint=hints["dense"]),
        numeric(f"Points to {rule.smaller}", _difference("small", names), hint=hints["small"]),
        numeric("Detectable", _detectable, hint=hints["detectable"]),
        numeric("Points to best control", _difference("control", names), hint=hints["control"], detail=True),
    ]
    frame = results.chosen.copy()
    for which in PARTNERS:
        for part in ("method", "settings", "size_mean"):
            frame[f"{which}_partner_{part}"] = frame[f"{which}_group"].map(groups[part])
        tested = [f"{which}_{part}" for part in ("p_holm", "level", "detectable", "seeds_needed")]
        frame[tested] = frame[tested].where(frame["registered"])  # at other ratios nothing is concluded
    return Table(columns, frame, rule.raw(RAW))


def _bracket(row: Row) -> Cell:
    return number_cell(row["bracket"], formats.ratio_tick, "registered" if row["registered"] else "")


def _detectable(row: Row) -> Cell:
    """The smallest difference to a small dense model that a registered comparison could have detected."""
    if not row["registered"] or row["control"] or formats.absent(row["small_detectable"]):
        return Cell(formats.NONE)
    seeds = row["small_seeds_needed"]
    note = f"1 point: {seeds:,.0f} seeds" if seeds < math.inf else "1 point: test set too small"
    return number_cell(row["small_detectable"], lambda value: formats.points(value).lstrip("+"), note)


def _difference(which: str, names: dict[str, dict[int, str]]) -> Callable[[Row], Cell]:
    """The paired difference of a group to its partner, with the partner's name below it."""

    def cell(row: Row) -> Cell:
        partner, number = row[f"{which}_group"], int(row[f"{which}_n"])
        if formats.absent(partner):
            return Cell(formats.NONE)
        note = names[which][int(partner)]
        few = f"{note}, {formats.plural(number, 'pair')}"
        return cells.points(row[f"{which}_difference"], row[f"{which}_half_width"], number, note, few)

    return cell
