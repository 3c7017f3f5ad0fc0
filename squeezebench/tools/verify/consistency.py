"""What a record can be held against without its model: its own numbers have to agree with each other.

The counting rule is the papers' 4h(d + h + 2), see measurement/counts.py; all else is arithmetic between fields that
the engine fills from one object.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from squeezebench.nn.rnn.cells import known_cells
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.differences import Difference
from squeezebench.schema.record import Counts, Record

PARTS = ("input_to_hidden", "hidden_to_hidden", "bias", "mask_vectors")
HEADER = 4096  # bytes of a model file that are no numbers: names, shapes and the spec, as JSON, for a few layers
PER_INPUT = 32  # bytes of buffers an input or channel may need that are no parameters: index, batch norm statistics


def inconsistencies(record: Record) -> Iterator[Difference]:
    """Fields of an ok record that contradict others: (field, recorded, what follows from the others)."""
    yield from _test_part(record)
    yield from _sums("counts", record.counts)
    yield from _sums("baseline.counts", record.baseline and record.baseline.counts)
    yield from _ratios(record)
    yield from _formulas(record)
    yield from _costs(record)
    yield from _training(record)


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
    yield from _differs("test_size", record.test_size, total)
    if total and record.accuracy.test is not None:
        found = float(np.trace(confusion)) / total
        if abs(found - record.accuracy.test) > 1e-9:
            yield Difference("accuracy.test", record.accuracy.test, found)
    if record.shape:
        yield from _differs("shape.classes", record.shape.classes, classes)


def _sums(name: str, counts: Counts | None) -> Iterator[Difference]:
    if counts is None:
        yield Difference(name, None, "counts by every rule")
        return
    yield from _differs(f"{name}.lstm_total", counts.lstm_total, sum(getattr(counts, part) for part in PARTS))
    yield from _differs(f"{name}.model_total", counts.model_total, counts.lstm_total + counts.head)
    if counts.weights is not None and not 0 <= counts.weights <= counts.model_total:
        yield Difference(f"{name}.weights", counts.weights, f"at most {counts.model_total}")


def _ratios(record: Record) -> Iterator[Difference]:
    if not (record.counts and record.baseline):
        return
    for name, value in record.ratio:
        dense, own = getattr(record.baseline.counts, name), getattr(record.counts, name)
        expected = round(dense / own, 4) if own and dense is not None else None
        if value is not None and (expected is None or abs(value - expected) > 1e-4 * max(1.0, expected)):
            yield Difference(f"ratio.{name}", value, expected)


def _formulas(record: Record) -> Iterator[Difference]:
    kept, cell = record.kept, _cell(record)
    if record.shape and kept.of_inputs is not None:
        yield from _differs("kept.of_inputs", kept.of_inputs, record.shape.inputs)
    if record.baseline and kept.of_inputs and kept.of_hidden and cell:
        formula = closed_form(kept.of_inputs, kept.of_hidden, cell)
        for name, value in formula.items():
            yield from _differs(f"baseline.counts.{name}", getattr(record.baseline.counts, name), value)
    if record.counts and kept.hidden and cell:  # every layer has two bias vectors a gate, whatever its maps are
        expected = closed_form(kept.inputs or 0, kept.hidden, cell)["bias"]
        yield from _differs("counts.bias", record.counts.bias, expected)
    if kept.inputs is not None and kept.of_inputs is not None and kept.inputs > kept.of_inputs:
        yield Difference("kept.inputs", kept.inputs, f"at most {kept.of_inputs}")
    if kept.structure is not None and kept.of_structure is not None and sum(kept.structure) > sum(kept.of_structure):
        yield Difference("kept.structure", sum(kept.structure), f"at most {sum(kept.of_structure)} in all")


def standard_counts(record: Record) -> Iterator[Difference]:
    """For a record whose compact layers read and recur through plain matrices: 4h(d + h + 2), part by part."""
    cell, kept = _cell(record), record.kept
    if record.counts and kept.hidden and kept.inputs is not None and cell:
        expected = closed_form(kept.inputs, kept.hidden, cell)
        for name in ("input_to_hidden", "hidden_to_hidden"):
            yield from _differs(f"counts.{name}", getattr(record.counts, name), expected[name])


def _cell(record: Record) -> str | None:
    """The name of the recurrent cell, or None; records from before `model` have it among the settings or in the
    baseline's name."""
    named = record.baseline.name.partition(" ")[0] if record.baseline else None
    cell = (record.model or {}).get("cell") or record.settings.get("cell") or named
    return cell if cell in known_cells() else None


def _costs(record: Record) -> Iterator[Difference]:
    cost, counts = record.cost, record.counts
    if cost is None or counts is None:
        yield Difference("cost", None, "bytes and multiply-accumulates")
        return
    least = 4 * counts.model_total  # every stored number is a float32 or an int32
    layers = record.kept.structure or record.kept.hidden or []
    read = (record.kept.of_inputs or 0) + sum(record.kept.structure or [])
    most = least + HEADER * max(1, len(layers)) + PER_INPUT * read
    if not least < cost.bytes <= most:
        yield Difference("cost.bytes", cost.bytes, f"{least:,} to {most:,} for {counts.model_total:,} numbers")
    if cost.macs_closed_form is not None:
        yield from _differs("cost.macs", cost.macs, cost.macs_closed_form)
    if whole := cost.stored_as.get("float32"):
        yield from _differs("cost.stored_as.float32.bytes", whole.bytes, cost.bytes)
        yield from _differs("cost.stored_as.float32.test", whole.test, record.accuracy.test)


def _training(record: Record) -> Iterator[Difference]:
    epochs = record.training.get("epochs")
    if epochs is not None and record.stages:
        yield from _differs("stages (epochs in all)", sum(stage.epochs for stage in record.stages), epochs)


def _differs(field: str, recorded: object, found: object) -> Iterator[Difference]:
    if recorded != found:
        yield Difference(field, recorded, found)
