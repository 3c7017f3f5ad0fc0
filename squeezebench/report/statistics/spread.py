"""How sure a mean over seeds and test sequences is: its variance by source, its t interval and its t test.

An accuracy is a mean over a table of S seeds and N test sequences (1: classified correctly), a difference between two
methods a mean over the table of their differences, paired by seed and sequence. Another training gives another row,
another test set other columns, so that the variance of the mean has three parts (two-way random effects):

    Var = sigma_seeds^2 / S + sigma_sequences^2 / N + sigma_both^2 / (S N)

The three mean squares of the table estimate it (Searle, Casella and McCulloch, Variance Components, 1992), and
Satterthwaite (1946) gives the degrees of freedom of their sum. This is what drawing seeds and sequences anew, with
replacement, comes to for many seeds; of five seeds a percentile of such draws covers 85 to 90 % instead of 95 %,
because it lacks Student's factor and that of S / (S - 1) (tests/test_coverage.py measures both).

Test sequences of one group (a speaker, a scene) are alike, and another test set has other groups: from ENOUGH_GROUPS
on, the columns are groups instead of sequences (`by_group`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

LEVEL = 0.95
ENOUGH_SEEDS = 3  # below this there is neither an interval nor a comparison: "not enough seeds"
VERDICT_SEEDS = 5  # below this there are intervals, and no verdict
ENOUGH_GROUPS = 10  # of the test part; below this nothing can be said of other groups
SEEDS, SEQUENCES, GROUPS = "seeds", "test sequences", "test groups"  # what an interval covers


@dataclass(frozen=True)
class Spread:
    """A mean over `n` seeds, the variance of that mean, and what it covers.

    per_seed: variance of one seed's mean, which falls with the number of seeds. shared: variance that more seeds do
    not lower, because all of them are scored on the same test sequences. sequences: of the test part, or the number
    that its groups count for (`by_group`); NaN if the interval covers the seeds alone.
    """

    n: int
    mean: float
    per_seed: float
    shared: float = 0.0
    degrees: float = np.nan
    sequences: float = np.nan
    covers: str = SEEDS

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
        """Of the t test that the mean is 0; NaN of fewer than ENOUGH_SEEDS."""
        if self.n < ENOUGH_SEEDS:
            return np.nan
        if not self.error > 0:
            return float(self.mean == 0)
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


def over_both(table: np.ndarray, groups: np.ndarray | None = None) -> Spread:
    """Of a table (seeds, sequences): correct or not, or the difference of two methods, -1, 0 or 1. groups: as in
    `by_group`."""
    seeds, sequences = table.shape
    if seeds < 2 or sequences < 2:
        return over_seeds(table.mean(axis=1))
    units, number = by_group(table, groups)
    lost = units.shape[1] / number  # degrees of freedom that the mean takes: 1 if all columns count the same
    by_seed, by_unit, mean = units.mean(axis=1), units.mean(axis=0), float(table.mean())
    # The variances of the mean that the mean squares of rows, columns and the rest stand for.
    rows, columns = float(by_seed.var(ddof=1)) / seeds, float(by_unit.var(ddof=lost)) / units.shape[1]
    rest = float(np.square(units, dtype=float).mean()) - mean**2 - float(by_seed.var()) - float(by_unit.var())
    rest = max(rest, 0.0) / ((seeds - 1) * (units.shape[1] - lost))
    rows = max(rows, 1 / sequences**2 / seeds)  # one sequence, as in `over_seeds`
    shared = max(columns - min(rest, rows), 0.0)
    parts = rows**2 / (seeds - 1) + columns**2 / (number - 1) + rest**2 / ((seeds - 1) * (number - 1))
    return Spread(
        seeds, mean, rows * seeds, shared, (rows + shared) ** 2 / parts, number, f"{SEEDS} and {part_covered(groups)}"
    )


def by_group(table: np.ndarray, groups: np.ndarray | None) -> tuple[np.ndarray, float]:
    """A table (rows, columns) of what is drawn independently, and how many columns of equal weight it counts for.

    groups: of each sequence, int from 0 without gaps; None: there are none, or they are not known. With fewer than
    ENOUGH_GROUPS the sequences stay the columns, as if these groups were given.

    Of G groups, N sequences and the mean m, group k has n_k sequences with the sum t_k. The mean m = sum t_k / sum n_k
    is a ratio. It varies as the mean of the G values m + (t_k - m n_k) G / N, which are returned (Cochran, Sampling
    Techniques, 1977, chapter 9A; by seed and by group at once: Cameron, Gelbach and Miller 2011). The mean of each row
    stays. If the variance of t_k grows as n_k, the squared deviations of these values from m are too small by the
    factor 1 - sum (n_k / N)^2, because m is their own mean. That is 1 - 1 / G for equal groups, and in general 1 - 1 /
    K with Kish's number K = N^2 / sum n_k^2 (Survey Sampling, 1965), which stands for G in the degrees of freedom too.
    """
    sizes = np.bincount(groups) if groups is not None else np.empty(0)
    if not ENOUGH_GROUPS <= len(sizes) < table.shape[1]:
        return table, table.shape[1]
    sums, mean = np.stack([np.bincount(groups, weights=row) for row in table]), table.mean()
    return mean + (sums - mean * sizes) / sizes.mean(), float(sizes.sum() ** 2 / np.square(sizes).sum())


def part_covered(groups: np.ndarray | None) -> str:
    """What an interval covers of a test part with these groups."""
    number = None if groups is None else int(groups.max()) + 1
    if number is None or number >= ENOUGH_GROUPS:
        return SEQUENCES if number is None else GROUPS
    return f"{SEQUENCES} of {f'these {number} groups' if number > 1 else 'this one group'}"


def covered(several: Iterable[str]) -> str:
    """What the interval of a sum covers, of what those of its parts cover: the seeds alone if one covers no more."""
    parts = {covers.removeprefix(f"{SEEDS} and ") for covers in several}
    return SEEDS if SEEDS in parts else f"{SEEDS} and {', '.join(sorted(parts))}"


def unpaired(left: Spread, right: Spread) -> Spread:
    """Of the difference of two independent means: Welch's, over all that the two intervals cover.

    It counts the seeds of the side that has fewer, and has the test sequences of the smaller test part.
    """
    parts = [side.error**2 for side in (left, right)]
    weights = sum(part**2 / side.degrees for part, side in zip(parts, (left, right), strict=True))
    number, variance = min(left.n, right.n), sum(parts)
    degrees = variance**2 / weights if weights else np.nan
    sequences = float(np.min([left.sequences, right.sequences]))  # NaN if one of them is
    covers = covered((left.covers, right.covers))
    return Spread(number, left.mean - right.mean, variance * number, 0.0, degrees, sequences, covers)
