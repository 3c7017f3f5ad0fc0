"""How fast bottleneck masks are trained, so that they converge in any number of steps.

log sigma^2 starts near -9, where a mask is almost free of noise, and has to rise past log mu^2 (near 0) before its unit
goes. Adam moves a parameter by at most the sum of its learning rates, whatever the gradient. If that sum is shorter
than the way, sizes follow the number of steps instead of the information. So the learning rate of log sigma^2 is
derived from the steps of the stage: rate x steps = 24, constant, within [0.002, 0.25]. mu has its own group at the
stage's learning rate and schedule: it starts at 1, where it is about to stay.
"""

from __future__ import annotations

from typing import Any

from squeezebench import nn
from squeezebench.method.base import Clock

WAY = 18.0  # of log sigma^2: from -9 until sigma^2 is as far above mu^2 as it was below
COVERED = 24.0  # rate x steps of a derived rate: the way, and time to settle
SLOWEST, FASTEST = 2e-3, 0.25  # of derived rates


def mask_learning_rate(given: float | None, steps: int) -> float:
    """Of log sigma^2 in a stage of `steps` steps: the given one, or one that covers the way."""
    return given or min(FASTEST, max(SLOWEST, COVERED / max(1, steps)))


def unconverged(given: float | None, clock: Clock) -> str | None:
    """A note for the record if masks cannot have converged in the stage of the clock, else None.

    A derived rate is constant, a given one follows the stage's schedule. SGD moves masks as far as the gradient asks.
    """
    steps, rate = clock.steps, mask_learning_rate(given, clock.steps)
    way = rate * steps * (clock.mean_factor if given else 1.0)
    if way >= WAY or clock.optimiser != "adam":
        return None
    enough = f"mask_learning_rate {rate * WAY / way:.2g}" if given else f"{int(-(-WAY // rate))} steps"
    return (
        f"the masks could not have converged: {steps} steps at mask_learning_rate {rate:.2g} move log sigma^2 by "
        f"at most {way:.3g} of {WAY:g}; give {enough} or more"
    )


def mask_groups(
    model: Any, clock: Clock, given: float | None, weight_decay: float = 0.0, kind: str = "BottleneckMask"
) -> list[dict[str, Any]]:
    """Optimiser groups of the masks of `model`, none if it has none; the clock stands at the start of their stage.

    given: the learning rate of mu and log sigma^2 at the stage's schedule; None: it is derived as above.
    weight_decay: Adam's, on mu and log sigma^2. kind: the class in squeezebench.nn of the masks.
    """
    masks = [module for module in model.modules() if isinstance(module, getattr(nn, kind))]
    if not masks:
        return []
    mu, log_var = [mask.mu for mask in masks], [mask.log_var for mask in masks]
    if given:
        return [{"params": mu + log_var, "lr": given, "weight_decay": weight_decay}]
    rate = mask_learning_rate(given, clock.steps)
    return [
        {"params": mu, "weight_decay": weight_decay},
        {"params": log_var, "lr": rate, "schedule": "constant", "weight_decay": weight_decay},
    ]
