"""Means, intervals, run groups, Pareto fronts. Whole columns at a time: thousands of records take seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from squeezebench.report.gather import GROUP, Gathered
from squeezebench.report.labels import settings_labels
from squeezebench.report.sizes import DENSE, SHARES
from squeezebench.schema.metrics import BATCHES, COUNTS, GROUPS

LEVEL = 0.95
RESAMPLES = 2000  # of every bootstrap
ENOUGH_SEEDS = 3  # below this the report makes no comparison, it says "not enough seeds"
# What a group has a mean and an interval of, and its name in groups.csv.
MEASURED = {metric.column: metric.group for metric in GROUPS if not metric.constant}


def half_width(deviation: pd.Series, n: pd.Series) -> pd.Series:
    """Half of the 95 % t interval of a mean of n values; missing where n < 2 (one value has no interval)."""
    n = n.where(n >= 2)
    return stats.t.ppf((1 + LEVEL) / 2, n - 1) * deviation / np.sqrt(n)


def run_groups(gathered: Gathered) -> pd.DataFrame:
    """One row per run group (task, protocol, method, settings), its numbers over the seeds that finished."""
    runs = gathered.runs
    by_group = runs.groupby(GROUP, sort=True)
    first = by_group[["title", "control", "varied", "baseline", "folder", "size_rule"]].first()
    groups = first.rename(columns={"title": "method_title"})
    groups["seeds"] = by_group["seed"].agg(lambda seeds: " ".join(map(str, sorted(seeds))))
    for status in ("ok", "failed", "skipped"):
        groups[status] = (runs["status"] == status).groupby([runs[key] for key in GROUP]).sum()
    groups["missing"] = _missing(gathered.problems).reindex(groups["folder"]).fillna(0).astype(int).to_numpy()
    groups["stale"] = by_group["stale"].sum()
    groups["unplanned"] = (~by_group["planned"].any()) & bool(gathered.plan)

    finished = runs[runs["status"] == "ok"].groupby(GROUP, sort=True)
    for column, name in (MEASURED | SHARES).items():
        n = finished[column].count()
        groups[f"{name}_mean"] = finished[column].mean()
        groups[f"{name}_half_width"] = half_width(finished[column].std(), n)
    for batch in BATCHES:
        by_runtime = finished[f"fastest_dense_runtime_{batch}"]
        groups[f"fastest_dense_runtime_batch_{batch}"] = by_runtime.agg(lambda names: " or ".join(sorted(set(names))))
    for metric in GROUPS:
        if metric.constant:
            groups[metric.group] = finished[metric.column].mean()
    for column in ("kept_structure", "of_structure"):  # one a seed
        groups[column] = finished[column].agg(lambda texts: " ".join(text for text in texts if text))
    groups[["kept_structure", "of_structure"]] = groups[["kept_structure", "of_structure"]].fillna("")
    groups["of_structure"] = groups["of_structure"].map(lambda text: " ".join(dict.fromkeys(text.split())))
    for rule, name in {"size": "size", **COUNTS}.items():
        # The ratio of the means, not the mean of the ratios: one seed that collapsed must not set the ratio.
        with np.errstate(divide="ignore", invalid="ignore"):
            groups[f"ratio_{name}"] = groups[f"baseline_{rule}"] / groups[f"{name}_mean"]
    intervals = ratio_intervals(runs[runs["status"] == "ok"], "count_size", "baseline_size")
    groups = groups.join(intervals.add_prefix("ratio_size_"))
    groups = groups.reset_index()
    groups = groups.iloc[_reading_order(groups)].reset_index(drop=True)
    groups["method_label"] = groups["method"].map(method_labels(runs))
    groups["settings_label"] = settings_labels(groups)
    groups["front"] = False
    for _, some in groups[groups["ok"] > 0].groupby(["task", "protocol"]):
        groups.loc[some.index, "front"] = pareto_front(
            some["size_mean"].to_numpy(), some["test_accuracy_mean"].to_numpy()
        )
    return groups


def ratio_intervals(runs: pd.DataFrame, own: str, baseline: str) -> pd.DataFrame:
    """95 % bootstrap interval (`low`, `high`) over the seeds of each run group's ratio mean(baseline) / mean(own).
    Groups with fewer than ENOUGH_SEEDS have none."""
    able = runs[(runs[own] > 0) & runs[baseline].notna()].sort_values([*GROUP, "seed"])
    number = able.groupby(GROUP)[own].transform("size")
    found = [pd.DataFrame(columns=["low", "high"], index=pd.MultiIndex.from_arrays([[]] * len(GROUP), names=GROUP))]
    for n in sorted(number[number >= ENOUGH_SEEDS].unique()):
        some = able[number == n]
        values = [some[column].to_numpy().reshape(-1, n) for column in (baseline, own)]  # (groups, seeds)
        low, high = bootstrap_interval(values, _ratio_of_means)
        keys = pd.MultiIndex.from_frame(some[GROUP].iloc[::n])
        found.append(pd.DataFrame({"low": low, "high": high}, index=keys))
    return pd.concat([frame for frame in found if len(frame)] or found).astype(float)


def bootstrap_interval(values: Sequence[np.ndarray], statistic: Callable[..., np.ndarray]):
    """Low and high end of the 95 % interval of `statistic`, over seeds on the last axis of each of `values`, which are
    drawn together (paired).

    Percentiles, not BCa: its bias and acceleration cannot be estimated from a handful of seeds, and it has no answer
    where they agree. At three seeds the interval is the range over the seeds: 1 of 27 draws takes one seed thrice.
    """
    interval = stats.bootstrap(
        values, statistic, paired=True, axis=-1, vectorized=True, n_resamples=RESAMPLES, batch=RESAMPLES // 10,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return interval.low, interval.high


def _ratio_of_means(baseline: np.ndarray, own: np.ndarray, axis: int = -1) -> np.ndarray:
    return baseline.mean(axis) / own.mean(axis)


def leading_protocol(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups of the sound protocol; those run as released only where there is nothing else."""
    sound = groups["protocol"] == "sound"
    return groups[sound] if sound.any() else groups


def _reading_order(groups: pd.DataFrame) -> np.ndarray:
    """By task: dense first, then methods by name, then controls; within each from large to small."""
    size = -groups["size_mean"].fillna(0)
    released, compressed = groups["protocol"] != "sound", ~groups["method"].isin(DENSE)
    keys = [
        groups["settings"],
        size,
        groups["method"],
        groups["control"],
        compressed,
        released,
        groups["task"],
    ]
    return np.lexsort(keys)  # the last key is the first that counts


def _missing(problems: pd.DataFrame) -> pd.Series:
    """Planned runs without a trusted record, by the folder that holds the seeds of their group."""
    return problems[problems["kind"].isin(["missing", "damaged"])].groupby("folder").size()


def method_labels(runs: pd.DataFrame) -> dict[str, str]:
    """A method's title; with its name where two methods share a title."""
    titles = runs.groupby("method")["title"].first()
    shared = titles.duplicated(keep=False)
    return {name: f"{title} ({name})" if shared[name] else title for name, title in titles.items()}


def pareto_front(sizes: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """True for each point that no other is as small and as accurate as, and better than in one of them."""
    sizes, accuracies = np.asarray(sizes, float), np.asarray(accuracies, float)
    front = np.zeros(len(sizes), bool)
    best, best_size = -np.inf, np.nan
    for index in np.lexsort((-accuracies, sizes)):  # by size, the more accurate first
        size, accuracy = sizes[index], accuracies[index]
        if np.isnan(size) or np.isnan(accuracy):
            continue
        if accuracy > best or (accuracy == best and size == best_size):
            front[index] = True
            best, best_size = accuracy, size
    return front


def selection_bias(gathered: Gathered) -> pd.DataFrame:
    """For groups run `as_released`: test accuracy of the best test epoch minus the final epoch's, by seed."""
    runs = gathered.runs
    released = runs[(runs["status"] == "ok") & (runs["protocol"] == "as_released")]
    released = released.assign(flattered=released["test"] - released["test_final_epoch"])
    by_group = released.groupby(GROUP, sort=True)
    table = by_group[["test", "test_final_epoch", "flattered"]].mean()
    table["n"] = by_group["flattered"].count()
    table["half_width"] = half_width(by_group["flattered"].std(), table["n"])
    return table.reset_index()
