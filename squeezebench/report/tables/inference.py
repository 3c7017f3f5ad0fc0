"""What `squeezebench inference` measured, as a table: ratios by runtime, and what the time is made of."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import measured_inference
from squeezebench.report.results import Results
from squeezebench.report.tabular.cells import timed
from squeezebench.report.tabular.table import (
    Cell,
    Column,
    Row,
    Table,
    number_cell,
    number_column,
    numeric,
    text_cell,
    text_column,
)
from squeezebench.report.words import captions
from squeezebench.schema.inference import BUSY, INT8, Comparison, Inference, Model

SECTION, WHEN = "inference", "optional"
ONNX = "ONNX Runtime"


def build(results: Results) -> Table | None:
    """One line for each network, batch size and runtime; None if nothing was measured of runs that count.

    Raises InputError for a file that cannot be trusted.
    """
    measured = measured_inference(results.gathered)
    if measured is None or not measured.models:
        return None
    frame = pd.DataFrame([row for model in measured.models for c in model.comparisons for row in _rows(model, c)])
    columns = [
        Column("Network", _network),
        Column("Dense to compact", lambda row: Cell(f"{row['dense_size']} → {row['compact_size']}")),
        number_column("Batch", "batch", "{:.0f}".format),
        text_column("Runtime", "runtime"),
        numeric("Dense, ms", timed("dense_ms", "dense_ms_low", "dense_ms_high")),
        numeric("Compact, ms", timed("compact_ms", "compact_ms_low", "compact_ms_high")),
        number_column("Same runtime", "same_runtime", formats.ratio),
        numeric("Fastest dense", _fastest),
        numeric("Overhead", _overhead),
        numeric("ONNX file", _file),
        numeric("Test accuracy", _accuracy),
        numeric("Memory, ms", _both("memory_ms"), tex=False),
        numeric("Arithmetic, ms", _both("arithmetic_ms"), tex=False),
    ]
    return Table(columns, frame, caption=f"{captions()['tables']['inference']} {conditions(measured)}")


def conditions(measured: Inference) -> str:
    """Where and how it was measured, in a sentence or two."""
    speeds = measured.bandwidth
    text = (
        f"{formats.clean(measured.machine)}, one thread, {measured.finished[:10]}: "
        f"{measured.macs_per_second / 1e9:.3g} billion multiply-accumulates per second in a large product, "
        f"{speeds[min(speeds)] / 1e9:.3g} GB/s from the first cache, {speeds[max(speeds)] / 1e9:.3g} GB/s from memory."
    )
    if measured.load_before is not None and measured.load_before > BUSY:
        text += (
            f" The machine was not quiet (load average {measured.load_before:.1f}): other programs slow these figures."
        )
    if measured.left_out:
        text += f" {formats.plural(len(measured.left_out), 'run')} without a recurrent network to measure."
    return text


def _rows(model: Model, comparison: Comparison) -> list[Row]:
    dense, compact = comparison.dense, comparison.compact
    common = {
        "source": model.source, "task": model.task, "method": model.method, "title": model.method_title or model.method,
        "seed": model.seed, "steps": model.steps, "dense_size": model.dense_size, "compact_size": model.compact_size,
        "dense_parameters": model.dense_parameters, "parameters": model.parameters,
        "dense_macs": model.dense_macs, "macs": model.macs, "batch": comparison.batch,
        "dense_memory_ms": dense.memory_ms, "compact_memory_ms": compact.memory_ms,
        "dense_arithmetic_ms": dense.arithmetic_ms, "compact_arithmetic_ms": compact.arithmetic_ms,
        "notes": "; ".join(model.notes),
    }  # fmt: skip
    rows = []
    ours, theirs_by = dict(compact.ms), dict(dense.ms)
    if compact.int8_ms and dense.int8_ms and comparison.fastest_dense_of_all:
        ours[INT8], theirs_by[INT8] = compact.int8_ms, dense.int8_ms
    for runtime, own in ours.items():
        theirs = theirs_by.get(runtime)
        times = {"dense_ms": theirs, "compact_ms": own}
        fastest = comparison.fastest_dense_of_all if runtime == INT8 else comparison.fastest_dense
        row = common | {"runtime": runtime, "fastest_dense": fastest, "fastest_dense_ms": theirs_by[fastest].median}
        row |= _files(model, runtime)
        for name, time in times.items():
            parts = {"": "median", "_low": "low", "_high": "high"}
            row |= {name + end: None if time is None else getattr(time, part) for end, part in parts.items()}
        overhead = comparison.overhead_ms.get(runtime)
        row |= {
            "same_runtime": comparison.same_runtime.get(runtime),
            "against_fastest": comparison.against_fastest[runtime],
            "overhead_ms": overhead,
            "overhead_share": None if overhead is None else min(1.0, overhead / own.median),
        }
        rows.append(row)
    return rows


def _files(model: Model, runtime: str) -> Row:
    """Size and accuracy of the two networks as ONNX files, in the rows of the runtimes that run them."""
    row: Row = {}
    for side in ("dense", "compact"):
        file = model.int8.get(side) if runtime in (INT8, ONNX) else None
        kind = "" if runtime == INT8 else "float32_"
        row |= {
            f"{side}_bytes": file and getattr(file, f"{kind}bytes"),
            f"{side}_test": file and getattr(file, f"{kind}test"),
            f"{side}_not_scored": file and file.not_scored if runtime == INT8 else None,
            f"{side}_logit_difference": file and file.logit_difference if runtime == INT8 else None,
        }
    return row


def _file(row: Row) -> Cell:
    return number_cell(row["compact_bytes"], lambda size: f"{formats.size(row['dense_bytes'])} → {formats.size(size)}")


def _accuracy(row: Row) -> Cell:
    """Dense → compact; below them why there is none, or how far int8's logits are from float32's."""
    if formats.absent(row["compact_bytes"]):
        return Cell(formats.NONE)
    text = " → ".join(formats.percent(row[f"{side}_test"]) for side in ("dense", "compact"))
    reasons = {row[f"{side}_not_scored"] for side in ("dense", "compact")}
    notes = [f"not scored: {reason}" for reason in sorted(r for r in reasons if not formats.absent(r))]
    if not formats.absent(row["compact_logit_difference"]):
        notes.append(f"logits within {formats.amount(row['compact_logit_difference'])} of float32's")
    return Cell(text, row["compact_test"], note=formats.clean("; ".join(notes)))


def _network(row: Row) -> Cell:
    if not row["method"]:
        return text_cell(row["source"])
    seed = "" if formats.absent(row["seed"]) else f", seed {row['seed']:.0f}"
    return text_cell(row["title"], f"{row['task']}{seed}")


def _fastest(row: Row) -> Cell:
    rival = f"vs {row['fastest_dense']}, {formats.amount(row['fastest_dense_ms'])} ms"
    return number_cell(row["against_fastest"], formats.ratio, rival)


def _overhead(row: Row) -> Cell:
    share = row["overhead_share"]
    note = "" if formats.absent(share) else f"{share:.0%} of the compact one's time"
    return number_cell(row["overhead_ms"], formats.amount, note)


def _both(key: str) -> Callable[[Row], Cell]:
    """Dense → compact."""
    return lambda row: number_cell(
        row[f"dense_{key}"], lambda dense: f"{formats.amount(dense)} → {formats.amount(row[f'compact_{key}'])}"
    )
