"""What a record can be checked against without its model: its own numbers have to agree with each other.

The counting rule is the papers' 4h(d + h + 2), see measurement/counts.py; all else is arithmetic between fields that
the engine fills from one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from squeezebench.nn.rnn.cells import known_cells
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.differences import Difference
from squeezebench.schema.predictions import unpacked, unpacked_groups
from squeezebench.schema.record import Counts, Record, ratio_of
from squeezebench.schema.training import UNITS
from squeezebench.tools.verify.comparison import differences

PARTS = ("input_to_hidden", "hidden_to_hidden", "bias", "mask_vectors")
HEADER = 4096  # bytes of a model file that are no numbers: names, shapes and the spec, as JSON, for a few layers
PER_INPUT = 32  # bytes of buffers an input or channel may need that are no parameters: index, batch norm statistics


def inconsistencies(record: Record) -> Iterator[Difference]:
    """Fields of an ok record that contradict others, with what follows from the others."""
    yield from _test_part(record)
    yield from _counts(record)
    yield from _ratios(record)
    yield from _limits(record)
    yield from differences(record, _by_formula(record))
    for unit in UNITS:
        length, trained = record.training.get(unit), sum(getattr(stage, unit) for stage in record.stages)
        if length is not None and record.stages and trained != length:
            yield Difference(f"stages ({unit} in all)", trained, length)


def _test_part(record: Record) -> Iterator[Difference]:
    for name, value in record.accuracy:
        if value is not None and not 0 <= value <= 1:
            yield Difference(f"accuracy.{name}", value, "a fraction in [0, 1]")
    if record.confusion is None:
        yield Difference("confusion", None, "one row for each class")
        return
    classes = len(record.class_names)
    if [len(row) for row in record.confusion] != [classes] * classes:
        yield Difference("confusion", f"{len(record.confusion)} rows", f"{classes} x {classes}, as class_names")
        return
    confusion = np.array(record.confusion)
    total = int(confusion.sum())
    if confusion.min() < 0:
        yield Difference("confusion", int(confusion.min()), "counts, 0 or more")
    yield from differences(record, {"test_size": total, "shape.classes": classes})
    if record.predictions is not None:
        try:
            unpacked(record.predictions, record.confusion)
        except ValueError as error:
            yield Difference("predictions", f"{total:,} test sequences", str(error))
    if record.group_codes is not None:
        try:
            unpacked_groups(record.group_codes, total)
        except ValueError as error:
            yield Difference("group_codes", f"{total:,} test sequences", str(error))
    if total and record.accuracy.test is not None:
        share = float(np.trace(confusion)) / total
        if abs(share - record.accuracy.test) > 1e-9:
            yield Difference("accuracy.test", record.accuracy.test, share)


def _counts(record: Record) -> Iterator[Difference]:
    for name, counts in (("counts", record.counts), ("baseline.counts", record.baseline and record.baseline.counts)):
        if counts is None:
            yield Difference(name, None, "counts by every rule")
            continue
        yield from differences(record, _sums(name, counts))
        if counts.weights is not None and not 0 <= counts.weights <= counts.model_total:
            yield Difference(f"{name}.weights", counts.weights, f"at most {counts.model_total}")


def _sums(name: str, counts: Counts) -> dict[str, int]:
    return {
        f"{name}.lstm_total": sum(getattr(counts, part) for part in PARTS),
        f"{name}.model_total": counts.lstm_total + counts.head,
    }


def _ratios(record: Record) -> Iterator[Difference]:
    if not (record.counts and record.baseline):
        return
    for name, value in record.ratio:
        dense, own = getattr(record.baseline.counts, name), getattr(record.counts, name)
        expected = ratio_of(dense, own)
        if value is not None and (expected is None or abs(value - expected) > 1e-4 * max(1.0, expected)):
            yield Difference(f"ratio.{name}", value, expected)


def _by_formula(record: Record) -> dict[str, Any]:
    """Path -> the value that follows from the numbers of inputs and units, or from another field."""
    kept, cost, cell, baseline = record.kept, record.cost, _cell(record), _cell_of_baseline(record)
    expected: dict[str, Any] = {}
    if record.shape and kept.of_inputs is not None:
        expected["kept.of_inputs"] = record.shape.inputs
    if kept.of_inputs and kept.of_hidden and baseline:
        formula = closed_form(kept.of_inputs, kept.of_hidden, baseline)
        expected |= {f"baseline.counts.{name}": value for name, value in formula.items()}
    if record.counts and kept.hidden and cell:  # every layer has two bias vectors a gate, whatever its maps are
        expected["counts.bias"] = closed_form(kept.inputs or 0, kept.hidden, cell)["bias"]
    if cost and cost.macs_closed_form is not None:
        expected["cost.macs"] = cost.macs_closed_form
    if cost and "float32" in cost.stored_as:
        expected["cost.stored_as.float32.bytes"] = cost.bytes
        expected["cost.stored_as.float32.test"] = record.accuracy.test
    return expected


def standard_counts(record: Record) -> Iterator[Difference]:
    """For a record whose compact layers read and recur through plain matrices: 4h(d + h + 2), part by part."""
    cell, kept = _cell(record), record.kept
    if record.counts and kept.hidden and kept.inputs is not None and cell:
        formula = closed_form(kept.inputs, kept.hidden, cell)
        names = ("input_to_hidden", "hidden_to_hidden")
        yield from differences(record, {f"counts.{name}": formula[name] for name in names})


def _cell(record: Record) -> str | None:
    """The name of the recurrent cell, or None. A run's own setting comes before the task's model."""
    cell = record.settings.get("cell") or (record.model or {}).get("cell") or _cell_of_baseline(record)
    return cell if cell in known_cells() else None


def _cell_of_baseline(record: Record) -> str | None:
    """The first word of `lstm 1 x 256`, if it is a recurrent cell."""
    named = record.baseline.name.partition(" ")[0] if record.baseline else None
    return named if named in known_cells() else None


def _limits(record: Record) -> Iterator[Difference]:
    """Values that only have to lie between others."""
    kept, cost, counts = record.kept, record.cost, record.counts
    if kept.inputs is not None and kept.of_inputs is not None and kept.inputs > kept.of_inputs:
        yield Difference("kept.inputs", kept.inputs, f"at most {kept.of_inputs}")
    if kept.structure is not None and kept.of_structure is not None and sum(kept.structure) > sum(kept.of_structure):
        yield Difference("kept.structure", sum(kept.structure), f"at most {sum(kept.of_structure)} in all")
    if cost is None or counts is None:
        yield Difference("cost", None, "bytes and multiply-accumulates")
        return
    least = 4 * counts.model_total  # every stored number is a float32 or an int32
    layers = kept.structure or kept.hidden or []
    read = (kept.of_inputs or 0) + sum(kept.structure or [])
    most = least + HEADER * max(1, len(layers)) + PER_INPUT * read
    if not least < cost.bytes <= most:
        yield Difference("cost.bytes", cost.bytes, f"{least:,} to {most:,} for {counts.model_total:,} numbers")
