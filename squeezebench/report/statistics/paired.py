"""A paired difference with its t interval and test, and a ratio with its bootstrap interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL, RESAMPLES


@dataclass(frozen=True)
class Interval:
    """A mean (or ratio) with its 95 % interval; None where there are too few seeds for one."""

    value: float
    low: float | None = None
    high: float | None = None


def difference_test(difference: pd.Series, least: float = 0.0) -> tuple[Interval | None, float]:
    """Mean with its 95 % t interval, and the t test's p (NaN below ENOUGH_SEEDS). least: of the standard deviation."""
    values = difference.dropna().to_numpy()
    if not len(values):
        return None, np.nan
    mean = float(values.mean())
    if len(values) < ENOUGH_SEEDS:
        return Interval(mean), np.nan
    if not values.any():
        return Interval(0.0, 0.0, 0.0), 1.0
    deviation = max(values.std(ddof=1), least, np.finfo(float).tiny)  # sizes may differ by the same factor throughout
    error = deviation / np.sqrt(len(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1) * error)
    return Interval(mean, mean - half, mean + half), float(2 * stats.t.sf(abs(mean) / error, len(values) - 1))


def mean_ratio(logs: np.ndarray) -> Interval:
    """Geometric mean of ratios, given by their logarithms, with a percentile bootstrap interval."""
    if len(logs) < ENOUGH_SEEDS:
        return Interval(float(np.exp(logs.mean())))
    rows = np.random.default_rng(0).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = np.percentile(logs[rows].mean(1), [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return Interval(*(float(np.exp(x)) for x in (logs.mean(), low, high)))
