"""What a comparison could have found: the smallest difference that it detects, and the seeds that one point needs."""

from __future__ import annotations

import numpy as np
from scipy import special

POWER = 0.8
POINT = 0.01
MOST_SEEDS = 1000
# Why a comparison is undecided.
LITTLE_POWER, NEAR = "too little power", "near the bound"


def detectable(error: np.ndarray, degrees: np.ndarray, level: np.ndarray | float) -> np.ndarray:
    """The true difference that a two-sided t test at `level` finds in 80 % of all experiments.

    error: standard error of the difference. The statistic of the test has a noncentral t distribution, which is
    approximated as by Johnson and Welch (Biometrika 1940): the result is up to 2 % too large (1 % from four degrees of
    freedom on), never too small.
    """
    error, degrees, level = (np.asarray(given, float) for given in (error, degrees, level))  # nothing yet: of any type
    t = special.stdtrit(degrees, 1 - level / 2)
    return error * (t * (1 - 1 / (4 * degrees)) + special.ndtri(POWER) * np.sqrt(1 + t**2 / (2 * degrees)))


def seeds_needed(per_seed: float, shared: float, sequences: float, level: float, difference: float = POINT) -> float:
    """The number of seeds at which a difference of one point would be found in 80 % of all experiments; infinite if
    the test part is too small for any number (up to MOST_SEEDS). The arguments are those of a `Spread`."""
    seeds = np.arange(2, MOST_SEEDS + 1)
    variance = per_seed / seeds
    total = variance + shared
    parts = variance**2 / (seeds - 1) + (shared**2 / (sequences - 1) if shared else 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.where(parts > 0, total**2 / parts, np.inf)
    able = detectable(np.sqrt(total), np.minimum(degrees, 1e6), level) <= difference
    return float(seeds[able.argmax()]) if able.any() else np.inf


def why_undecided(smallest: float, margin: float) -> str:
    """The reason of an interval that lies on both sides of a bound: the experiment could not have told a difference of
    `margin` from 0; or it could have, and the difference is too near the bound. smallest: what it could detect."""
    return NEAR if smallest <= margin else LITTLE_POWER
