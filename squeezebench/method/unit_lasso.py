"""The group lasso on the hidden units of a recurrent network as a proximal step, of a given strength or to a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from squeezebench import nn
from squeezebench.method.base import Clock
from squeezebench.method.target import SizeController, within_budget

if TYPE_CHECKING:
    from torch import Tensor

SHRUNK = 0.25  # part of its norm at the start at which a unit is as likely to go as to stay
MOST = 0.5  # of a controlled strength, x sqrt(weights of a group): from 1 on, Adam cannot keep any norm


class UnitLasso:
    """lambda * sum_k ||w_k||_2 over the hidden units, taken off the weights after each step of the optimiser.

    The norm of each group falls by learning rate x lambda, or to exactly 0. Through Adam the gradient of a norm would
    be rescaled weight by weight, and all norms collapse at once (Wen et al. trained with SGD). With a `budget` lambda
    is controlled so that the expected size falls to it (see SizeController), where a unit is expected to stay if it
    keeps most of the norm that it had; then the units of largest norm stay.

    size: the counted size for so many units of each layer, which may be fractions. The object keeps all that changes
    in `state_dict`, so that a method may hold it in an attribute (see Method).
    """

    def __init__(
        self, strength: float, size: Callable[[Sequence[float]], float], dense: float, budget: float | None = None
    ) -> None:
        self.strength, self.size, self.budget = strength, size, budget
        self.controller = SizeController(dense, budget, strength) if budget else None
        self.first: list[Tensor] | None = None  # square norms at the start of the stage, (units,) of each layer

    def step(self, model: nn.RecurrentClassifier, clock: Clock, shrinks: bool = True) -> None:
        """After a step of the optimiser, without gradients. shrinks: False if the loss has the lasso already."""
        strength = self.strength
        if self.controller is not None:
            self.controller.update(self._expected(model, clock), clock)
            weights = sum(layer.input_map.weight.numel() + layer.hidden_map.weight.numel() for layer in model.layers)
            strength = min(MOST * (weights / sum(model.hidden)) ** 0.5, self.controller.weight)
        if shrinks:
            nn.shrink_unit_groups(model, clock.learning_rate * strength)

    def _expected(self, model: nn.RecurrentClassifier, clock: Clock) -> float:
        """The size that the norms, as they are, may be expected to leave."""
        norms = nn.unit_square_norms(model)
        if clock.step == 0 or self.first is None:
            self.first = [norm.detach().clone() for norm in norms]
        left = [norm / first for norm, first in zip(norms, self.first, strict=True)]
        return self.size([float((part / (part + SHRUNK**2)).sum()) for part in left])

    def units(self, model: nn.RecurrentClassifier) -> list[Tensor]:
        """Sorted indices of the units of each layer that stay: the largest norms that fit the budget."""

        def size(stays: list[Tensor]) -> float:
            return self.size([int(keep.sum()) for keep in stays])

        stays = within_budget(nn.unit_square_norms(model), size, self.budget)
        return [keep.nonzero().flatten() for keep in stays]

    def columns(self) -> dict[str, float]:
        """The trajectory of the controller, for `Method.observe`."""
        return self.controller.columns() if self.controller is not None else {}

    def state_dict(self) -> dict[str, Any]:
        controller = None if self.controller is None else self.controller.state_dict()
        return {"first": self.first, "controller": controller}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.first = state["first"]
        if self.controller is not None:
            self.controller.load_state_dict(state["controller"])
