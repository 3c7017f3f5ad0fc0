"""Means and what is known of them, in plain Python, numpy and scipy's distributions: nothing of squeezebench."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

NAN = math.nan


def mean(values: Iterable[float]) -> float:
    values = [value for value in values if not math.isnan(value)]
    return math.fsum(values) / len(values) if values else NAN


def deviation(values: Iterable[float]) -> float:
    values = [value for value in values if not math.isnan(value)]
    middle = mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else NAN


def half(values: Iterable[float], least: float = 0.0) -> float:
    """Half of the 95 % t interval of the mean; `least` of the standard deviation."""
    values = [value for value in values if not math.isnan(value)]
    if len(values) < 3:  # of two seeds no interval is given
        return NAN
    return float(stats.t.ppf(0.975, len(values) - 1)) * max(deviation(values), least) / math.sqrt(len(values))


def answers(run: dict) -> np.ndarray | None:
    """(sequences,) whether each test sequence is classified correctly, those of the first class first."""
    if not run.get("predictions"):
        return None
    predicted = np.frombuffer(zlib.decompress(base64.b64decode(run["predictions"])), "<u2")
    rows = [sum(row) for row in run["confusion"]]
    return np.concatenate([[c] * n for c, n in enumerate(rows)]) == predicted


@dataclass
class Sure:
    """A mean over seeds, or over seeds and test sequences: two-way analysis of variance with one value a cell."""

    mean: float
    variance: float = NAN  # of the mean
    degrees: float = NAN
    per_seed: float = NAN  # variance of one seed's mean
    shared: float = 0.0  # variance that no seed lowers
    sequences: float = NAN

    @classmethod
    def over_seeds(cls, values: list[float], least: float = 0.0) -> Sure:
        if len(values) < 2:
            return cls(mean(values))
        per_seed = max(deviation(values), least) ** 2
        return cls(mean(values), per_seed / len(values), len(values) - 1, per_seed)

    @classmethod
    def over_both(cls, table: np.ndarray) -> Sure:
        s, n = table.shape
        middle = table.mean()
        of_seeds = n * ((table.mean(1) - middle) ** 2).sum() / (s - 1)  # mean squares
        of_sequences = s * ((table.mean(0) - middle) ** 2).sum() / (n - 1)
        rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + middle
        rest = (rest**2).sum() / (s - 1) / (n - 1)
        of_seeds = max(of_seeds, 1 / n)  # one sequence
        shared = max(of_sequences - min(rest, of_seeds), 0) / s / n
        total = of_seeds / s / n + shared
        parts = of_seeds**2 / (s - 1) + of_sequences**2 / (n - 1) + rest**2 / (s - 1) / (n - 1)
        return cls(middle, total, (total * s * n) ** 2 / parts, of_seeds / n, shared, n)

    @property
    def half(self) -> float:
        return float(stats.t.ppf(0.975, self.degrees)) * math.sqrt(self.variance)

    @property
    def p(self) -> float:
        return float(2 * stats.t.sf(abs(self.mean) / math.sqrt(self.variance), self.degrees))

    def detectable(self, level: float, seeds: int | None = None) -> float:
        """Found with 80 % power (Johnson and Welch 1940); with another number of seeds if one is given."""
        variance, degrees = self.variance, self.degrees
        if seeds:
            own = self.per_seed / seeds
            parts = own**2 / (seeds - 1) + (self.shared**2 / (self.sequences - 1) if self.shared else 0)
            variance, degrees = own + self.shared, (own + self.shared) ** 2 / parts
        t = float(stats.t.ppf(1 - level / 2, degrees))
        above = float(stats.norm.ppf(0.8)) * math.sqrt(1 + t * t / 2 / degrees)
        return math.sqrt(variance) * (t - t / 4 / degrees + above)
