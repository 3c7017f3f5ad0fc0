"""One summary of each method on each task: hypervolume, size at dense accuracy, accuracy at fixed ratios.

Every number reads the test part of settings that were picked on validation. Intervals: the seeds are drawn again with
replacement, for all settings of the method and for dense together, and each draw picks its settings anew, so that they
cover the choice as well. They are percentiles of the draws, without interpolation: in some draws a method may reach no
such ratio at all (minus infinity), which is lower than any accuracy and no number to calculate with.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from squeezebench.report.gather import Gathered
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.compare import ranked
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL, RESAMPLES

NEAR = 0.005  # "dense accuracy": half a point below it
RATIOS = (10, 100, 1000)
STATISTICS = ("hypervolume", "near_dense", *(f"accuracy_{ratio}" for ratio in RATIOS))
# Of the group behind a number.
PICKED = ("settings", "settings_label", "ratio", "size", "test_accuracy", "test_accuracy_half_width")
_WHERE = ["task", "protocol", "method"]
_COLUMNS = [*_WHERE, "size_rule", "method_label", "control", "stale", "unplanned", "n_settings", "n_seeds", "chance"]


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
            line |= {key: first[key] for key in ("size_rule", "method_label", "control")}
            line |= {key: some[key].sum() if key == "stale" else some[key].all() for key in ("stale", "unplanned")}
            lines.append(line | _summary(some, dense, gathered))
    columns = [*_COLUMNS]
    for name in STATISTICS:
        columns += [name, f"{name}_low", f"{name}_high"]
        columns += [f"{name}_{part}" for part in PICKED] if name != "hypervolume" else []
    frame = pd.DataFrame(lines, columns=columns)
    return frame.sort_values(["task", "control", "method", "protocol"], kind="stable").reset_index(drop=True)


def _summary(some: pd.DataFrame, dense: pd.DataFrame, gathered: Gathered) -> dict:
    """Of one method on one task. Rows of `some` are its settings."""
    some = some.sort_values(["size_mean", "settings"], kind="stable")  # of equals the smallest is picked
    runs = [gathered.runs_of(group).set_index("seed") for _, group in some.iterrows()]
    seeds = sorted(set().union(*(one.index for one in runs)))
    chance = chance_accuracy(runs[0])
    found = {"n_seeds": len(seeds), "chance": chance}
    if len(seeds) < ENOUGH_SEEDS:
        return found
    values = {name: np.array([one[name].reindex(seeds) for one in runs]) for name in
              ("test", "validation", "count_size", "baseline_size")}  # (settings, seeds)  # fmt: skip
    draws = np.random.default_rng(0).integers(len(seeds), size=(RESAMPLES, len(seeds)))
    draws = np.vstack([np.arange(len(seeds)), draws])  # the first is what was measured
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.filterwarnings("ignore", message="Mean of empty slice")  # a draw of seeds that a setting lacks
        test, validation, size, base = (np.nanmean(v[:, draws], axis=-1) for v in values.values())  # (settings, draws)
        ratio = base / size  # infinite without an LSTM
        if len(dense):
            reference = gathered.runs_of(dense.iloc[0]).set_index("seed")["validation"].reindex(seeds).to_numpy()
            reference = np.nanmean(reference[draws], axis=-1)
    everywhere = {}
    if np.isfinite(ratio[:, 0]).any() and not np.isnan(chance):
        everywhere["hypervolume"] = hypervolume(ratio, validation, test, chance), None
    if len(dense):
        near = np.where(validation >= reference - NEAR, ratio, -np.inf)
        everywhere["near_dense"] = near.max(axis=0), near.argmax(axis=0)
    for least in RATIOS:
        everywhere[f"accuracy_{least}"] = at_least(least, ratio, validation, test)
    for name, (drawn, picked) in everywhere.items():
        if not np.isfinite(drawn[0]) and not drawn[0] > 0:
            found[name] = -np.inf  # no setting gets there
            continue
        found[name] = drawn[0]
        low, high = np.quantile(drawn[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
        found |= {f"{name}_low": low, f"{name}_high": high}
        if picked is not None:
            group = some.iloc[picked[0]]
            found |= {
                f"{name}_settings": group["settings"],
                f"{name}_settings_label": group["settings_label"],
                f"{name}_ratio": group["ratio_size"],
                f"{name}_size": group["size_mean"],
                f"{name}_test_accuracy": group["test_accuracy_mean"],
                f"{name}_test_accuracy_half_width": group["test_accuracy_half_width"],
            }
    return found


def chance_accuracy(runs: pd.DataFrame) -> float:
    """One over the number of classes; missing where no run says how many there are."""
    both = zip(runs["class_names"], runs["confusion"], strict=True)
    numbers = [len(names) or len(matrix or ()) for names, matrix in both]
    return 1 / max(numbers) if numbers and max(numbers) else float("nan")


def at_least(least: float, ratio: np.ndarray, validation: np.ndarray, test: np.ndarray):
    """(settings, draws) each -> test accuracy (draws,) of the setting that is best on validation among those at least
    `least` times smaller, and its row; -inf where there is none. Of equals the first row is taken."""
    able = np.where((ratio >= least) & ~np.isnan(test), validation, -np.inf)
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
