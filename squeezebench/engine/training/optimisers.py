"""The optimiser of a stage and the course of its learning rate, from the experiment's settings and the method's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from squeezebench.engine.training.uncompiled import SGD, Adam, Uncompiled
from squeezebench.method.base import Stage
from squeezebench.schema.training import Optimiser, TrainingSettings


class SideBySide(Uncompiled):
    """Several optimisers, each with its own parameter groups, as one; `order`: (optimiser, its group) of each group."""

    def __init__(self, parts: list[torch.optim.Optimizer], order: list[tuple[int, int]]):
        self.parts, self.order = parts, order
        super().__init__(self._groups(), {})

    def _groups(self) -> list[dict[str, Any]]:
        return [self.parts[part].param_groups[group] for part, group in self.order]

    def step(self, closure: None = None) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = self._groups()  # the parts have new ones now


def optimiser_of(settings: TrainingSettings, stage: Stage, wanted: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimiser of `stage` for the parameter groups `wanted`, whose own keys come before the experiment's.

    Raises ValueError if a group asks SGD for decoupled weight decay, which torch's SGD does not have.
    """
    usual = stage.optimiser or settings.optimiser
    kinds = [group.get("optimiser", usual) for group in wanted]
    known = list(dict.fromkeys(kinds))
    if len(known) < 2:
        return _of_kind(*known or [usual], settings, stage, wanted)
    own = {kind: [group for group, is_of in zip(wanted, kinds, strict=True) if is_of == kind] for kind in known}
    order = [(known.index(kind), kinds[:place].count(kind)) for place, kind in enumerate(kinds)]
    return SideBySide([_of_kind(kind, settings, stage, own[kind]) for kind in known], order)


def _of_kind(
    kind: Optimiser, settings: TrainingSettings, stage: Stage, wanted: list[dict[str, Any]]
) -> torch.optim.Optimizer:
    adam = kind == "adam"
    common = {
        "lr": settings.learning_rate * stage.learning_rate,
        "weight_decay": settings.weight_decay,
        **({"decoupled_weight_decay": False} if adam else {"momentum": settings.momentum}),
    }
    groups = [common | {key: group[key] for key in ("params", *common) if key in group} for group in wanted]
    if adam:
        return Adam(groups, fused=True)
    if any(group.get("decoupled_weight_decay") for group in wanted):
        raise ValueError("decoupled weight decay is for optimiser: adam; SGD decays through its gradients")
    return SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov, fused=True)


def schedule_of(
    optimiser: torch.optim.Optimizer, settings: TrainingSettings, stage: Stage, wanted: list[dict[str, Any]], steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The factors on the learning rates of the parameter groups over a stage of `steps` gradient steps."""
    own = [group.get("schedule") for group in wanted]
    return torch.optim.lr_scheduler.LambdaLR(optimiser, [_factor(settings, stage, steps, kind) for kind in own])


def mean_factor(settings: TrainingSettings, stage: Stage, steps: int) -> float:
    """The mean of the factors on a learning rate that has the stage's own schedule."""
    factor = _factor(settings, stage, steps)
    return float(np.mean([factor(step) for step in range(steps)]))


def _factor(settings: TrainingSettings, stage: Stage, steps: int, own: str | None = None) -> Callable[[int], float]:
    """Of the learning rate of a group with the schedule `own`; None: the stage's."""
    shapes = factors(steps, settings.cosine_end if stage.cosine_end is None else stage.cosine_end)
    return shapes[own or stage.schedule or settings.schedule]


def factors(steps: int, cosine_end: float) -> dict[str, Callable[[int], float]]:
    """Schedule -> its factor at a step of `steps`.

    cosine: from 1 at the first step to cosine_end at the last, along (1 + cos(pi t)) / 2 at the part t of the stage.
    thirds: 1, 0.1 and 0.01, a third of the stage each (the schedule with which ISS was published).
    """
    return {
        "cosine": lambda step: cosine_end + (1 - cosine_end) * 0.5 * (1 + np.cos(np.pi * min(1.0, step / steps))),
        "constant": lambda step: 1.0,
        "thirds": lambda step: 0.1 ** min(2, 3 * step // steps),
    }
