"""The compact module of one record, read back from its file and measured again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.data.task import Task, load_task
from squeezebench.engine.measurement.cost import precisions
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.measurement.files import load_model
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.measurement.memory import peak_activation_bytes
from squeezebench.engine.run import ratio_of
from squeezebench.engine.training.evaluation import Diverged, accuracy, predict
from squeezebench.engine.training.loop import describe
from squeezebench.method.dense import dense_classifier
from squeezebench.method.discovery import MethodFile, load
from squeezebench.nn.cnn.frames import FrameNetwork, FrameRecurrent
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.sideways.vgg import VideoVGG
from squeezebench.schema.differences import Difference
from squeezebench.schema.record import Record
from squeezebench.schema.run import RunSpec
from squeezebench.tools.recorded import Recorded, as_recorded, same_arithmetic

CPU = torch.device("cpu")


# Fields that were measured, so that nothing has to be concluded about them from the record's other fields.
BY_SIZES = ("counts.", "kept.", "cost.bytes", "cost.macs", "model_digest")
BY_RESULTS = (*BY_SIZES, "cost.", "accuracy.", "confusion", "test_size", "baseline.", "ratio.", "shape.")


class Tasks:
    """The task of the run before, kept: the seeds and methods of one task are measured one after the other."""

    def __init__(self):
        self.key, self.task = None, None

    def of(self, spec: RunSpec) -> Task:
        key = (spec.task.model_dump_json(), spec.seed)
        if key != self.key:
            self.key, self.task = None, None  # first let go of the old one: it may be large
            self.key, self.task = key, load_task(spec.task, spec.seed, plugins=spec.plugins)
        return self.task


def read_model(path: Path, method: MethodFile) -> nn.Module:
    """The module saved at `path` by a run of that method. Raises InputError where the two do not fit."""
    try:
        return load_model(path, load(method).restore)
    except InputError:
        raise
    except Exception as error:  # a method's own from_spec may raise anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read back: {type(error).__name__}: {reason}") from None


def sizes(recorded: Recorded, model: nn.Module, path: Path) -> Iterator[Difference]:
    """Everything about the module that needs no data; exact on every machine."""
    record = recorded.record
    yield from _fields("counts", record.counts, count(model))
    if record.model_digest:
        yield from _differs("model_digest", record.model_digest, model_digest(model.state_dict()))
    yield from _differs("cost.bytes", record.cost.bytes, path.stat().st_size)
    found, _ = precisions(model, score=None)
    for precision, stored in record.cost.stored_as.items():
        again = found.get(precision)
        yield from _differs(f"cost.stored_as.{precision}.bytes", stored.bytes, again and again.bytes)
    if isinstance(model, RecurrentClassifier):
        index = model.input_index
        yield from _differs("kept.hidden", record.kept.hidden, model.hidden)
        yield from _differs("kept.inputs", record.kept.inputs, model.inputs if index is None else index.numel())
    if isinstance(model, FrameRecurrent):
        yield from _differs("kept.hidden", record.kept.hidden, model.hidden)
    if isinstance(model, FrameNetwork | FrameRecurrent | VideoVGG):
        yield from _differs("kept.structure", record.kept.structure, model.structure())
    if record.shape:
        inputs, steps = record.shape.inputs, record.shape.steps
        yield from _differs("cost.macs", record.cost.macs, macs(model, inputs, steps))
        if record.cost.peak_activation_bytes is not None:
            peak = peak_activation_bytes(model, inputs, steps)
            yield from _differs("cost.peak_activation_bytes", record.cost.peak_activation_bytes, peak)


def results(recorded: Recorded, spec: RunSpec, model: nn.Module, task: Task, notes: list[str]) -> Iterator[Difference]:
    """What the module answers on the task: exact where the machine and packages are the record's, else to within one
    sequence, which `notes` then says."""
    record, origin = recorded.record, recorded.record.provenance
    info = describe(task)
    yield from _differs("split_digest", origin.split_digest, task.split_digest)
    yield from _differs("class_names", record.class_names, list(task.classes))
    if record.shape:
        for name, value in record.shape:
            yield from _differs(f"shape.{name}", value, getattr(info, name))
    base = dense_classifier(info, spec.model)
    own, dense = count(model), count(base)
    yield from _fields("baseline.counts", record.baseline and record.baseline.counts, dense)
    for rule, ratio in record.ratio:
        yield from _differs(f"ratio.{rule}", ratio, ratio_of(getattr(dense, rule), getattr(own, rule)))
    if record.cost.dense_macs is not None:
        yield from _differs("cost.dense_macs", record.cost.dense_macs, closed_form_macs(base, info.steps))
    exact = same_arithmetic(origin)
    with as_recorded(origin):
        found, labels = predict(model, task, "test", CPU), task.labels("test")
        others = {part: accuracy(model, task, part, CPU) for part in ("train", "validation")}
        rounded = _rounded(record, model, task)
    test = float((found == labels).mean())
    confusion = np.zeros((info.classes, info.classes), dtype=int)
    np.add.at(confusion, (labels, found), 1)
    yield from _differs("test_size", record.test_size, len(labels))
    moved = _moved(record.confusion, confusion)
    if moved is None or moved > (0 if exact else 1):
        yield Difference("confusion", record.confusion, confusion.tolist())
    elif moved:
        notes.append("one test sequence is classified otherwise on this machine")
    for part, value in ({"test": test} | others).items():
        yield from _near(f"accuracy.{part}", getattr(record.accuracy, part), value, task.size(part), exact, notes)
    for precision, value in (rounded and {"float32": test} | rounded).items():
        stored = record.cost.stored_as[precision]
        yield from _near(f"cost.stored_as.{precision}.test", stored.test, value, len(labels), exact, notes)


def inputs(recorded: Recorded, spec: RunSpec) -> Iterator[Difference]:
    """Settings, seed, training and task against the digest that was taken of them when the run was made."""
    origin = recorded.record.provenance
    yield from _differs("inputs_digest", origin.inputs_digest, spec.digest_with(origin.method_digest))


def _rounded(record: Record, model: nn.Module, task: Task) -> dict[str, float | None]:
    """Test accuracy of the module as it is read back from float16 and int8, where the record holds it."""

    def score(module: nn.Module) -> float | None:
        try:
            return accuracy(module, task, "test", CPU)
        except Diverged:
            return None

    if not record.cost.stored_as:
        return {}
    found, _ = precisions(model, score)
    return {name: stored.test for name, stored in found.items() if name in record.cost.stored_as and name != "float32"}


def _moved(recorded: list[list[int]] | None, found: np.ndarray) -> int | None:
    """Sequences in another cell of the confusion; None where the shapes differ."""
    if recorded is None or np.shape(recorded) != found.shape:
        return None
    return int(np.abs(np.array(recorded) - found).sum()) // 2


def _near(
    field: str, recorded: float | None, found: float | None, size: int, exact: bool, notes: list[str]
) -> Iterator[Difference]:
    if recorded == found:
        return
    near = recorded is not None and found is not None and abs(recorded - found) * size < 1.5
    if exact or not near:
        yield Difference(field, recorded, found)
    else:
        notes.append(f"{field} is {found:.6g} on this machine, {recorded:.6g} in the record: one sequence")


def _fields(name: str, recorded, found) -> Iterator[Difference]:
    """Every field of two equal parts of a record."""
    for field, value in found:
        yield from _differs(f"{name}.{field}", getattr(recorded, field, None), value)


def _differs(field: str, recorded: object, found: object) -> Iterator[Difference]:
    if recorded != found:
        yield Difference(field, recorded, found)
