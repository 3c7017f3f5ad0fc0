"""The group lasso on the hidden units of a recurrent network as a proximal step, of a given strength or to a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from squeezebench import nn
from squeezebench.method.base import Clock
from squeezebench.method.target import falling_target, within_budget

if TYPE_CHECKING:
    from torch import Tensor

TRIMMED = 0.5  # strength to a size, x sqrt(weights of a group): from 1 on, Adam cannot keep any norm


class UnitLasso:
    """lambda * sum_k ||w_k||_2 over the hidden units, taken off the weights after each step of the optimiser.

    The norm of each group falls by learning rate x lambda, or to exactly 0. Through Adam the gradient of a norm would
    be rescaled weight by weight, and all norms collapse at once (Wen et al. trained with SGD).

    With a `budget` the lasso is trimmed (Yun et al., "Trimming the l1 Regularizer", ICML 2019): at each step it spares
    the units of largest norm that fit a target, which falls from the dense size to the budget. A lasso on all units
    that is strong enough for a size within a few hundred steps shrinks them all alike: no norm reaches 0 by itself,
    and those that stay have lost most of their weights.

    size: the counted size for so many units of each layer.
    """

    def __init__(
        self, strength: float, size: Callable[[Sequence[int]], int], dense: int, budget: int | None = None
    ) -> None:
        self.strength, self.size, self.dense, self.budget = strength, size, dense, budget

    def step(self, model: nn.RecurrentClassifier, clock: Clock) -> None:
        """After a step of the optimiser, without gradients."""
        if self.budget is None:
            nn.shrink_unit_groups(model, clock.learning_rate * self.strength)
            return
        weights = sum(layer.input_map.weight.numel() + layer.hidden_map.weight.numel() for layer in model.layers)
        strength = TRIMMED * (weights / sum(model.hidden)) ** 0.5
        spared = self._largest(model, falling_target(self.dense, self.budget, clock))
        nn.shrink_unit_groups(model, clock.learning_rate * strength, spared)

    def _largest(self, model: nn.RecurrentClassifier, budget: float) -> list[Tensor]:
        def size(stays: list[Tensor]) -> int:
            return self.size([int(keep.sum()) for keep in stays])

        return within_budget(nn.unit_square_norms(model), size, int(budget))

    def units(self, model: nn.RecurrentClassifier) -> list[Tensor]:
        """Sorted indices of the units of each layer that stay: the largest norms that fit the budget."""
        return [keep.nonzero().flatten() for keep in self._largest(model, self.budget)]

    def columns(self, model: nn.RecurrentClassifier, clock: Clock) -> dict[str, float]:
        """The size of the units whose weights are not all 0, and its target, for `Method.observe`."""
        if self.budget is None:
            return {}
        left = [int((norms > 0).sum()) for norms in nn.unit_square_norms(model)]
        return {"expected_size": self.size(left), "target_size": falling_target(self.dense, self.budget, clock)}
