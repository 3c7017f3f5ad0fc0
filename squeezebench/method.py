"""What a method is: class attributes, its settings, and a few short hooks into the engine's training loop.

A method is one file. The engine trains, validates, measures and records; the method only says what is trained, in
which stages, with which penalty, and how the trained module becomes the compact one that is counted and scored.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, NonNegativeFloat, PositiveFloat, PositiveInt, Tag

from .dataset import Kind
from .errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


def knob(default: Any, description: str, *, search: tuple[float, float] | list[Any] | None = None, **limits: Any):
    """A field of a method's Settings.

    search: the range the tuner may draw from, (low, high) sampled on a log axis where low > 0, or a list of choices.
    limits: pydantic's (gt, ge, lt, le ...).
    """
    extra = None if search is None else {"search": list(search), "axis": _axis(search)}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def _axis(search: tuple[float, float] | list[Any]) -> str:
    if isinstance(search, list):
        return "choice"
    return "log" if search[0] > 0 else "linear"


class Settings(BaseModel):
    """Base of every method's settings: unknown names and wrong types are refused; a setting cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class ModelSettings(Settings):
    """What describes a dense model. An experiment's `model:` sets these for all methods that have them."""

    def dense(self, task: TaskInfo) -> nn.Module:
        """The uncompressed model, (B, T, D) -> logits, freshly initialised. InputError where the task has no such."""
        raise TypeError(f"{type(self).__name__} does not define dense(task)")

    def label(self) -> str:
        """Its name in records."""
        raise TypeError(f"{type(self).__name__} does not define label()")

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


class NetworkSettings(ModelSettings):
    """What every method on a feed-forward network shares. A `model:` that names a `network` is read as these."""

    network: Literal[
        "lenet_300_100", "lenet_5", "vgg_8", "vgg16_d4", "vgg16_d5", "vgg16_d6", "vgg16_g", "vgg16_g5",
        "resnet_20", "resnet_56", "resnet_110", "mobilenet_v2", "resnet_50",
    ] = knob("lenet_300_100", "feed-forward network")  # fmt: skip
    width: PositiveFloat = knob(1.0, "factor on the widths of all its layers")

    def dense(self, task: TaskInfo) -> nn.Module:
        from .nn.feedforward import FrameNetwork, named_network

        if task.kind != "image":
            raise InputError(f"task {task.name}: {self.network} reads images; the task's steps are a {task.kind}")
        return FrameNetwork(named_network(self.network, task.frame, task.classes, self.width), task.frame)

    def label(self) -> str:
        return self.network + (f" x {self.width:g}" if self.width != 1 else "")


def _kind_of_model(given: Any) -> str:
    named = "network" in given if isinstance(given, dict) else isinstance(given, NetworkSettings)
    return "network" if named else "recurrent"


AnyModel = Annotated[
    Annotated[RecurrentSettings, Tag("recurrent")] | Annotated[NetworkSettings, Tag("network")],
    Discriminator(_kind_of_model),
]


def settings_of_model(given: dict[str, Any]) -> type[ModelSettings]:
    """What a `model:` is read as."""
    return NetworkSettings if _kind_of_model(given) == "network" else RecurrentSettings


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    share: part of the run's epochs (after a dense start, where there is one); shares are normalised to sum to 1.
    penalised: whether the method's penalty is added. learning_rate: factor on the experiment's learning rate.
    schedule: of the learning rate; None: the experiment's.
    """

    name: str
    share: float
    penalised: bool = True
    learning_rate: float = 1.0
    schedule: Literal["cosine", "constant"] | None = None


@dataclass
class Clock:
    """Where training stands. The engine keeps it; penalties and hooks read it."""

    stage: str = ""
    epoch: int = 0  # within the stage
    step: int = 0  # within the stage
    steps: int = 1  # of the stage
    examples: int = 1  # training sequences

    @property
    def progress(self) -> float:
        """Part of the stage that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.steps))


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


@dataclass
class Method:
    """Base class of all methods. A subclass sets the class attributes and overrides what it needs.

    Only `build` has no default. Order of calls: skip, build, (dense start loaded), adopt, then for each stage:
    parameter_groups, [train_step | penalty, after_step]..., end_stage; at last compact.

    A training may be interrupted and go on in another process, to the same bits. There build, adopt, parameter_groups
    and end_stage are called again, each on the state that it saw, and then what has changed since is put back: the
    module, and all attributes of the method that are plain values, tensors, arrays, generators, or objects with
    `state_dict` and `load_state_dict` (which are restored in place). So keep what changes in training there, not in
    globals or closures; `squeezebench check` interrupts every stage and compares.
    """

    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""  # citation of the source
    control: ClassVar[bool] = False  # a control: what the other methods have to beat
    kinds: ClassVar[tuple[Kind, ...]] = ("sequence", "video")  # a recurrence reads frames as they are, flattened
    protocols: ClassVar[dict[str, dict[str, Any]]] = {}  # protocol -> knobs that it sets otherwise
    compact_tolerance: ClassVar[float] = 1e-5  # of logits: compact module against the trained one

    class Settings(RecurrentSettings):
        pass

    settings: Any
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)  # shown with the record

    # --- what a method says about itself
    def skip(self, task: TaskInfo) -> str | None:
        """A reason in words where the method cannot run on `task`, else None."""
        return None if task.kind in self.kinds else f"is for {' and '.join(self.kinds)} tasks, not {task.kind}"

    def start_share(self) -> float:
        """Part of the run's epochs spent on the shared dense start; 0: from scratch.

        Where it is above 0 the engine trains (once, for all methods) a plain dense classifier of the same
        model settings, and `adopt` receives it.
        """
        return 0.0

    def stages(self) -> list[Stage]:
        """The training stages. Default: one."""
        return [Stage("train", 1.0)]

    @classmethod
    def idle_knobs(cls, settings: Any) -> tuple[str, ...]:
        """Knobs that change nothing under these settings; the tuner does not spend trials on them."""
        return ()

    @classmethod
    def aim(cls, ratio: float | None) -> dict[str, Any]:
        """Knobs that set the ratio of LSTM parameters directly, for the first trial of a tuner that asks for `ratio`:
        a control whose best setting is known in advance must not look weak because the tuner missed it."""
        return {}

    # --- what is trained
    def build(self, task: TaskInfo) -> nn.Module:
        """A fresh module, (B, T, D) float and lengths (B,) or None -> logits (B, classes)."""
        raise TypeError(f"method {type(self).__name__} does not define build(task)")

    def adopt(self, model: nn.Module, dense: nn.Module) -> nn.Module:
        """The module to train, given the trained dense start. Default: same weights in `model`, by name."""
        _, unexpected = model.load_state_dict(dense.state_dict(), strict=False)
        if unexpected:
            raise ValueError(f"the dense start has weights that the module does not: {unexpected[:3]}")
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Optimiser groups; `lr` and `weight_decay` in a group replace the experiment's. `decoupled_weight_decay: True`
        takes the decay off the weights themselves (AdamW), not through the gradient's moments."""
        return [{"params": list(model.parameters())}]

    def penalty(self, model: nn.Module) -> Tensor | float:
        """Added to the mean cross-entropy in penalised stages."""
        return 0.0

    train_step = None  # a different learning rule: (model, x, length, y, optimiser) -> loss as float

    def after_step(self, model: nn.Module) -> None:
        """Called after each optimiser step."""

    def observe(self, model: nn.Module) -> dict[str, float]:
        """Extra columns of history.csv, asked for after each epoch."""
        return {}

    def end_stage(self, model: nn.Module, stage: Stage) -> nn.Module:
        """Called after each stage; may return another module, which the next stage trains."""
        return model

    # --- what is counted
    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        """The counts a formula gives for the settings, before data decide what is kept: `squeezebench count`
        compares them with those of the constructed module. Keys as in record.Counts."""
        s = self.settings
        if isinstance(s, NetworkSettings):
            return network_closed_form(task, s)
        return closed_form(task.inputs, [s.hidden] * s.layers, s.cell)

    # --- what is scored
    def compact(self, model: nn.Module) -> nn.Module:
        """The deployable module: removed units physically gone. It needs `spec()` and `from_spec(spec)`."""
        return model

    @classmethod
    def restore(cls, spec: dict[str, Any]) -> nn.Module:
        """An empty module for the weights of a saved compact one; looked up by class name in the method's file."""
        from torch.nn import Module

        from . import nn as building_blocks
        from .nn import feedforward

        name = spec.get("class")
        for place in (sys.modules[cls.__module__], building_blocks, feedforward):
            maker = vars(place).get(name) if isinstance(name, str) else None
            if isinstance(maker, type) and issubclass(maker, Module) and hasattr(maker, "from_spec"):
                return maker.from_spec(spec)
        raise ValueError(f"no class {name!r} with from_spec in {cls.__module__}, squeezebench.nn or its feedforward")


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
    """The weights of the dense feed-forward network, which has no recurrent parameters."""
    from .nn.feedforward import named_weights

    counts = closed_form(0, [0])
    return counts | {"weights": named_weights(settings.network, task.frame, task.classes, settings.width)}


def dense_classifier(task: TaskInfo, settings: ModelSettings) -> nn.Module:
    """The uncompressed model that `settings` describe, freshly initialised."""
    return settings.dense(task)
