"""Dense models from their settings, and the counts that a formula gives for them."""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING

from squeezebench import nn
from squeezebench.base.errors import InputError
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import ModelSettings, NetworkSettings, PerFrameSettings, RecurrentSettings, TaskInfo

if TYPE_CHECKING:
    from torch.nn import Module


def dense_classifier(task: TaskInfo, settings: ModelSettings) -> Module:
    """The uncompressed model that `settings` describe, (B, T, D) -> logits, freshly initialised.

    Raises InputError if such a model cannot read the steps of the task.
    """
    if reason := settings.incompatibility(task):
        raise InputError(f"task {task.name}: {reason}")
    return _build(settings, task)


def dense_closed_form(task: TaskInfo, settings: ModelSettings) -> dict[str, int]:
    """The counts of the dense model by formula; the keys are those of record.Counts."""
    return _counts(settings, task)


def dense_macs(task: TaskInfo, settings: ModelSettings) -> int:
    """Multiply-accumulates of the dense model on one sequence, or image. No numbers are computed, and none drawn."""
    from torch import device

    with device("meta"):
        return dense_classifier(task, settings).macs(task.steps)


@singledispatch
def _build(settings: ModelSettings, task: TaskInfo) -> Module:
    raise TypeError(f"no dense model is known for {type(settings).__name__}")


@_build.register(RecurrentSettings)
def _(settings: RecurrentSettings, task: TaskInfo) -> Module:
    front = None
    if settings.front != "last":
        front = nn.TemporalSegments(task.inputs, settings.segments, pool=settings.front == "segments")
    return nn.recurrent_classifier(
        task.inputs,
        settings.hidden,
        task.classes,
        settings.cell,
        settings.layers,
        front,
        settings.input_dropout,
        settings.dropout,
        settings.head,
    )


@_build.register(NetworkSettings)
def _(settings: NetworkSettings, task: TaskInfo) -> Module:
    if settings.recurrent is None:
        return nn.FrameNetwork(nn.named_network(settings.network, task.frame, task.classes, settings.width), task.frame)
    network = nn.named_network(settings.network, task.frame, None, settings.width)
    features = nn.named_features(settings.network, task.frame, settings.width)
    return nn.FrameRecurrent(network, nn.recurrent_classifier(features, settings.recurrent, task.classes), task.frame)


@_build.register(PerFrameSettings)
def _(settings: PerFrameSettings, task: TaskInfo) -> Module:
    shape = {"unshuffle": settings.patches, "layers": settings.layers}
    return nn.video_vgg(
        settings.units, task.frame, task.classes, settings.width, settings.shortcuts, settings.span, **shape
    )


@singledispatch
def _counts(settings: ModelSettings, task: TaskInfo) -> dict[str, int]:
    raise TypeError(f"no counts are known for {type(settings).__name__}")


@_counts.register(RecurrentSettings)
def _(settings: RecurrentSettings, task: TaskInfo) -> dict[str, int]:
    return closed_form(task.inputs, [settings.hidden] * settings.layers, settings.cell)


@_counts.register(NetworkSettings)
def _(settings: NetworkSettings, task: TaskInfo) -> dict[str, int]:
    """The weights of the network, those of the LSTM above it included, and its recurrent parameters."""
    name, width, units = settings.network, settings.width, settings.recurrent
    if units is None:
        return closed_form(0, [0]) | {"weights": nn.named_weights(name, task.frame, task.classes, width)}
    counts = closed_form(nn.named_features(name, task.frame, width), [units])
    matrices = counts["input_to_hidden"] + counts["hidden_to_hidden"] + units * task.classes
    return counts | {"weights": nn.named_weights(name, task.frame, None, width) + matrices}


@_counts.register(PerFrameSettings)
def _(settings: PerFrameSettings, task: TaskInfo) -> dict[str, int]:
    """Its weights; it has no recurrent parameters."""
    shape = settings.width, settings.shortcuts, settings.span, settings.patches, settings.layers
    weights = nn.video_vgg_weights(settings.units, task.frame, task.classes, *shape)
    return closed_form(0, [0]) | {"weights": weights}
