"""The dense models that are compressed: a recurrent classifier, a network on images or videos, a per-frame network.

An experiment's `model:` is read as one of them; the settings of a method extend the one that it compresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Discriminator, NonNegativeFloat, PositiveFloat, PositiveInt, Tag, model_validator

from squeezebench.schema.kind import Kind
from squeezebench.schema.settings import Settings, setting


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

    def label(self) -> str:
        """Its name in records."""
        raise TypeError(f"{type(self).__name__} does not define label()")

    def incompatibility(self, task: TaskInfo) -> str | None:
        """Why such a model cannot read the task's steps, in words; None if it can."""
        return None

    def shared(self) -> ModelSettings:
        """These settings without the settings that a method adds to them."""
        own = next(kind for kind in type(self).__mro__ if ModelSettings in kind.__bases__)
        return own(**{name: getattr(self, name) for name in own.model_fields})


class RecurrentSettings(ModelSettings):
    """What every method on a recurrent classifier shares."""

    cell: str = setting("lstm", "recurrent cell: the name of a file in squeezebench/nn/rnn/cells")
    hidden: PositiveInt = setting(64, "hidden units of each layer before compression")
    layers: PositiveInt = setting(1, "stacked recurrent layers")
    front: Literal["last", "segments", "segments_bn"] = setting(
        "last", "`segments`: batch norm per temporal segment and max (TS-LSTM); `segments_bn`: the batch norm alone"
    )
    segments: PositiveInt = setting(3, "temporal segments of the front")
    head: Literal["linear", "two_layers"] = setting(
        "linear", "`two_layers`: linear, batch norm, ReLU, linear (the VIB-LSTM authors' classifier)"
    )
    input_dropout: NonNegativeFloat = setting(0.0, "dropout on the inputs, one mask per sequence", lt=1)
    dropout: NonNegativeFloat = setting(0.0, "dropout on the state that is classified", lt=1)

    def label(self) -> str:
        return f"{self.cell} {self.layers} x {self.hidden}"


class NetworkSettings(ModelSettings):
    """What every method on a feed-forward network shares. A `model:` that names a `network` is read as these."""

    network: Literal[
        "lenet_300_100", "lenet_5", "vgg_8", "vgg16_d4", "vgg16_d5", "vgg16_d6", "vgg16_g", "vgg16_g5",
        "resnet_20", "resnet_56", "resnet_110", "mobilenet_v2", "resnet_50",
    ] = setting("lenet_300_100", "feed-forward network")  # fmt: skip
    width: PositiveFloat = setting(1.0, "factor on the widths of all its layers")
    recurrent: PositiveInt | None = setting(
        None, "units of an LSTM over what the network gives for each frame of a video; none: it classifies images"
    )

    def label(self) -> str:
        scaled = self.network + (f" x {self.width:g}" if self.width != 1 else "")
        return scaled if self.recurrent is None else f"{scaled} + lstm {self.recurrent}"

    def incompatibility(self, task: TaskInfo) -> str | None:
        if task.kind == "sequence":
            return f"{self.network} reads images; the task's steps are a sequence"
        if task.kind == "video" and self.recurrent is None:
            return f"{self.network} reads one image; a video needs `recurrent`, the units of an LSTM over its frames"
        if task.kind == "image" and self.recurrent is not None:
            return f"{self.label()} reads videos; the task has single images"
        return None


class PerFrameSettings(ModelSettings):
    """What every method on a per-frame network shares: a VGG in units runs on each frame of a video, and the frames'
    logits are averaged. A `model:` that names `units` is read as these."""

    units: Literal["vgg_3", "vgg_4", "vgg_8"] = setting("vgg_4", "per-frame network: so many units")
    layers: PositiveInt = setting(1, "convolutions of a unit; 2: as the paper has VGG16 in eight units")
    width: PositiveInt = setting(8, "channels of its narrowest units")
    shortcuts: Literal["none", "sum", "concat"] = setting(
        "concat", "how a unit takes up what an earlier one makes of a newer frame; `none`: no unit sees two frames"
    )
    span: int = setting(3, "units from the start of a shortcut to its end; the frames are one less apart", ge=2)
    patches: PositiveInt = setting(1, "side of a frame's patches, whose pixels become channels first (space to depth)")

    @model_validator(mode="after")
    def _shortcuts_fit(self) -> PerFrameSettings:
        if self.shortcuts != "none" and self.span >= (depth := int(self.units.removeprefix("vgg_"))):
            raise ValueError(f"no shortcut over {self.span} units fits into {self.units}: give at most {depth - 1}")
        return self

    def label(self) -> str:
        linked = "" if self.shortcuts == "none" else f", shortcuts {self.shortcuts} over {self.span}"
        layers = f" x {self.layers} layers" if self.layers > 1 else ""
        return f"{self.units}{layers} x {self.width} per frame{linked}"

    def incompatibility(self, task: TaskInfo) -> str | None:
        return None if task.kind == "video" else f"{self.label()} reads videos; the task's steps are a {task.kind}"


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
