"""Bases of the methods that remove hidden units and inputs of a trained dense recurrent network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from squeezebench import nn
from squeezebench.method.base import Stage
from squeezebench.method.start import DenseMethod, FromDense
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def kept_count(width: int, part: float) -> int:
    """How many of `width` units stay if `part` of them is kept; at least one."""
    return max(1, round(part * width))


class UnitPruning(FromDense, DenseMethod):
    """Base of the methods that keep the settings `keep` of the units and `keep_inputs` of the inputs."""

    def closed_form(self, task: TaskInfo) -> dict[str, int]:
        s = self.settings
        units = [kept_count(s.hidden, s.keep)] * s.layers
        return closed_form(kept_count(task.inputs, s.keep_inputs), units, s.cell)


class OneShotUnits(UnitPruning):
    """Base of the methods that choose once, in the trained dense network; the smaller network is then fine-tuned.

    A subclass says which inputs and which units stay. The inputs are chosen first, then the units layer by layer.
    """

    class Settings(RecurrentSettings):
        keep: float = setting(0.25, "part of the hidden units kept", search=(0.01, 0.9), gt=0, le=1)
        keep_inputs: float = setting(1.0, "part of the inputs kept", search=(0.01, 1.0), gt=0, le=1)

    def kept_inputs(self, dense: nn.RecurrentClassifier, count: int) -> Tensor:
        """Sorted indices of the `count` inputs that stay."""
        raise TypeError(f"{type(self).__name__} does not define kept_inputs(dense, count)")

    def kept_units(self, dense: nn.RecurrentClassifier, layer: int, count: int) -> Tensor:
        """Sorted indices of the `count` units of one layer that stay."""
        raise TypeError(f"{type(self).__name__} does not define kept_units(dense, layer, count)")

    def stages(self) -> list[Stage]:
        return [Stage("fine-tune", 1.0)]

    def load_dense(self, model: Module, dense: Module) -> Module:
        s = self.settings
        inputs = self.kept_inputs(dense, kept_count(dense.inputs, s.keep_inputs))
        counts = [kept_count(width, s.keep) for width in dense.hidden]
        return nn.select_units(dense, inputs, [self.kept_units(dense, k, count) for k, count in enumerate(counts)])
