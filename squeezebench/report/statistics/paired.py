"""A paired difference with its t interval and test, and a ratio with that of its logarithm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report.statistics.spread import ENOUGH_SEEDS, VERDICT_SEEDS, over_seeds
from squeezebench.schema.differences import Interval


def difference_test(difference: pd.Series, least: float = 0.0) -> tuple[Interval | None, float]:
    """Mean with its 95 % t interval, and the t test's p (NaN below VERDICT_SEEDS). least: of the standard deviation."""
    values = difference.dropna().to_numpy()
    if not len(values):
        return None, np.nan
    if len(values) < ENOUGH_SEEDS:
        return Interval(value=float(values.mean())), np.nan
    if not values.any():
        return Interval(value=0.0, low=0.0, high=0.0), 1.0
    # Sizes may differ by the same factor throughout.
    spread = over_seeds(values, max(least, np.sqrt(np.finfo(float).tiny)))
    interval = Interval(value=spread.mean, low=spread.mean - spread.half, high=spread.mean + spread.half)
    return interval, spread.p if len(values) >= VERDICT_SEEDS else np.nan


def mean_ratio(logs: np.ndarray) -> Interval:
    """Geometric mean of ratios, given by their logarithms, with the 95 % t interval of these."""
    spread = over_seeds(logs)
    if len(logs) < ENOUGH_SEEDS:
        return Interval(value=float(np.exp(spread.mean)))
    value, low, high = (float(np.exp(spread.mean + side * spread.half)) for side in (0, -1, 1))
    return Interval(value=value, low=low, high=high)
