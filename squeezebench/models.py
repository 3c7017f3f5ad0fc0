"""The dense models that are compressed: a recurrent classifier, a network on images or videos, a per-frame network.

An experiment's `model:` is read as one of them; the settings of a method extend the one that it compresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, model_validator

from .dataset import Kind
from .errors import InputError
from .knobs import Settings, knob

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TaskInfo:
    """What a method may know of a task when it builds a module: shapes, never data."""

    name: str
    kind: Kind
    inputs: int  # D
    steps: int  # T, the longest sequence
    classes: int
    has_lengths: bool
    examples: int  # training sequences
    frame: tuple[int, int, int] | None = None  # (C, H, W) of a step; None: the steps are no images


class ModelSettings(Settings):
    """What describes a dense model. An experiment's `model:` sets these for all methods that have them."""

    def dense(self, task: TaskInfo) -> nn.Module:
        """The uncompressed model, (B, T, D) -> logits, freshly initialised. InputError where the task has no such."""
        raise TypeError(f"{type(self).__name__} does not define dense(task)")

    def label(self) -> str:
        """Its name in records."""
        raise TypeError(f"{type(self).__name__} does not define label()")

    def misfit(self, task: TaskInfo) -> str | None:
        """Why such a model cannot read the task's steps, in words; None where it can."""
        return None

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        """What a formula gives for the dense model's counts; keys as in record.Counts."""
        raise TypeError(f"{type(self).__name__} does not define closed_form(task)")

    def shared(self) -> ModelSettings:
        """These settings without the knobs that a method adds to them."""
        own = next(kind for kind in type(self).__mro__ if ModelSettings in kind.__bases__)
        return own(**{name: getattr(self, name) for name in own.model_fields})


class RecurrentSettings(ModelSettings):
    """What every method on a recurrent classifier shares."""

    cell: Literal["lstm", "gru"] = knob("lstm", "recurrent cell")
    hidden: PositiveInt = knob(64, "hidden units of each layer before compression")
    layers: PositiveInt = knob(1, "stacked recurrent layers")
    front: Literal["last", "segments", "segments_bn"] = knob(
        "last", "`segments`: batch norm per temporal segment and max (TS-LSTM); `segments_bn`: the batch norm alone"
    )
    segments: PositiveInt = knob(3, "temporal segments of the front")
    head: Literal["linear", "two_layers"] = knob(
        "linear", "`two_layers`: linear, batch norm, ReLU, linear (the VIB-LSTM authors' classifier)"
    )
    input_dropout: NonNegativeFloat = knob(0.0, "dropout on the inputs, one mask per sequence", lt=1)
    dropout: NonNegativeFloat = knob(0.0, "dropout on the state that is classified", lt=1)

    def dense(self, task: TaskInfo) -> nn.Module:
        from .nn import TemporalSegments, recurrent_classifier

        front = None
        if self.front != "last":
            front = TemporalSegments(task.inputs, self.segments, pool=self.front == "segments")
        return recurrent_classifier(
            task.inputs,
            self.hidden,
            task.classes,
            self.cell,
            self.layers,
            front,
            self.input_dropout,
            self.dropout,
            self.head,
        )

    def label(self) -> str:
        return f"{self.cell} {self.layers} x {self.hidden}"

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        return closed_form(task.inputs, [self.hidden] * self.layers, self.cell)


class NetworkSettings(ModelSettings):
    """What every method on a feed-forward network shares. A `model:` that names a `network` is read as these."""

    network: Literal[
        "lenet_300_100", "lenet_5", "vgg_8", "vgg16_d4", "vgg16_d5", "vgg16_d6", "vgg16_g", "vgg16_g5",
        "resnet_20", "resnet_56", "resnet_110", "mobilenet_v2", "resnet_50",
    ] = knob("lenet_300_100", "feed-forward network")  # fmt: skip
    width: PositiveFloat = knob(1.0, "factor on the widths of all its layers")
    recurrent: PositiveInt | None = knob(
        None, "units of an LSTM over what the network gives for each frame of a video; none: it classifies images"
    )

    def dense(self, task: TaskInfo) -> nn.Module:
        from .nn import recurrent_classifier
        from .nn.feedforward import FrameNetwork, FrameRecurrent, named_features, named_network

        if reason := self.misfit(task):
            raise InputError(f"task {task.name}: {reason}")
        if self.recurrent is None:
            return FrameNetwork(named_network(self.network, task.frame, task.classes, self.width), task.frame)
        network = named_network(self.network, task.frame, None, self.width)
        features = named_features(self.network, task.frame, self.width)
        return FrameRecurrent(network, recurrent_classifier(features, self.recurrent, task.classes), task.frame)

    def label(self) -> str:
        scaled = self.network + (f" x {self.width:g}" if self.width != 1 else "")
        return scaled if self.recurrent is None else f"{scaled} + lstm {self.recurrent}"

    def misfit(self, task: TaskInfo) -> str | None:
        if task.kind == "sequence":
            return f"{self.network} reads images; the task's steps are a sequence"
        if task.kind == "video" and self.recurrent is None:
            return f"{self.network} reads one image; a video needs `recurrent`, the units of an LSTM over its frames"
        if task.kind == "image" and self.recurrent is not None:
            return f"{self.label()} reads videos; the task has single images"
        return None

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        return network_closed_form(task, self)


class PerFrameSettings(ModelSettings):
    """What every method on a per-frame network shares: a VGG in units runs on each frame of a video, and the frames'
    logits are averaged. A `model:` that names `units` is read as these."""

    units: Literal["vgg_3", "vgg_4", "vgg_8"] = knob("vgg_4", "per-frame network: so many units")
    layers: PositiveInt = knob(1, "convolutions of a unit; 2: as the paper has VGG16 in eight units")
    width: PositiveInt = knob(8, "channels of its narrowest units")
    shortcuts: Literal["none", "sum", "concat"] = knob(
        "concat", "how a unit takes up what an earlier one makes of a newer frame; `none`: no unit sees two frames"
    )
    span: int = knob(3, "units from the start of a shortcut to its end; the frames are one less apart", ge=2)
    patches: PositiveInt = knob(1, "side of a frame's patches, whose pixels become channels first (space to depth)")

    @model_validator(mode="after")
    def _shortcuts_fit(self) -> PerFrameSettings:
        if self.shortcuts != "none" and self.span >= (depth := int(self.units.removeprefix("vgg_"))):
            raise ValueError(f"no shortcut over {self.span} units fits into {self.units}: give at most {depth - 1}")
        return self

    def dense(self, task: TaskInfo) -> nn.Module:
        from .nn.sideways import video_vgg

        if reason := self.misfit(task):
            raise InputError(f"task {task.name}: {reason}")
        shape = {"unshuffle": self.patches, "layers": self.layers}
        return video_vgg(self.units, task.frame, task.classes, self.width, self.shortcuts, self.span, **shape)

    def label(self) -> str:
        linked = "" if self.shortcuts == "none" else f", shortcuts {self.shortcuts} over {self.span}"
        layers = f" x {self.layers} layers" if self.layers > 1 else ""
        return f"{self.units}{layers} x {self.width} per frame{linked}"

    def misfit(self, task: TaskInfo) -> str | None:
        return None if task.kind == "video" else f"{self.label()} reads videos; the task's steps are a {task.kind}"

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        """Its weights; it has no recurrent parameters."""
        from .nn.sideways import video_vgg_weights

        shape = self.width, self.shortcuts, self.span, self.patches, self.layers
        weights = video_vgg_weights(self.units, task.frame[0], task.classes, *shape)
        return closed_form(0, [0]) | {"weights": weights}


NAMED_MODELS = {"network": NetworkSettings, "units": PerFrameSettings}  # by the key that tells them from recurrent ones


def kind_of_model(given: Any) -> str:
    """What a `model:`, or the settings of a method, describe: recurrent, or a key of NAMED_MODELS."""
    for key, kind in NAMED_MODELS.items():
        if key in given if isinstance(given, dict) else isinstance(given, kind):
            return key
    return "recurrent"


AnyModel = Annotated[
    Annotated[RecurrentSettings, Tag("recurrent")]
    | Annotated[NetworkSettings, Tag("network")]
    | Annotated[PerFrameSettings, Tag("units")],
    Discriminator(kind_of_model),
]


def settings_of_model(given: dict[str, Any]) -> type[ModelSettings]:
    """What a `model:` is read as."""
    return NAMED_MODELS.get(kind_of_model(given), RecurrentSettings)


def closed_form(
    inputs: int, hidden: list[int], cell: str = "lstm", input_to_hidden: int | None = None
) -> dict[str, int]:
    """4h(d + h + 2) for each LSTM layer (GRU: 3h(...)), taken apart.

    input_to_hidden: of the first layer, where its map is not a dense matrix.
    """
    gates = {"lstm": 4, "gru": 3}[cell]
    reads = [inputs, *hidden[:-1]]
    w = [gates * h * d for d, h in zip(reads, hidden, strict=True)]
    if input_to_hidden is not None:
        w[0] = input_to_hidden
    u, b = sum(gates * h * h for h in hidden), sum(2 * gates * h for h in hidden)
    return {"input_to_hidden": sum(w), "hidden_to_hidden": u, "bias": b, "lstm_total": sum(w) + u + b}


def network_closed_form(task: TaskInfo, settings: NetworkSettings) -> dict[str, int]:
    """The weights of the dense network, those of the LSTM above it included, and its recurrent parameters."""
    from .nn.feedforward import named_features, named_weights

    name, width, units = settings.network, settings.width, settings.recurrent
    if units is None:
        return closed_form(0, [0]) | {"weights": named_weights(name, task.frame, task.classes, width)}
    counts = closed_form(named_features(name, task.frame, width), [units])
    matrices = counts["input_to_hidden"] + counts["hidden_to_hidden"] + units * task.classes
    return counts | {"weights": named_weights(name, task.frame, None, width) + matrices}


def dense_classifier(task: TaskInfo, settings: ModelSettings) -> nn.Module:
    """The uncompressed model that `settings` describe, freshly initialised."""
    return settings.dense(task)
