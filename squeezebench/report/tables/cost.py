"""Size and speed of the picked settings: every number is measured on the module whose accuracy is reported.

`latency_ms` of a record is that of the engine's module, `dense_latency_ms` that of torch.nn.LSTM (or GRU) in PyTorch's
fused kernel, which is several times as fast at equal size. Both sides of a ratio that is shown are the engine's module;
the fastest dense runtime of all stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Row, Table, number_cell, number_column, numeric
from squeezebench.report.words import captions
from squeezebench.schema.metrics import BATCHES, PRECISIONS

SECTION, PAGE = "cost", "sizes"
KEYS = ["task", "protocol", "method", "method_title", "control", "settings", "varied", "seeds", "ok", "stale",
        "ratio_size", "baseline", "test_accuracy_mean"]  # fmt: skip


def build(results: Results) -> Table:
    """One line for every setting that is picked at some ratio, and for each dense run group."""
    groups, rule = results.groups, results.rule
    frame = groups[groups.index.isin(results.chosen.index) | (groups["method"].isin(DENSE) & (groups["ok"] > 0))]
    hints, activations = captions(rule.name)["hints"], "peak_activation_bytes_mean"
    columns = [
        *cells.NAMED,
        numeric(f"Ratio ({rule.noun})", cells.ratio, hint=hints["ratio"]),
        number_column("float32", "bytes_mean", formats.size, hint=hints["bytes"], group="On disk"),
        *(numeric(kind, _stored(kind), hint=hints["stored"], group="On disk", detail=True) for kind in PRECISIONS),
        numeric("MACs", cells.beside_dense("macs_mean", "dense_macs_mean", formats.count), hint=hints["macs"]),
        numeric("Activations", cells.beside_dense(activations, f"dense_{activations}", formats.size),
                hint=hints["activations"], tex=False, detail=True),
    ]  # fmt: skip
    for batch in BATCHES:
        compact = [f"latency_ms_batch_{batch}{end}_mean" for end in ("", "_low", "_high")]
        place = {"hint": hints["speed"], "group": f"Latency at batch {batch}, ms", "detail": batch != BATCHES[0]}
        columns += [
            numeric("Compact", cells.timed(*compact), **place),
            numeric("Dense", _same_runtime(batch), **place),
            numeric("Fastest dense", _fastest(batch), **place),
        ]
    return Table(columns, frame, rule.raw([*KEYS, *_measured(groups)]))


def _measured(groups: pd.DataFrame) -> list[str]:
    """Columns of cost.csv: means over seeds of everything that `record.Cost` holds."""
    kinds = ("bytes", "test_accuracy_float16", "test_accuracy_int8", "macs", "dense_macs", "peak_activation",
             "dense_peak_activation", "latency_ms", "dense_latency_ms", "same_runtime", "fastest_dense")  # fmt: skip
    return [name for name in groups if name.startswith(kinds) and not name.endswith("_half_width")]


def _stored(kind: str) -> Callable[[Row], Cell]:
    """Bytes in one precision; below them the test accuracy of the module that is read back, and what it lost."""

    def cell(row: Row) -> Cell:
        own = row[f"test_accuracy_{kind}_mean"]
        lost = formats.points(own - row["test_accuracy_mean"])
        note = "accuracy not measured" if formats.absent(own) else f"{formats.percent(own)} ({lost})"
        return number_cell(row[f"bytes_{kind}_mean"], formats.size, note)

    return cell


def _same_runtime(batch: str) -> Callable[[Row], Cell]:
    """The dense network in the runtime of the compact one, and how many times as long it takes. The dense network
    itself is timed twice in a run: its row shows one of the two."""

    def cell(row: Row) -> Cell:
        dense, own = row[f"same_runtime_dense_latency_ms_batch_{batch}_mean"], row[f"latency_ms_batch_{batch}_mean"]
        if row["method"] in DENSE:
            return number_cell(own, formats.amount)
        return number_cell(dense, formats.amount, formats.ratio(dense / own))

    return cell


def _fastest(batch: str) -> Callable[[Row], Cell]:
    name = f"fastest_dense_{{}}_batch_{batch}"
    return lambda row: number_cell(
        row[name.format("latency_ms") + "_mean"], formats.amount, row[name.format("runtime")]
    )
