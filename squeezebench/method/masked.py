"""What the methods on a feed-forward network under bottleneck masks share: start, masks, optimiser groups."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from squeezebench import nn
from squeezebench.method.base import Clock, without_gradients
from squeezebench.method.convergence import mask_groups, unconverged
from squeezebench.method.dense import dense_classifier
from squeezebench.method.network_size import NetworkTargetSettings, dense_size, left, too_small
from squeezebench.method.start import DenseMethod, FromDense, StartSettings
from squeezebench.method.target import SizeController, budget_of, decides, within_budget
from squeezebench.schema.models import NetworkSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, Parameter


class DecaySettings(NetworkSettings):
    """The weight decay of methods on feed-forward networks."""

    weight_decay: float | None = setting(
        None, "of convolutions and linear layers only, off the weights (AdamW); none: the experiment's", ge=0
    )


class MaskedSettings(NetworkTargetSettings, StartSettings, DecaySettings):
    """Settings of the masks and of how the network below them is trained."""

    threshold: float = setting(
        1.0, "a unit stays iff mu^2 / sigma^2 exceeds this; with a ratio, iff it is among the best that fit", gt=0
    )
    mask_learning_rate: PositiveFloat | None = setting(
        None, "of mu and log sigma^2; none: such that log sigma^2 converges in the steps there are"
    )
    start_share: float = setting(0.2, "part of the epochs spent on the dense pretraining", gt=0, lt=1)
    fine_tune_rate: float = setting(1.0, "factor on the learning rate while fine-tuning", gt=0)


class TargetedNetwork(FromDense, DenseMethod):
    """Base of the methods on feed-forward networks whose penalty decides what goes, by itself or to reach a ratio.

    With a ratio the penalty's weight is controlled so that the expected size (`ratio_of`: weights or
    multiply-accumulates) falls to the budget while the network is compressed (see SizeController), and what scores
    highest stays so far as it fits.
    """

    compressing: ClassVar[str] = "compress"  # the stage in which the size falls
    weight_setting: ClassVar[str] = "strength"  # weighs the penalty; the first value of a controlled weight

    @classmethod
    def inactive_settings(cls, settings: Any) -> tuple[str, ...]:
        return (cls.weight_setting,) if settings.ratio else ()

    def skip(self, task: TaskInfo) -> str | None:
        return super().skip(task) or too_small(task, self.settings)

    def closed_form(self, task: TaskInfo) -> dict[str, int] | None:
        return super().closed_form(task) if self.settings.ratio is None else None

    def start_control(self, task: TaskInfo) -> None:
        """To be called by `build`: the controller of the penalty's weight, if there is a ratio."""
        s = self.settings
        if s.ratio:
            dense = dense_size(task, s)
            self.controller = SizeController(dense, budget_of(dense, s.ratio), getattr(s, self.weight_setting) or 1.0)

    @property
    def weight(self) -> float:
        """Of the penalty, now."""
        return self.controller.weight if self.settings.ratio else getattr(self.settings, self.weight_setting)

    def fitting(
        self,
        model: nn.MaskedNetwork,
        scores: dict[str, Tensor],
        hidden: Sequence[Tensor],
        target: float,
        stayed: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Which units of each set stay at a size, bool (width,), then of each recurrent layer: the best that fit.

        scores: by set, (width,); hidden: of each recurrent layer, (units,). stayed: which units stayed until now, in
        the same order: what went does not return; None: all.
        """
        import torch

        tracker = nn.track_sizes(model)
        groups = [*tracker.linked(scores).values(), *hidden]
        stayed = [torch.ones(len(score), dtype=torch.bool) for score in groups] if stayed is None else stayed

        def size(stays: list[Tensor]) -> float:
            kept = [keep & before for keep, before in zip(stays, stayed, strict=True)]
            alive = tracker.alive(dict(zip(scores, kept, strict=False)))
            return left(tracker, self.settings, alive, [float(keep.sum()) for keep in kept[len(scores) :]])

        ranked = [score.double().masked_fill(~before, -inf) for score, before in zip(groups, stayed, strict=True)]
        stays = within_budget(ranked, size, int(target))
        return [keep & before for keep, before in zip(stays, stayed, strict=True)]

    def mask_clock(self) -> Clock:
        """The clock over all steps in which the size falls: that of the stage."""
        return self.clock

    def due(self) -> bool:
        """Whether what is removed is to be decided anew after this step."""
        return self.clock.step + 1 == self.clock.steps or decides(self.clock)


class MaskedMethod(TargetedNetwork):
    """Base of the methods that train a MaskedNetwork first and its compact form afterwards."""

    mask: ClassVar[str] = "BottleneckMask"  # the class in squeezebench.nn of the masks that are trained

    class Settings(MaskedSettings):
        pass

    def build(self, task: TaskInfo) -> Module:
        """The network of the settings, one mask on each of its sets of coupled channels."""
        self.start_control(task)
        s, mask = self.settings, getattr(nn, self.mask)
        return nn.MaskedNetwork(dense_classifier(task, s), example(task.inputs), mask=mask, threshold=s.threshold)

    def load_dense(self, model: Module, dense: Module) -> Module:
        super().load_dense(model.network, dense)
        return model

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        """Weights (with AdamW's decay matrices and vectors apart), then the masks, which never decay."""
        rest, _ = nn.split_mask_parameters(model, getattr(nn, self.mask))
        return decayed_groups(rest, self.settings.weight_decay) + self.mask_groups(model)

    def mask_groups(self, model: Module) -> list[dict[str, Any]]:
        """Optimiser groups of the masks, none if the model has none."""
        return mask_groups(model, self.mask_clock(), self.settings.mask_learning_rate, kind=self.mask)

    @without_gradients
    def after_step(self, model: Module) -> None:
        if self.settings.ratio and self.clock.stage.startswith(self.compressing):
            self.controller.update(self.expected_size(model), self.mask_clock())
            if self.due():
                self.select(model)

    def select(self, model: nn.MaskedNetwork) -> None:
        """Remove, for good, what ranks lowest and does not fit the target of this step."""
        import torch

        hidden = recurrent_masks(model)
        masks = [*model.masks.values(), *hidden]
        stayed = [
            mask.chosen if mask.chosen is not None else torch.ones(mask.units, dtype=torch.bool) for mask in masks
        ]
        scores = {name: self.score(mask) for name, mask in model.masks.items()}
        of_hidden = [self.score(mask) for mask in hidden]
        stays = self.fitting(model, scores, of_hidden, self.controller.target, stayed)
        for mask, keep in zip(masks, stays, strict=True):
            mask.chosen = keep

    def expected_size(self, model: nn.MaskedNetwork) -> float:
        """How many weights, or multiply-accumulates, the masks, as they are, may be expected to leave."""
        import numpy as np

        stay = np.ones(len(model.graph.fixed) + 1)
        for units in model.sets:
            stay[list(units.labels)] = model.masks[units.name].expected().cpu().numpy()
        hidden = [float(mask.expected().sum()) for mask in recurrent_masks(model)]
        return left(nn.track_sizes(model), self.settings, stay, hidden)

    def score(self, mask: Module) -> Tensor:
        """What ranks the units of all masks, (units,)."""
        return mask.alpha().detach().cpu()

    @without_gradients
    def choose(self, model: nn.MaskedNetwork) -> None:
        """At the end of compression: with a ratio decide what stays; note what readers should know of the masks."""
        masks = [*model.masks.values(), *recurrent_masks(model)]
        if self.settings.ratio:
            self.controller.target = self.controller.budget
            self.select(model)
        elif all(bool(mask.keep().all()) for mask in masks):
            self.notes.append(f"removed nothing: give a larger {self.weight_setting}, or a ratio")
        if note := self.unconverged():
            self.notes.append(note)

    def unconverged(self) -> str | None:
        """Why the masks cannot have converged, if so."""
        return unconverged(self.settings.mask_learning_rate, self.mask_clock())

    def observe(self, model: Module) -> dict[str, float]:
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        alive = nn.track_sizes(model).alive({name: mask.keep() for name, mask in model.masks.items()})
        hidden = [float(mask.keep().sum()) for mask in recurrent_masks(model)]
        kept = {"kept_weights": round(nn.track_sizes(model).weights(alive, hidden or None))}
        return kept | (self.controller.columns() if self.settings.ratio else {})


def recurrent_masks(model: nn.MaskedNetwork) -> list[Any]:
    """The masks on the hidden units of the recurrent part, one for each layer; none if there is no such part."""
    return model.network.recurrent.masks() if isinstance(model.network, nn.FrameRecurrent) else []


def decayed_groups(parameters: list[Parameter], weight_decay: float | None) -> list[dict[str, Any]]:
    """Optimiser groups in which matrices decay (AdamW) and vectors do not; None: all as the experiment has it."""
    if weight_decay is None:
        return [{"params": parameters}]
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    decay = {"weight_decay": weight_decay, "decoupled_weight_decay": True}
    return [{"params": matrices} | decay, {"params": vectors, "weight_decay": 0.0}]


def example(inputs: int) -> Tensor:
    """What a network in the engine's form is traced with: one image or frame, (1, 1, D)."""
    from torch import zeros

    return zeros(1, 1, inputs)
