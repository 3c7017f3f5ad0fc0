"""Means, intervals, run groups, Pareto fronts. Whole columns at a time: thousands of records take seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from squeezebench.report import formats
from squeezebench.report.answers import groups_of, same_test_part
from squeezebench.report.gather import GROUP, Gathered, differing
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE, SHARES
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, SEEDS, Spread, over_both, over_seeds
from squeezebench.schema.metrics import BATCHES, COUNTS, GROUPS

# What a group has a mean and an interval of, and its name in groups.csv.
MEASURED = {metric.column: metric.group for metric in GROUPS if not metric.constant}
LATENCIES = [metric.column for metric in GROUPS if metric.unit == "ms"]


def half_width(deviation: pd.Series, n: pd.Series) -> pd.Series:
    """Half of the 95 % t interval of a mean of n values; missing of fewer than ENOUGH_SEEDS."""
    n = n.where(n >= ENOUGH_SEEDS).astype(float)
    return special.stdtrit(n - 1, (1 + LEVEL) / 2) * deviation / np.sqrt(n)


def run_groups(gathered: Gathered) -> pd.DataFrame:
    """One row per run group (task, protocol, method, settings), its numbers over the seeds that finished."""
    runs = gathered.runs
    groups = _seeds(gathered)
    finished = runs[runs["status"] == "ok"].groupby(GROUP, sort=True)
    groups = groups.join(_means(runs[runs["status"] == "ok"])).join(_structures(finished))
    for rule, name in {"size": "size", **COUNTS}.items():
        # The ratio of the means, not the mean of the ratios: one seed that collapsed must not set the ratio.
        with np.errstate(divide="ignore", invalid="ignore"):
            groups[f"ratio_{name}"] = groups[f"baseline_{rule}"] / groups[f"{name}_mean"]
    groups = groups.join(ratio_intervals(runs[runs["status"] == "ok"], "count_size", "baseline_size"))
    groups = groups.reset_index()
    groups = groups.iloc[_reading_order(groups)].reset_index(drop=True)
    groups["method_label"] = groups["method"].map(method_labels(runs))
    groups["settings_label"] = _settings_labels(groups)
    groups["compare_at"] = groups["task"].map(gathered.compare_at).astype(float)
    _cover_sequences(groups, gathered)
    return with_front(groups)


def with_front(groups: pd.DataFrame) -> pd.DataFrame:
    """`groups` with a column `front`: no other of the task and protocol is smaller and more accurate."""
    groups = groups.assign(front=False)
    for _, peers in groups[groups["ok"] > 0].groupby(["task", "protocol"]):
        groups.loc[peers.index, "front"] = pareto_front(
            peers["size_mean"].to_numpy(), peers["test_accuracy_mean"].to_numpy()
        )
    return groups


def _seeds(gathered: Gathered) -> pd.DataFrame:
    """What each group is, and what became of its seeds."""
    runs = gathered.runs
    by_group = runs.groupby(GROUP, sort=True)
    first = by_group[["title", "control", "varied", "baseline", "folder", "size_rule"]].first()
    groups = first.rename(columns={"title": "method_title"})
    groups["seeds"] = by_group["seed"].agg(lambda seeds: " ".join(map(str, sorted(seeds))))
    for status in ("ok", "failed", "skipped"):
        groups[status] = (runs["status"] == status).groupby([runs[key] for key in GROUP]).sum()
    groups["missing"] = _missing(gathered.problems).reindex(groups["folder"]).fillna(0).astype(int).to_numpy()
    groups["stale"] = by_group["stale"].sum()
    return groups


def _means(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and half of the 95 % t interval over seeds of every metric, by group. A latency that another run of the same
    shape has measured is no second measurement: it has no part in the interval."""
    columns, finished = {}, runs.groupby(GROUP, sort=True)
    own = runs[LATENCIES].where(runs["latency_from"] == "")
    timed = own.groupby([runs[key] for key in GROUP], sort=True)
    for column, name in (MEASURED | SHARES).items():
        spread = (timed if column in LATENCIES else finished)[column]
        columns[f"{name}_mean"] = finished[column].mean()
        columns[f"{name}_half_width"] = half_width(spread.std(), spread.count())
    for batch in BATCHES:
        by_runtime = finished[f"fastest_dense_runtime_{batch}"]
        columns[f"fastest_dense_runtime_batch_{batch}"] = by_runtime.agg(lambda names: " or ".join(sorted(set(names))))
    columns |= {metric.group: finished[metric.column].mean() for metric in GROUPS if metric.constant}
    return pd.DataFrame(columns)


def accuracy_spread(tables: Sequence[pd.DataFrame], weights: Sequence[float], gathered: Gathered) -> Spread:
    """The weighted sum of the test accuracies of runs, a table for each weight, with the same seeds in the same order:
    over the seeds, and over the test sequences as well if every record holds its predictions of the same test part."""
    answers = [gathered.correct(list(table["path"])) for table in tables]
    if same_test_part(answers):
        both = zip(weights, answers, strict=True)
        return over_both(sum(weight * own.right.astype(float) for weight, own in both), groups_of(answers))
    sizes = pd.concat([table["test_size"] for table in tables]).dropna()
    one_sequence = 1 / sizes.min() if len(sizes) and sizes.min() else 0.0
    values = sum(weight * table["test"].to_numpy() for weight, table in zip(weights, tables, strict=True))
    return over_seeds(values, one_sequence * np.sqrt(sum(weight**2 for weight in weights) / 2))


def _structures(finished) -> pd.DataFrame:
    """The widths that are kept, one text a seed, and those of the baseline."""
    texts = {c: finished[c].agg(lambda texts: " ".join(text for text in texts if text))
             for c in ("kept_structure", "of_structure")}  # fmt: skip
    frame = pd.DataFrame(texts).fillna("").astype(object)
    return frame.assign(of_structure=frame["of_structure"].map(lambda text: " ".join(dict.fromkeys(text.split()))))


def _cover_sequences(groups: pd.DataFrame, gathered: Gathered) -> None:
    """Let the interval of the test accuracy cover the test sequences as well as the seeds, if all finished runs of the
    group hold their predictions."""
    halves, covers, paths = [], [], gathered.runs["path"].to_numpy()
    for group, half in zip(rows_of(groups[GROUP]), groups["test_accuracy_half_width"], strict=True):
        answers = gathered.correct(paths[gathered.places_of(group)])
        spread = over_both(answers.right, answers.groups) if answers and len(answers.right) > 1 else None
        halves.append(spread.half if spread else half)
        covers.append(spread.covers if spread else SEEDS)
    groups["test_accuracy_half_width"] = np.array(halves, float)
    groups["test_accuracy_covers"] = np.array(covers, object)


def ratio_intervals(runs: pd.DataFrame, own: str, baseline: str) -> pd.DataFrame:
    """95 % interval (`ratio_size_low`, `ratio_size_high`) of each run group's ratio mean(baseline) / mean(own): a t
    interval of its logarithm, whose spread over the seeds is that of both sizes relative to their means (delta method).
    Groups with fewer than ENOUGH_SEEDS, or with a seed without any size, have none."""
    by_group = runs.groupby(GROUP)
    relative = [runs[column] / by_group[column].transform("mean") for column in (baseline, own)]
    able = (runs[own] > 0) & runs[baseline].notna()
    logs = (relative[0] - relative[1]).where(able).groupby([runs[key] for key in GROUP])
    n = logs.count().where(lambda n: (n >= ENOUGH_SEEDS) & (n == by_group.size()))
    ratio, half = by_group[baseline].mean() / by_group[own].mean().replace(0, np.nan), half_width(logs.std(), n)
    return pd.DataFrame({"ratio_size_low": ratio * np.exp(-half), "ratio_size_high": ratio * np.exp(half)}, dtype=float)


def leading_protocol(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups of one protocol: the sound one, or if nothing was run by it as the paper says, or as released."""
    for protocol in ("sound", "paper"):
        if (chosen := groups["protocol"] == protocol).any():
            return groups[chosen]
    return groups


def _reading_order(groups: pd.DataFrame) -> np.ndarray:
    """By task: dense first, then methods by name, then controls; within each from large to small."""
    size = -groups["size_mean"].fillna(0)
    released, compressed = groups["protocol"] != "sound", ~groups["method"].isin(DENSE)
    keys = [groups["settings"], size, groups["method"], groups["control"], compressed, released, groups["task"]]
    return np.lexsort(keys)  # the last key is the first that counts


def _missing(problems: pd.DataFrame) -> pd.Series:
    """Planned runs without a trusted record, by the folder that holds the seeds of their group."""
    return problems[problems["kind"].isin(["missing", "damaged"])].groupby("folder").size()


def method_labels(runs: pd.DataFrame) -> dict[str, str]:
    """A method's title; with its name where two methods share a title, and a mark if its hooks break the contract."""
    titles = runs.groupby("method")["title"].first()
    shared, broken = titles.duplicated(keep=False), set(runs.loc[runs["contract"] != "", "method"])
    labels = {name: f"{title} ({name})" if shared[name] else title for name, title in titles.items()}
    return {name: f"{label} (breaks the contract)" if name in broken else label for name, label in labels.items()}


def _settings_labels(groups: pd.DataFrame) -> pd.Series:
    """The varied settings of each group. Two groups of a method that would read the same also get the settings they
    differ in, so that no two rows of a table have one name."""
    labels = groups["varied"].map(lambda text: formats.settings(json.loads(text)))
    keys = [groups["task"], groups["protocol"], groups["method"], labels]
    same = pd.concat(keys, axis=1).duplicated(keep=False)
    for _, twins in groups[same].groupby([groups["task"], groups["protocol"], groups["method"], labels]):
        values = {index: json.loads(text) for index, text in twins["settings"].items()}
        told_apart_by = differing(list(values.values()))
        for index, settings in values.items():
            shown = json.loads(groups.at[index, "varied"]) | {key: settings.get(key) for key in told_apart_by}
            labels[index] = formats.settings(shown)
    return labels


def pareto_front(sizes: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """True for each point that no other is as small and as accurate as, and better than in one of them."""
    sizes, accuracies = np.asarray(sizes, float), np.asarray(accuracies, float)
    front = np.zeros(len(sizes), bool)
    order = np.lexsort((-accuracies, sizes))  # by size, the more accurate first
    order = order[~np.isnan(sizes + accuracies)[order]]
    best = np.maximum.accumulate(accuracies[order])
    first = np.searchsorted(best, best)  # the smallest network of each best accuracy
    front[order] = (accuracies[order] == best) & (sizes[order] == sizes[order][first])
    return front


def selection_bias(gathered: Gathered) -> pd.DataFrame:
    """For groups run `as_released`: test accuracy of the best test epoch minus the final epoch's, by seed."""
    runs = gathered.runs
    released = runs[(runs["status"] == "ok") & (runs["protocol"] == "as_released")]
    released = released.assign(selection_bias=released["test"] - released["test_final_epoch"])
    by_group = released.groupby(GROUP, sort=True)
    table = by_group[["test", "test_final_epoch", "selection_bias"]].mean()
    table["n"] = by_group["selection_bias"].count()
    table["half_width"] = half_width(by_group["selection_bias"].std(), table["n"])
    return table.reset_index()
