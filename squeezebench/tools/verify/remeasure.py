"""The compact module of one record, read back from its file and measured again: path in the metric table -> value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.data.task import Task, load_task
from squeezebench.engine.measurement.cost import precisions
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.measurement.memory import peak_activation_bytes
from squeezebench.engine.training.evaluation import accuracy, predict, score_of
from squeezebench.engine.training.loop import describe
from squeezebench.method.dense import dense_classifier
from squeezebench.nn.protocol import structure_of
from squeezebench.schema.predictions import confusion_of, packed, packed_groups
from squeezebench.schema.record import Ratio, Record, Shape, ratio_of
from squeezebench.schema.run import RunSpec
from squeezebench.tools.recorded import Recorded, as_recorded, other_data
from squeezebench.tools.verify.comparison import fields

CPU = torch.device("cpu")


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


def task_of(recorded: Recorded, tasks: Tasks) -> Task:
    """The record's task. Raises InputError if its data are not there, or are others than those of the record."""
    spec = recorded.spec()
    task = tasks.of(spec)
    if task.split_digest != recorded.record.provenance.split_digest or other_data(spec):
        raise InputError("the data, or their split, are not those of the record")
    return task


def sizes(record: Record, model: nn.Module, path: Path) -> dict[str, Any]:
    """Everything about the module that needs no data; exact on every machine."""
    measured = fields("counts", count(model)) | {
        "model_digest": model_digest(model.state_dict()),
        "cost.bytes": path.stat().st_size,
    }
    stored, _ = precisions(model, score=None)
    measured |= {f"cost.stored_as.{name}.bytes": file.bytes for name, file in stored.items()}
    structure = structure_of(model)
    measured |= {"kept.inputs": structure.inputs, "kept.hidden": structure.hidden, "kept.structure": structure.widths}
    if record.shape:
        inputs, steps = record.shape.inputs, record.shape.steps
        measured["cost.macs"] = macs(model, inputs, steps)
        if record.cost.peak_activation_bytes is not None:
            measured["cost.peak_activation_bytes"] = peak_activation_bytes(model, inputs, steps)
    return measured


def results(recorded: Recorded, spec: RunSpec, model: nn.Module, task: Task) -> dict[str, Any]:
    """The module's answers on the task, and what its dense model is."""
    info = describe(task)
    base = dense_classifier(info, spec.model)
    own, dense = count(model), count(base)
    with as_recorded(recorded.record.provenance):
        predicted, labels = predict(model, task, "test", CPU), task.labels("test")
        shares = {part: accuracy(model, task, part, CPU) for part in ("train", "validation")}
        rounded = _rounded(recorded.record, model, task)
    shares["test"] = rounded["float32"] = float((predicted == labels).mean())
    return {
        "provenance.split_digest": task.split_digest,
        "class_names": list(task.classes),
        **{f"shape.{name}": getattr(info, name) for name in Shape.model_fields},
        **fields("baseline.counts", dense),
        **{f"ratio.{rule}": ratio_of(getattr(dense, rule), getattr(own, rule)) for rule in Ratio.model_fields},
        "cost.dense_macs": closed_form_macs(base, info.steps),
        "test_size": len(labels),
        "confusion": confusion_of(labels, predicted, info.classes),
        "predictions": packed(labels, predicted),
        "group_codes": packed_groups(labels, task.groups("test")),
        **{f"accuracy.{part}": share for part, share in shares.items()},
        **{f"cost.stored_as.{name}.test": share for name, share in rounded.items()},
    }


def _rounded(record: Record, model: nn.Module, task: Task) -> dict[str, float | None]:
    """Test accuracy of the module as it is read back from float16 and int8, if the record holds it."""
    if not record.cost.stored_as:
        return {}
    stored, _ = precisions(model, score_of(task))
    return {name: file.test for name, file in stored.items()}
