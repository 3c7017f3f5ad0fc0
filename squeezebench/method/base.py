"""What a method is: class attributes, its settings, and a few short hooks into the engine's training loop.

A method is one file. The engine trains, validates, measures and records; the method only says what is trained, in
which stages, with which penalty, and how the trained module becomes the compact one that is counted and scored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar

from squeezebench import nn
from squeezebench.schema.kind import Kind
from squeezebench.schema.models import ModelSettings, RecurrentSettings, TaskInfo
from squeezebench.schema.start import FileStart
from squeezebench.schema.training import Optimiser, Schedule

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True)
class Stage:
    """A stretch of training.

    share: part of the run's epochs (after a dense pretraining, where there is one); shares are normalised to sum to 1.
    penalised: whether the method's penalty is added. learning_rate: factor on the experiment's learning rate.
    schedule: of the learning rate; optimiser: adam or sgd; cosine_end: part of the stage's learning rate at which a
    cosine ends; None: the experiment's.
    """

    name: str
    share: float
    penalised: bool = True
    learning_rate: float = 1.0
    schedule: Schedule | None = None
    optimiser: Optimiser | None = None
    cosine_end: float | None = None


@dataclass
class Clock:
    """Where training stands. The engine keeps it; penalties and hooks read it."""

    stage: str = ""
    epoch: int = 0  # within the stage
    step: int = 0  # within the stage
    steps: int = 1  # of the stage
    examples: int = 1  # training sequences
    learning_rate: float = 0.0  # of the first parameter group, at this step
    optimiser: Optimiser = "adam"  # of the stage
    mean_factor: float = 1.0  # of the stage's schedule: the sum of a learning rate is its start x steps x this

    @property
    def progress(self) -> float:
        """Part of the stage that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.steps))

    def ramp(self, part: float) -> float:
        """A factor that rises from 0 to 1 over the first `part` of the stage; 1 if `part` is 0."""
        return risen(self.progress, part)


def risen(progress: float, part: float) -> float:
    """A factor that rises linearly from 0 to 1 while `progress` rises from 0 to `part`; 1 if `part` is 0."""
    return min(1.0, progress / part) if part else 1.0


def without_gradients(hook: Callable) -> Callable:
    """Decorates a hook that looks at weights or changes them: `torch.no_grad()`, without importing torch to plan."""

    @wraps(hook)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from torch import no_grad

        with no_grad():
            return hook(*args, **kwargs)

    return wrapped


def cross_entropy(logits: Tensor, y: Tensor, label_smoothing: float = 0.0, double_softmax: bool = False) -> Tensor:
    """The mean cross-entropy of logits (B, classes) and labels (B,), computed in float32.

    double_softmax: a softmax before the cross-entropy, which has its own, as in the VIB-LSTM authors' code.
    """
    from torch.nn import functional

    scores = logits.float().softmax(-1) if double_softmax else logits.float()
    return functional.cross_entropy(scores, y, label_smoothing=label_smoothing)


@dataclass
class Method:
    """Base class of all methods. A subclass sets the class attributes and overrides what it needs.

    Only `build` has no default. The hooks are called in this order: skip, build, load_dense (if there is a dense
    pretraining, or a file of weights), then for each stage parameter_groups, [train_step | loss, penalty;
    after_step]..., end_stage; at last compact.

    A training may be interrupted and continued in another process, to the same bits. The new process calls build,
    load_dense, parameter_groups and end_stage again, each on the state that it saw, and then restores the module and
    all attributes of the method that are plain values, tensors, arrays, generators, or objects with `state_dict` and
    `load_state_dict` (these are restored in place). Keep everything that changes in training in such attributes, not
    in globals or closures; `squeezebench check` interrupts every stage and compares.
    """

    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""  # citation of the source
    control: ClassVar[bool] = False  # a control: what the other methods have to beat
    kinds: ClassVar[tuple[Kind, ...]] = ("sequence", "video")  # a recurrence reads frames as they are, flattened
    protocols: ClassVar[dict[str, dict[str, Any]]] = {}  # protocol -> settings that it sets otherwise
    compact_tolerance: ClassVar[float] = 1e-5  # of logits: compact module against the trained one

    class Settings(RecurrentSettings):
        pass

    settings: Any
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)  # shown with the record
    # (logits, y) -> the experiment's mean cross-entropy: the engine adds its label smoothing, see `training:`
    cross_entropy: Callable[[Tensor, Tensor], Tensor] = cross_entropy

    # --- what a method says about itself
    def skip(self, task: TaskInfo) -> str | None:
        """A reason in words where the method cannot run on `task`, else None."""
        if task.kind not in self.kinds:
            return f"is for {' and '.join(self.kinds)} tasks, not {task.kind}"
        return self.settings.incompatibility(task) if isinstance(self.settings, ModelSettings) else None

    def start_share(self) -> float:
        """Part of the run's epochs spent on the shared dense pretraining; 0: from scratch.

        Where it is above 0 the engine trains (once, for all methods) a plain dense classifier of the same
        model settings, and `load_dense` receives it.
        """
        return 0.0

    def start_file(self) -> FileStart | None:
        """The file of weights that `load_dense` receives in place of a dense pretraining; None: no file."""
        start = getattr(self.settings, "start", None)
        return start if isinstance(start, FileStart) else None

    def stages(self) -> list[Stage]:
        """The training stages. Default: one."""
        return [Stage("train", 1.0)]

    @classmethod
    def inactive_settings(cls, settings: Any) -> tuple[str, ...]:
        """Settings that change nothing under these settings; the tuner does not spend trials on them."""
        return ()

    @classmethod
    def initial_trial(cls, ratio: float | None) -> dict[str, Any]:
        """Settings of the first trial of a tuner that asks for `ratio`: that ratio, of a method that can be given one.

        What is known in advance must not look weak because the tuner missed it.
        """
        return {} if ratio is None or "ratio" not in cls.Settings.model_fields else {"ratio": ratio}

    # --- what is trained
    def build(self, task: TaskInfo) -> Module:
        """A fresh module, (B, T, D) float and lengths (B,) or None -> logits (B, classes)."""
        raise TypeError(f"method {type(self).__name__} does not define build(task)")

    def load_dense(self, model: Module, dense: Module) -> Module:
        """The module to train, given the trained dense pretraining. Default: same weights in `model`, by name."""
        _, unexpected = model.load_state_dict(dense.state_dict(), strict=False)
        if unexpected:
            raise ValueError(f"the dense pretraining has weights that the module does not: {unexpected[:3]}")
        return model

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        """Optimiser groups; `lr`, `schedule` and `optimiser` (see Stage), `weight_decay` and `momentum` (SGD) in a
        group replace the stage's and the experiment's. `decoupled_weight_decay: True` (Adam) takes the decay off the
        weights themselves (AdamW), not through the gradient's moments."""
        return [{"params": list(model.parameters())}]

    def loss(self, model: Module, x: Tensor, length: Tensor | None, y: Tensor) -> Tensor:
        """What a gradient step minimises, averaged over the batch, (). Default: the cross-entropy of the logits.

        x: (B, T, D) float. length: (B,) int64, the valid steps, or None if all T are valid. y: (B,) int64, labels.

        Override it for distillation or feature matching. The engine calls it once a step in the experiment's precision
        (autocast), adds `penalty`, differentiates, clips the gradient and steps. `self.cross_entropy(logits, y)` is the
        experiment's cross-entropy, label smoothing included. Validation and test score accuracy, not this loss.
        """
        return self.cross_entropy(model(x, length), y)

    def penalty(self, model: Module) -> Tensor | float:
        """Added to the loss in penalised stages."""
        return 0.0

    # A different learning rule: `train_step(self, model, x, length, y, optimiser) -> float`, with x, length and y as
    # in `loss` and a torch.optim.Optimizer over `parameter_groups`. It does all of a step (zero_grad, backward, the
    # optimiser's step) and returns the batch's mean loss. The engine then calls neither `loss` nor `penalty`, clips
    # nothing and sets no precision; it keeps the schedule, the order of data, checkpoints and `after_step`.
    train_step: ClassVar[Callable[..., float] | None] = None

    def after_step(self, model: Module) -> None:
        """Called after each optimiser step."""

    def observe(self, model: Module) -> dict[str, float]:
        """Extra columns of history.csv, asked for after each epoch."""
        return {}

    def end_stage(self, model: Module, stage: Stage) -> Module:
        """Called after each stage; returns the module, or another one, which the next stage trains."""
        return model

    # --- what is counted
    def closed_form(self, task: TaskInfo) -> dict[str, int] | None:
        """The counts that a formula gives for the settings, before data decide what is kept. Keys as in record.Counts.

        `squeezebench count` and `squeezebench check` compare them with the counts of the constructed module. None, the
        default: there is no formula, and the constructed module alone is counted.
        """
        return None

    # --- what is scored
    def compact(self, model: Module) -> Module:
        """The deployable module: removed units physically gone. It needs `spec()` and `from_spec(spec)`."""
        return model

    @classmethod
    def restore(cls, spec: dict[str, Any]) -> Module:
        """An empty module for the weights of a saved one: of a class in the method's file, or of a registered class."""
        name = spec.get("class")
        own = vars(sys.modules[cls.__module__]).get(name) if isinstance(name, str) else None
        return own.from_spec(spec) if hasattr(own, "from_spec") else nn.module_from_spec(spec)
