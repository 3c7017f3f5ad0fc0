"""How sure a mean over seeds and test sequences is: its variance by source, its t interval and its t test.

An accuracy is a mean over a table of S seeds and N test sequences (1: classified correctly), a difference between two
methods a mean over the table of their differences, paired by seed and sequence. Another training gives another row,
another test set other columns, so that the variance of the mean has three parts (two-way random effects):

    Var = sigma_seeds^2 / S + sigma_sequences^2 / N + sigma_both^2 / (S N)

The three mean squares of the table estimate it (Searle, Casella and McCulloch, Variance Components, 1992), and
Satterthwaite (1946) gives the degrees of freedom of their sum. This is what drawing seeds and sequences anew, with
replacement, comes to for many seeds; of five seeds a percentile of such draws covers 85 to 90 % instead of 95 %,
because it lacks Student's factor and that of S / (S - 1) (tests/test_coverage.py measures both).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
ENOUGH_SEEDS = 3  # below this there is neither an interval nor a comparison: "not enough seeds"
VERDICT_SEEDS = 5  # below this there are intervals, and no verdict
SEEDS, BOTH = "seeds", "seeds and test sequences"  # what an interval covers


@dataclass(frozen=True)
class Spread:
    """A mean over `n` seeds, the variance of that mean, and what it covers.

    per_seed: variance of one seed's mean, which falls with the number of seeds. shared: variance that more seeds do
    not lower, because all of them are scored on the same test sequences.
    """

    n: int
    mean: float
    per_seed: float
    shared: float = 0.0
    degrees: float = np.nan
    sequences: float = np.nan  # of the test part; NaN if the interval covers the seeds alone

    @property
    def covers(self) -> str:
        return SEEDS if np.isnan(self.sequences) else BOTH

    @property
    def error(self) -> float:
        """The standard error of the mean; NaN of fewer than two seeds."""
        return float(np.sqrt(self.per_seed / self.n + self.shared)) if self.n > 1 else np.nan

    @property
    def half(self) -> float:
        """Half of the 95 % t interval; NaN of fewer than ENOUGH_SEEDS."""
        if self.n < ENOUGH_SEEDS:
            return np.nan
        return float(special.stdtrit(self.degrees, (1 + LEVEL) / 2) * self.error)

    @property
    def p(self) -> float:
        """Of the t test that the mean is 0."""
        if not self.error > 0:
            return np.nan if np.isnan(self.error) else float(self.mean == 0)
        return float(2 * special.stdtr(self.degrees, -abs(self.mean) / self.error))


def over_seeds(values: np.ndarray, least: float = 0.0) -> Spread:
    """Of one value per seed; NaN are left out.

    least: of the standard deviation between seeds. Accuracies move in whole sequences, and a few seeds can agree on a
    difference by chance: without it, one sequence in each of three seeds would be certain.
    """
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return Spread(len(values), float(values.mean()) if len(values) else np.nan, np.nan)
    return Spread(len(values), float(values.mean()), max(float(values.var(ddof=1)), least**2), degrees=len(values) - 1)


def over_both(table: np.ndarray) -> Spread:
    """Of a table (seeds, sequences): correct or not, or the difference of two methods, -1, 0 or 1."""
    seeds, sequences = table.shape
    if seeds < 2 or sequences < 2:
        return over_seeds(table.mean(axis=1))
    by_seed, by_sequence, mean = table.mean(axis=1), table.mean(axis=0), float(table.mean())
    # The variances of the mean that the mean squares of rows, columns and the rest stand for.
    rows, columns = float(by_seed.var(ddof=1)) / seeds, float(by_sequence.var(ddof=1)) / sequences
    rest = float(np.square(table, dtype=float).mean()) - mean**2 - float(by_seed.var()) - float(by_sequence.var())
    rest = max(rest, 0.0) / ((seeds - 1) * (sequences - 1))
    rows = max(rows, 1 / sequences**2 / seeds)  # one sequence, as in `over_seeds`
    shared = max(columns - min(rest, rows), 0.0)
    parts = rows**2 / (seeds - 1) + columns**2 / (sequences - 1) + rest**2 / ((seeds - 1) * (sequences - 1))
    return Spread(seeds, mean, rows * seeds, shared, (rows + shared) ** 2 / parts, sequences)


def unpaired(left: Spread, right: Spread) -> Spread:
    """Of the difference of two independent means: Welch's, over all that the two intervals cover.

    It counts the seeds of the side that has fewer, and has the test sequences of the smaller test part.
    """
    parts = [side.error**2 for side in (left, right)]
    weights = sum(part**2 / side.degrees for part, side in zip(parts, (left, right), strict=True))
    number, variance = min(left.n, right.n), sum(parts)
    degrees = variance**2 / weights if weights else np.nan
    sequences = float(np.min([left.sequences, right.sequences]))  # NaN if one of them is
    return Spread(number, left.mean - right.mean, variance * number, degrees=degrees, sequences=sequences)
