"""Sizes that are given: how a method ends at a size of dense / ratio, whatever it compresses with.

A ratio becomes a budget, a number of parameters by the counting rule of the task (`budget_of`). A method whose size
follows from its settings (widths, ranks, parts that are kept) looks for the largest size within the budget and says
in its `skip` if even its smallest one is larger (`unreachable`). A method whose penalty decides what goes does two
things:

1. While it compresses, `SizeController` moves the weight of the penalty so that the expected size follows a schedule
   from dense to the budget: dual ascent, as in constrained optimisation.
2. At the end `within_budget` lets its own criterion choose what stays: one threshold over everything that may go,
   as high as the budget asks for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import exp, log
from typing import TYPE_CHECKING, Any

from pydantic import PositiveFloat

from squeezebench.method.base import Clock
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.schema.settings import Settings, setting

if TYPE_CHECKING:
    from torch import Tensor

    from squeezebench.nn.rnn.classifier import RecurrentClassifier

GAIN = 20.0  # by how much log multiplier rises in a stage whose size is e times its target
DAMPING = 3.0  # by how much log weight exceeds it meanwhile
SETTLED = 0.8  # part of the stage in which the target falls to the budget
EVERY, LEAST = 10, 100  # decisions about what is removed: after so many steps at most, so many times a stage at least
SPAN = 12.0  # log multiplier stays so near to its first value: a target out of reach does not wind it up
CHANGES = ("weight", "multiplier", "size", "target")  # attributes of a controller that change
OVERSHOT = 0.7  # part of the target; masks that end below it have been trained under more noise than it asks for
CLOSE = 0.98  # part of the budget from which `within_budget` no longer looks for something that still fits
TRIES = 64  # how many of the candidates it asks for


class TargetSettings(Settings):
    """Joined with the settings of a method that can end at a given size."""

    ratio: PositiveFloat | None = setting(
        None, "end at the dense size divided by this, or as little below it as units allow; none: not given", ge=1
    )


def budget_of(dense: int, ratio: float) -> int:
    """The largest size that is at least `ratio` times smaller than `dense`."""
    return int(dense / ratio + 1e-9)


def recurrent_size(inputs: int, units: int | Sequence[int], settings: RecurrentSettings) -> int:
    """`lstm_total` of plain layers on `inputs` inputs; `units`: of each layer, or of all of them."""
    hidden = [units] * settings.layers if isinstance(units, int) else list(units)
    return closed_form(inputs, hidden, settings.cell)["lstm_total"]


def largest(size: Callable[[int], int], budget: int, highest: int) -> int:
    """The largest number up to `highest` whose `size` is within the budget, 0 if that of 1 is larger.

    size: must not fall as the number rises.
    """
    return bisect_right(range(1, highest + 1), budget, key=size)


def unreachable(
    task: TaskInfo, ratio: float, dense: int, least: int, holds: str, noun: str = "LSTM parameters"
) -> str | None:
    """Why a method cannot reach the ratio, in one line, or None if its smallest size `least` is within the budget.

    holds: what the smallest form consists of, as the subject of "hold": "hidden-to-hidden and biases alone".
    """
    if least <= budget_of(dense, ratio):
        return None
    return (
        f"cannot reach {ratio:g}x on {task.name}: {holds} hold {least:,} of {dense:,} {noun}; "
        f"at most {int(10 * dense / least) / 10:g}x"
    )


def falling_target(dense: float, budget: float, clock: Clock) -> float:
    """The size that a stage should be down to at this step: it falls on a log scale, and then stays at the budget."""
    done = min(1.0, (clock.step + 1) / max(1, clock.steps) / SETTLED)
    return dense * (budget / dense) ** done


def decides(clock: Clock) -> bool:
    """Whether what is removed is to be decided anew after this step.

    Between two decisions the target falls and what is counted does not, which the controller takes for a violation.
    With 12 decisions in a stage (UCF11, 126 steps) the penalty's weight rose to nine times its first value, and all
    masks fell to a signal-to-noise ratio of 1 before it came down.
    """
    return (clock.step + 1) % max(1, min(EVERY, clock.steps // LEAST)) == 0


class SizeController:
    """Dual ascent on the logarithm of a penalty's weight, so that an expected size follows a falling target.

    Minimise the loss subject to size <= target: the weight of the penalty is the constraint's multiplier. Each step
    moves the multiplier by what the constraint is violated (GECO, Rezende and Viola, "Taming VAEs", 2018), and the
    weight adds the violation itself, as the augmented Lagrangian does (method of multipliers; without it the weight
    would only fall again after everything is gone, because masks take many steps to follow):

        excess = log(size / target), cut to [-1, 1]
        log multiplier += GAIN / steps * excess
        log weight = log multiplier + DAMPING * excess

    in logarithms because sizes and useful weights both span decades. The target falls from `dense` to `budget` on a log
    scale while the first part SETTLED of the stage passes, and stays there.

    The object keeps all that changes in `state_dict`, so that a method may hold it in an attribute (see Method).
    """

    def __init__(self, dense: float, budget: float, weight: float) -> None:
        """weight: the first one."""
        self.dense, self.budget, self.first = float(dense), max(1.0, float(budget)), weight
        self.weight, self.multiplier, self.size, self.target = weight, weight, self.dense, self.dense

    def update(self, size: float, clock: Clock) -> None:
        """After a step of the stage that compresses, at which `size` is expected of the masks as they are."""
        self.size, self.target = float(size), falling_target(self.dense, self.budget, clock)
        excess = min(1.0, max(-1.0, log(max(self.size, 1.0) / self.target)))
        moved = log(self.multiplier / self.first) + GAIN / max(1, clock.steps) * excess
        self.multiplier = self.first * exp(min(SPAN, max(-SPAN, moved)))
        self.weight = self.multiplier * exp(DAMPING * excess)

    def overshot(self) -> str | None:
        """A note for the record if the masks have ended far below the size that they were to have, else None."""
        if (part := self.size / self.target) >= OVERSHOT:
            return None
        return (
            f"the masks fell to {part:.2f} of the size that was asked for, so that what stays was trained under more "
            "noise than that size needs: give more steps"
        )

    def columns(self) -> dict[str, float]:
        """Its trajectory, for `Method.observe`."""
        return {"penalty_weight": self.weight, "expected_size": self.size, "target_size": self.target}

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in CHANGES}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in CHANGES:
            setattr(self, name, state[name])


def one_unit_too_large(task: TaskInfo, settings: Any) -> str | None:
    """Why a method that removes hidden units alone cannot reach its ratio; None if it can, or has none."""
    if settings.ratio is None:
        return None
    unit = "one hidden unit" if settings.layers == 1 else "one hidden unit a layer"
    dense, least = (recurrent_size(task.inputs, units, settings) for units in (settings.hidden, 1))
    return unreachable(task, settings.ratio, dense, least, f"the weights of {unit} on {task.inputs} inputs")


def units_that_fit(model: RecurrentClassifier, scores: Sequence[Tensor], settings: Any) -> list[Tensor]:
    """Sorted indices of the units of each layer that stay at the ratio of the settings: those of the highest scores.

    scores: (units,) of each layer of `model`, whose inputs all stay.
    """

    def size(stays: list[Tensor]) -> int:
        return recurrent_size(model.inputs, [int(keep.sum()) for keep in stays], settings)

    budget = budget_of(recurrent_size(model.inputs, settings.hidden, settings), settings.ratio)
    return [keep.nonzero().flatten() for keep in within_budget(scores, size, budget)]


def within_budget(scores: Sequence[Tensor], size: Callable[[list[Tensor]], int], budget: int) -> list[Tensor]:
    """Which units of each group stay so that the size is within the budget: those of the highest scores.

    scores: one tensor (n,) for each group (the inputs, the units of a layer), comparable across groups.
    size: the size of what the given choice, bool (n,) for each group, would keep; it never falls as more is kept.
    One threshold on the scores of all groups is raised until the size fits; then units below it join, best first, that
    still fit, because one unit may be a large step. A group never loses its best unit. The smallest choice
    is returned if even that is larger than the budget.
    """
    import torch

    flat = torch.cat([score.detach().cpu().double().flatten() for score in scores])
    spared = torch.cat([_best(score) for score in scores])
    order = torch.argsort(flat, stable=True)
    order = order[~spared[order]]  # what may go, the least first

    def stays(gone: Tensor) -> list[Tensor]:
        keep = torch.ones(len(flat), dtype=torch.bool)
        keep[gone] = False
        return list(keep.split([score.numel() for score in scores]))

    low, high = 0, len(order)  # how many go; with `high` of them the size fits, or nothing fits
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if size(stays(order[:middle])) <= budget else (middle + 1, high)
    gone = order[:low]
    for unit in gone.flip(0)[1 : 1 + TRIES].tolist():  # the last one that went does not fit
        if size(stays(gone)) >= CLOSE * budget:
            break
        fewer = gone[gone != unit]
        gone = fewer if size(stays(fewer)) <= budget else gone
    return stays(gone)


def _best(score: Tensor) -> Tensor:
    import torch

    best = torch.zeros(score.numel(), dtype=torch.bool)
    best[score.detach().cpu().double().flatten().topk(min(1, score.numel())).indices] = True
    return best
