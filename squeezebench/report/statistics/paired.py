"""A paired difference with its t interval and test, and a ratio with its bootstrap interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL, RESAMPLES
from squeezebench.schema.differences import Interval


def difference_test(difference: pd.Series, least: float = 0.0) -> tuple[Interval | None, float]:
    """Mean with its 95 % t interval, and the t test's p (NaN below ENOUGH_SEEDS). least: of the standard deviation."""
    values = difference.dropna().to_numpy()
    if not len(values):
        return None, np.nan
    mean = float(values.mean())
    if len(values) < ENOUGH_SEEDS:
        return Interval(value=mean), np.nan
    if not values.any():
        return Interval(value=0.0, low=0.0, high=0.0), 1.0
    deviation = max(values.std(ddof=1), least, np.finfo(float).tiny)  # sizes may differ by the same factor throughout
    error = deviation / np.sqrt(len(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * error)
    return Interval(value=mean, low=mean - half, high=mean + half), float(
        2 * stats.t.sf(abs(mean) / error, len(values) - 1)
    )


def mean_ratio(logs: np.ndarray) -> Interval:
    """Geometric mean of ratios, given by their logarithms, with a percentile bootstrap interval."""
    if len(logs) < ENOUGH_SEEDS:
        return Interval(value=float(np.exp(logs.mean())))
    rows = np.random.default_rng(0).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = np.percentile(logs[rows].mean(1), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    value, low, high = (float(np.exp(log)) for log in (logs.mean(), low, high))
    return Interval(value=value, low=low, high=high)
