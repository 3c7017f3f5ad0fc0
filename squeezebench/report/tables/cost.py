"""Size and speed of the picked settings: every number measured on the module whose accuracy is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.sizes import DENSE, rule_of
from squeezebench.report.tables.table import Cell, Column, Table, number_column, text_column
from squeezebench.report.tables.views import method_cell, ratio
from squeezebench.report.words import captions
from squeezebench.schema.metrics import BATCHES, PRECISIONS

Row = dict[str, Any]
KEYS = ["task", "protocol", "method", "method_title", "control", "settings", "varied", "seeds", "ok", "stale",
        "ratio_size", "baseline", "test_accuracy_mean"]  # fmt: skip


def cost_table(chosen: pd.DataFrame, groups: pd.DataFrame) -> Table:
    """One line for every setting that is picked at some ratio, and for each dense run group."""
    frame = groups[groups.index.isin(chosen.index) | (groups["method"].isin(DENSE) & (groups["ok"] > 0))]
    rule = rule_of(groups)
    words = captions(rule.name)
    hints = words["hints"]
    columns = [
        text_column("Task", "task"),
        Column("Method", method_cell),
        text_column("Settings", "settings_label"),
        Column(f"Ratio ({rule.noun})", ratio, numeric=True, hint=hints["ratio"]),
        number_column("float32", "bytes_mean", formats.size, hint=hints["bytes"], group="On disk"),
        *(Column(kind, _stored(kind), numeric=True, hint=hints["stored"], group="On disk") for kind in PRECISIONS),
        Column("MACs", _beside("macs_mean", formats.count), numeric=True, hint=hints["macs"]),
        Column("Activations", _beside("peak_activation_bytes_mean", formats.size), numeric=True,
               hint=hints["activations"], tex=False),
    ]  # fmt: skip
    for batch in BATCHES:
        place = {"numeric": True, "hint": hints["speed"], "group": f"Latency at batch {batch}, ms"}
        columns += [
            Column("Compact", _timed(f"latency_ms_batch_{batch}"), **place),
            Column("Dense", _timed(f"dense_latency_ms_batch_{batch}"), **place),
            Column("Fastest dense", _fastest(batch), **place),
        ]
    raw = rule.raw([*KEYS, *_measured(groups)])
    return Table("cost", columns, frame, raw, words["tables"]["cost"])


def _measured(groups: pd.DataFrame) -> list[str]:
    """Columns of cost.csv: means over seeds of everything that `record.Cost` holds."""
    kinds = ("bytes", "test_accuracy_float16", "test_accuracy_int8", "macs", "dense_macs", "peak_activation",
             "dense_peak_activation", "latency_ms", "dense_latency_ms", "fastest_dense")  # fmt: skip
    return [name for name in groups if name.startswith(kinds) and not name.endswith("_half_width")]


def _stored(kind: str) -> Callable[[Row], Cell]:
    """Bytes in one precision; below them the test accuracy of what is read back from them, and what it lost."""

    def cell(row: Row) -> Cell:
        size, own = row[f"bytes_{kind}_mean"], row[f"test_accuracy_{kind}_mean"]
        if formats.absent(size):
            return Cell(formats.NONE)
        lost = formats.points(own - row["test_accuracy_mean"])
        note = "accuracy not measured" if formats.absent(own) else f"{formats.percent(own)} ({lost})"
        return Cell(formats.size(size), float(size), note=note)

    return cell


def _beside(key: str, show: Callable[[float], str]) -> Callable[[Row], Cell]:
    """A figure of the compact module with the dense model's below it."""

    def cell(row: Row) -> Cell:
        own, dense = row[key], row[f"dense_{key}"]
        note = "" if formats.absent(dense) or row["method"] in DENSE else f"dense {show(dense)}"
        return Cell(show(own), None if formats.absent(own) else float(own), note=note)

    return cell


def _timed(key: str) -> Callable[[Row], Cell]:
    """A median with its quartiles below it."""

    def cell(row: Row) -> Cell:
        median, low, high = (row[f"{key}{end}_mean"] for end in ("", "_low", "_high"))
        note = "" if formats.absent(low) else f"{formats.amount(low)} to {formats.amount(high)}"
        return Cell(formats.amount(median), None if formats.absent(median) else float(median), note=note)

    return cell


def _fastest(batch: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value = row[f"fastest_dense_latency_ms_batch_{batch}_mean"]
        runtime = "" if formats.absent(value) else row[f"fastest_dense_runtime_batch_{batch}"]
        return Cell(formats.amount(value), None if formats.absent(value) else float(value), note=formats.clean(runtime))

    return cell
