"""One summary of each method on each task: hypervolume, size at dense accuracy, accuracy at fixed ratios.

Every number reads the test part of settings that were picked on validation. Intervals: the seeds are drawn again with
replacement, for all settings of the method and for dense together, and so are the test sequences, if all records of
the method hold their predictions, or whole groups of them, if the test part has ENOUGH_GROUPS. Each draw picks its
settings anew, so that the intervals cover the choice as well. They are percentiles of the draws, without interpolation:
in some draws a method may reach no such ratio at all (minus infinity), which is lower than any accuracy and no number
to calculate with.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squeezebench.report.answers import Answers
from squeezebench.report.gather import Gathered
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.picks import ranked, reaches
from squeezebench.report.statistics.spread import ENOUGH_GROUPS, ENOUGH_SEEDS, LEVEL, SEEDS, part_covered

RESAMPLES = 2000
NEAR = 0.005  # "dense accuracy": half a point below it
RATIOS = (10, 30, 100)
REGISTERED = "accuracy_registered"  # at the ratio of the task that was fixed in advance
STATISTICS = ("hypervolume", "near_dense", *(f"accuracy_{ratio}" for ratio in RATIOS), REGISTERED)
# Of the group behind a number.
PICKED = ("settings", "settings_label", "ratio", "size", "test_accuracy", "test_accuracy_half_width")
_WHERE = ["task", "protocol", "method"]
_COLUMNS = [*_WHERE, "size_rule", "method_label", "control", "stale", "n_settings", "n_seeds", "covers", "chance",
            "compare_at"]  # fmt: skip


def summaries(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """One row per task, protocol and method but dense. For each statistic its value, `_low` and `_high`; for those of
    one setting also what was picked (`PICKED`). Below ENOUGH_SEEDS all of them are missing."""
    lines = []
    able = ranked(groups)
    for (task, protocol), here in able.groupby(["task", "protocol"], sort=True):
        dense = here[here["method"].isin(DENSE)]
        for method, some in here[~here["method"].isin(DENSE)].groupby("method", sort=False):
            first = some.iloc[0]
            line = {"task": task, "protocol": protocol, "method": method, "n_settings": len(some)}
            line |= {key: first[key] for key in ("size_rule", "method_label", "control", "compare_at")}
            line["stale"] = some["stale"].sum()
            lines.append(line | _summary(some, dense, gathered))
    columns = [*_COLUMNS]
    for name in STATISTICS:
        columns += [name, f"{name}_low", f"{name}_high"]
        columns += [f"{name}_{part}" for part in PICKED] if name != "hypervolume" else []
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(["task", "control", "method", "protocol"], kind="stable").reset_index(drop=True)


def _summary(some: pd.DataFrame, dense: pd.DataFrame, gathered: Gathered) -> dict:
    """The numbers of one method on one task. Rows of `some` are its settings."""
    some = some.sort_values(["size_mean", "settings"], kind="stable")  # of equals the smallest is picked
    runs = [gathered.runs_of(group).set_index("seed", drop=False) for _, group in some.iterrows()]
    seeds = sorted(set().union(*(table.index for table in runs)))
    chance = chance_accuracy(runs[0])
    if len(seeds) < ENOUGH_SEEDS:
        return {"n_seeds": len(seeds), "chance": chance}
    drawn = _Drawn.of(runs, seeds, gathered)
    summary = {"n_seeds": len(seeds), "chance": chance, "covers": drawn.covers}
    measured: dict[str, tuple] = {}
    if np.isfinite(drawn.ratio[:, 0]).any() and not np.isnan(chance):
        measured["hypervolume"] = hypervolume(drawn.ratio, drawn.validation, drawn.test, chance), None
    if len(dense):
        reference = gathered.runs_of(dense.iloc[0]).set_index("seed")["validation"].reindex(seeds).to_numpy()
        near = drawn.validation >= drawn.of_seeds(reference[None]) - NEAR
        near = np.where(near, drawn.ratio, -np.inf)
        measured["near_dense"] = near.max(axis=0), near.argmax(axis=0)
    ratios = {f"accuracy_{least}": least for least in RATIOS} | {REGISTERED: some["compare_at"].iloc[0]}
    for name, least in ratios.items():
        measured[name] = at_least(least, drawn.ratio, drawn.validation, drawn.test)
    for name, (values, picked) in measured.items():
        summary |= _in_columns(name, values, None if picked is None else some.iloc[picked[0]])
    return summary


@dataclass(frozen=True)
class _Drawn:
    """Means (settings, 1 + RESAMPLES) over seeds and test sequences that are drawn again; the first draw is what was
    measured."""

    seeds: np.ndarray  # (1 + RESAMPLES, seeds) which are drawn
    test: np.ndarray
    validation: np.ndarray
    ratio: np.ndarray  # infinite without an LSTM
    covers: str

    @classmethod
    def of(cls, runs: list[pd.DataFrame], seeds: list[int], gathered: Gathered) -> _Drawn:
        """runs: of each setting, by seed. seeds: of all settings."""
        dice = np.random.default_rng(0)
        draws = np.vstack([np.arange(len(seeds)), dice.integers(len(seeds), size=(RESAMPLES, len(seeds)))])
        own, base, validation, test = (
            np.array([table[name].reindex(seeds) for table in runs], float)
            for name in ("count_size", "baseline_size", "validation", "test")
        )  # (settings, seeds)
        answers = gathered.correct([path for table in runs for path in table["path"]])
        if answers is None:
            scores = _mean(test[:, draws])
        else:
            by_seed = np.full((*test.shape, len(draws)), np.nan)
            places = [np.searchsorted(seeds, table.index) for table in runs]
            rows = np.split(_of_sequences(answers, dice), np.cumsum([len(table) for table in runs])[:-1])
            for setting, (place, values) in enumerate(zip(places, rows, strict=True)):
                by_seed[setting, place] = values
            scores = _mean(np.take_along_axis(by_seed, draws.T[None], axis=1).swapaxes(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = _mean(base[:, draws]) / _mean(own[:, draws])
        covers = SEEDS if answers is None else f"{SEEDS} and {part_covered(answers.groups)}"
        return cls(draws, scores, _mean(validation[:, draws]), ratio, covers)

    def of_seeds(self, values: np.ndarray) -> np.ndarray:
        """(n, seeds) -> (n, 1 + RESAMPLES)"""
        return _mean(values[:, self.seeds])


def _mean(values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")  # a draw of seeds that a setting lacks
        return np.nanmean(values, axis=-1)


def _of_sequences(answers: Answers, dice: np.random.Generator) -> np.ndarray:
    """(runs, 1 + RESAMPLES) accuracies on the test sequences as they are and drawn again, or their groups, the same
    ones for all runs. Sequences on which all runs agree are drawn as one: most are easy."""
    table, groups = answers.right, answers.groups
    if groups is not None and (number := int(groups.max()) + 1) >= ENOUGH_GROUPS:
        drawn = dice.multinomial(number, np.full(number, 1 / number), size=RESAMPLES)
        times = np.vstack([np.ones(number, int), drawn]).T
        sums = np.stack([np.bincount(groups, weights=row) for row in table])
        return sums @ times / (np.bincount(groups) @ times)
    kinds, number = np.unique(table, axis=1, return_counts=True)
    drawn = dice.multinomial(table.shape[1], number / table.shape[1], size=RESAMPLES)
    return kinds.astype(float) @ np.vstack([number, drawn]).T / table.shape[1]


def _in_columns(name: str, values: np.ndarray, picked: pd.Series | None) -> dict:
    """A statistic over the draws as columns of the summary, with the group that was picked."""
    if not np.isfinite(values[0]) and not values[0] > 0:
        return {name: -np.inf}  # no setting gets there
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    columns = {name: values[0], f"{name}_low": low, f"{name}_high": high}
    if picked is not None:
        of = ("settings", "settings_label", "ratio_size", "size_mean", "test_accuracy_mean", "test_accuracy_half_width")
        columns |= {f"{name}_{part}": picked[column] for part, column in zip(PICKED, of, strict=True)}
    return columns


def chance_accuracy(runs: pd.DataFrame) -> float:
    """One over the number of classes; missing where no run says how many there are."""
    both = zip(runs["class_names"], runs["confusion"], strict=True)
    numbers = [len(names) or len(matrix or ()) for names, matrix in both]
    return 1 / max(numbers) if numbers and max(numbers) else float("nan")


def at_least(least: float, ratio: np.ndarray, validation: np.ndarray, test: np.ndarray):
    """(settings, draws) each -> test accuracy (draws,) of the setting that is best on validation among those that
    reach the ratio `least`, and its row; -inf if there is none. Of equals the first row is taken."""
    able = np.where(reaches(ratio, least) & ~np.isnan(test), validation, -np.inf)
    able = np.where(np.isnan(able), -np.inf, able)
    best = able.argmax(axis=0)
    chosen = np.take_along_axis(test, best[None], axis=0)[0]
    return np.where(np.isneginf(able.max(axis=0)), -np.inf, chosen), best


def hypervolume(ratio: np.ndarray, validation: np.ndarray, test: np.ndarray, chance: float) -> np.ndarray:
    """Area (draws,) under the test accuracy above chance, over log10 of the ratio from 1 on; all (settings, draws).

    At each ratio the setting that is best on validation among those at least that small stands (the smaller one of two
    equal ones). Reference point: ratio 1 (the dense model's size), accuracy of guessing. With test = validation this is
    the hypervolume of the Pareto front in two dimensions, where it is a sum of rectangles and needs no library.
    Settings larger than dense add nothing; models without an LSTM have no ratio and are left out.
    """
    here = np.isfinite(ratio) & ~np.isnan(validation) & ~np.isnan(test)
    place = np.where(here, np.log10(np.where(here, np.maximum(ratio, 1), 1)), 0.0)
    order = np.argsort(-place, axis=0, kind="stable")  # from small models to large ones
    place, validation, test, here = (np.take_along_axis(v, order, axis=0) for v in (place, validation, test, here))
    best, height, area = np.full(place.shape[1], -np.inf), np.zeros(place.shape[1]), np.zeros(place.shape[1])
    for row in range(len(place)):
        better = here[row] & (validation[row] > best)
        best, height = np.where(better, validation[row], best), np.where(better, test[row] - chance, height)
        width = place[row] - (place[row + 1] if row + 1 < len(place) else 0.0)
        area += width * np.maximum(height, 0)
    return area
