"""Bases of the methods that remove hidden units and inputs of a trained dense recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squeezebench import nn
from squeezebench.method.base import Stage
from squeezebench.method.start import DenseMethod, FromDense
from squeezebench.method.target import TargetSettings, budget_of, largest, recurrent_size, unreachable
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def kept_count(width: int, part: float) -> int:
    """How many of `width` units stay if `part` of them is kept; at least one."""
    return max(1, round(part * width))


class UnitSettings(TargetSettings, RecurrentSettings):
    """Which parts of the units and inputs stay, or the ratio that decides both, or the units beside given inputs."""

    keep: float = setting(0.25, "part of the hidden units kept, if no ratio is given", search=(0.01, 0.9), gt=0, le=1)
    keep_inputs: float = setting(
        1.0, "part of the inputs kept; with a ratio, 1 leaves it to the ratio", search=(0.01, 1.0), gt=0, le=1
    )
    fine_tune_rate: float = setting(1.0, "factor on the learning rate of the smaller network", search=(0.3, 10.0), gt=0)


class UnitPruning(FromDense, DenseMethod):
    """Base of the methods that keep a given number of the inputs and of the units of each layer.

    The numbers follow from the settings `keep` and `keep_inputs`, or from `ratio`. With a ratio all inputs stay if the
    layer reads no more of them than it has units, and so many units as the budget allows (one more, if the budget
    would not be met within 10 % and up to a quarter of the inputs makes room for it). A wider input would leave few
    units or none: then inputs and units are kept in the same part (and a few inputs more, up to the budget).
    With `ratio` and `keep_inputs` below 1, that part of the inputs stays, and as many units as the budget allows: what
    another method removes may have another shape, and a control should be able to have it too.
    """

    class Settings(UnitSettings):
        pass

    @classmethod
    def inactive_settings(cls, settings: UnitSettings) -> tuple[str, ...]:
        return ("keep",) if settings.ratio else ()

    def skip(self, task: TaskInfo) -> str | None:
        s = self.settings
        read = kept_count(task.inputs, s.keep_inputs) if s.keep_inputs < 1 else 1
        dense, least = recurrent_size(task.inputs, s.hidden, s), recurrent_size(read, 1, s)
        holds = f"{read:,} inputs and one unit a layer" if read > 1 else "one input and one unit a layer"
        too_far = s.ratio and unreachable(task, s.ratio, dense, least, holds)
        return super().skip(task) or too_far or None

    def kept(self, inputs: int) -> tuple[int, int]:
        """How many of `inputs` inputs stay, and how many units of each layer."""
        s = self.settings
        if s.ratio is None:
            return kept_count(inputs, s.keep_inputs), kept_count(s.hidden, s.keep)
        budget = budget_of(recurrent_size(inputs, s.hidden, s), s.ratio)
        given = kept_count(inputs, s.keep_inputs)
        units = largest(lambda units: recurrent_size(given, units, s), budget, s.hidden)
        if s.keep_inputs < 1:
            return given, max(1, units)

        def read(units: int) -> int:
            return largest(lambda read: recurrent_size(read, units, s), budget, inputs)

        if units and inputs <= s.hidden:
            room = recurrent_size(inputs, units, s) < 0.9 * budget and 4 * read(units + 1) >= 3 * inputs
            return (read(units + 1), units + 1) if room else (inputs, units)
        same = (units for units in range(s.hidden, 0, -1) if read(units) * s.hidden >= units * inputs)
        units = next(same, 1)
        return max(1, read(units)), units

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        inputs, units = self.kept(task.inputs)
        return closed_form(inputs, [units] * self.settings.layers, self.settings.cell)


class OneShotUnits(UnitPruning):
    """Base of the methods that choose once, in the trained dense network; the smaller network is then fine-tuned.

    A subclass says which inputs and which units stay. The inputs are chosen first, then the units layer by layer.
    """

    def kept_inputs(self, dense: nn.RecurrentClassifier, count: int) -> Tensor:
        """Sorted indices of the `count` inputs that stay."""
        raise TypeError(f"{type(self).__name__} does not define kept_inputs(dense, count)")

    def kept_units(self, dense: nn.RecurrentClassifier, layer: int, count: int) -> Tensor:
        """Sorted indices of the `count` units of one layer that stay."""
        raise TypeError(f"{type(self).__name__} does not define kept_units(dense, layer, count)")

    def stages(self) -> list[Stage]:
        return [Stage("fine-tune", 1.0, learning_rate=self.settings.fine_tune_rate)]

    def load_dense(self, model: Module, dense: Module) -> Module:
        read, units = self.kept(dense.inputs)
        inputs = self.kept_inputs(dense, read)
        return nn.select_units(dense, inputs, [self.kept_units(dense, k, units) for k in range(len(dense.hidden))])
