"""What the methods share that train bottleneck masks on the units and inputs of a recurrent network."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveFloat

from squeezebench import nn
from squeezebench.method.base import without_gradients
from squeezebench.method.convergence import mask_groups, unconverged
from squeezebench.method.start import FromDense, StartSettings
from squeezebench.method.target import (
    SizeController,
    TargetSettings,
    budget_of,
    decides,
    recurrent_size,
    unreachable,
    within_budget,
)
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.nn import Module


class MaskedUnitsSettings(TargetSettings, StartSettings):
    """Settings of masks on units; joined with those of a recurrent model."""

    threshold: float = setting(
        1.0, "a unit stays iff mu^2 / sigma^2 exceeds this; with a ratio, iff it is among the best that fit", gt=0
    )
    mask_learning_rate: PositiveFloat | None = setting(
        None, "of mu and log sigma^2; none: such that log sigma^2 converges in the steps there are"
    )
    fine_tune_rate: float = setting(1.0, "factor on the learning rate of the smaller network", search=(0.3, 10.0), gt=0)


@dataclass
class UnitGroup:
    """Units that masks remove side by side: `alpha` (n,) decides, the units of `layers` go with them ([]: inputs)."""

    layers: list[int]
    masks: list[Any]
    alpha: Tensor


class MaskedUnits(FromDense):
    """Base of the methods that train masks on units and inputs, cut out what carries no information and fine-tune.

    Without `ratio` a penalty of fixed weight and `threshold` decide what stays. With it the weight is controlled so
    that the expected size falls to a target, which itself falls to the budget (see SizeController). Inputs and units
    are ranked together by mu^2 / sigma^2, and every few steps those that do not fit the target go for good. If they
    went at the end alone, all masks would cross the threshold side by side, as Adam moves them all at one rate, and
    the network would be lost before anything is told apart.
    """

    compressing: ClassVar[str] = "compress"  # the stage whose masks are trained
    weight_setting: ClassVar[str]  # the setting that weighs the penalty, the first value of a controlled weight

    # --- sizes
    def size(self, of: int, inputs: float, units: Sequence[float]) -> float:
        """LSTM parameters of a compact network with so many of `of` inputs, and so many units of each layer.

        `inputs` and `units` are fractions, or tensors of them, if they are expected.
        """
        return recurrent_size(inputs, units, self.settings)

    def least(self, task: TaskInfo) -> tuple[int, list[int]]:
        """The fewest inputs and units of each layer that the masks can leave."""
        raise TypeError(f"{type(self).__name__} does not define least(task)")

    def skip(self, task: TaskInfo) -> str | None:
        s = self.settings
        if (reason := super().skip(task)) or s.ratio is None:
            return reason
        least = int(self.size(task.inputs, *self.least(task)))
        holds = "the inputs and units of the smallest network that it can leave"
        return unreachable(task, s.ratio, self._dense(task.inputs), least, holds)

    def slack(self) -> float:
        """Times the budget at which the masks end, if a later stage removes more."""
        return 1.0

    def budget(self, dense: int) -> int:
        """Where the masks end: dense / ratio, times the slack."""
        return min(dense, round(self.slack() * budget_of(dense, self.settings.ratio)))

    def _dense(self, inputs: int) -> int:
        return recurrent_size(inputs, self.settings.hidden, self.settings)

    # --- training
    def start_control(self, task: TaskInfo) -> None:
        """To be called by `build`: the controller of the penalty's weight, if there is a ratio."""
        if self.settings.ratio:
            weight, dense = getattr(self.settings, self.weight_setting) or 1.0, self._dense(task.inputs)
            self.controller = SizeController(dense, self.budget(dense), weight)

    @property
    def weight(self) -> float:
        """Of the penalty, now."""
        return self.controller.weight if self.settings.ratio else getattr(self.settings, self.weight_setting)

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        weights, _ = nn.split_mask_parameters(model)
        return [{"params": weights}, *mask_groups(model, self.clock, self.settings.mask_learning_rate)]

    @without_gradients
    def after_step(self, model: Module) -> None:
        if self.settings.ratio and self.clock.stage == self.compressing:
            groups = unit_groups(model)
            expected = [group.masks[0].expected(group.alpha).sum() for group in groups]
            self.controller.update(float(self.size(model.inputs, *_counts(model, groups, expected))), self.clock)
            if decides(self.clock):
                self._close(model, groups, self.controller.target)

    def observe(self, model: Module) -> dict[str, float]:
        kept = {"kept_inputs": len(nn.surviving_inputs(model)), "kept_hidden": sum(map(len, nn.surviving_units(model)))}
        return kept | (self.controller.columns() if self.settings.ratio else {})

    # --- what stays
    @without_gradients
    def choose(self, model: Module) -> None:
        """At the end of the stage that compresses: decide what stays, and note what readers should know of it."""
        groups = unit_groups(model)
        if self.settings.ratio:
            if groups and (note := self.controller.overshot()):
                self.notes.append(note)
            self._close(model, groups, self.budget(self._dense(model.inputs)))
        if groups and (note := unconverged(self.settings.mask_learning_rate, self.clock)):
            self.notes.append(note)
        kept = len(nn.surviving_inputs(model)), list(map(len, nn.surviving_units(model)))
        if groups and not self.settings.ratio and kept == (model.inputs, model.hidden):
            self.notes.append(f"removed nothing: give a larger {self.weight_setting}, or a ratio")

    def _close(self, model: Module, groups: list[UnitGroup], budget: float) -> None:
        """Remove, for good, what ranks lowest and does not fit the budget."""
        import torch

        stayed = [
            torch.ones(len(g.alpha), dtype=torch.bool) if (chosen := g.masks[0].chosen) is None else chosen
            for g in groups
        ]
        scores = [g.alpha.cpu().masked_fill(~before, -inf) for g, before in zip(groups, stayed, strict=True)]

        def size(stays: list[Tensor]) -> float:
            return self.size(model.inputs, *_counts(model, groups, [int(keep.sum()) for keep in stays]))

        for group, keep, before in zip(groups, within_budget(scores, size, int(budget)), stayed, strict=True):
            for mask in group.masks:
                mask.chosen = keep & before


def unit_groups(model: nn.RecurrentClassifier) -> list[UnitGroup]:
    """What masks can remove from `model`: its inputs, and the units of each layer, or of layers that share masks.

    A unit's alpha is the smallest of the masks that remove it.
    """
    import torch

    groups = []
    if model.input_mask is not None:
        groups.append(UnitGroup([], [model.input_mask], model.input_mask.alpha().detach()))
    for number, layer in enumerate(model.layers):
        masks = list(layer.gate_masks.values())
        deciding = [layer.gate_masks[letter] for letter in layer.cell.removing if letter in layer.gate_masks]
        same = [group for group in groups if deciding and group.layers and group.masks[0] is masks[0]]
        if same:
            same[0].layers.append(number)
        elif deciding:
            alpha = torch.stack([mask.alpha().detach() for mask in deciding]).amin(0)
            groups.append(UnitGroup([number], masks, alpha))
    return groups


def _counts(model: nn.RecurrentClassifier, groups: list[UnitGroup], stay: Sequence[Any]) -> tuple[Any, list[Any]]:
    """(inputs, units of each layer), `stay` of each group and all of what no mask removes."""
    inputs, units = model.inputs, list(model.hidden)
    for group, count in zip(groups, stay, strict=True):
        if not group.layers:
            inputs = count
        for number in group.layers:
            units[number] = count
    return inputs, units
