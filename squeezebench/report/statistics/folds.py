"""Leave one group out: each run group's numbers over all folds of its task."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from pandas.api.types import is_numeric_dtype

from squeezebench.report.gather import GROUP
from squeezebench.report.statistics.spread import over_seeds
from squeezebench.schema.task import task_of_fold

# The same in each fold.
KEPT = ["method_title", "method_label", "varied", "settings_label", "control", "baseline", "size_rule"]


def over_folds(groups: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """One row per task with folds, protocol, method and settings.

    groups: as `Results.groups`. tasks: all that were planned, so that a fold without a result is counted.
    `test_accuracy_mean` is the mean over folds of each fold's mean over its seeds, `dense_difference` that of the
    differences to dense. Their half widths are of 95 % t intervals over the folds. All are missing while a fold is, as
    means over different groups cannot be compared.
    """
    number = pd.Series([task_of_fold(task) for task in tasks], dtype=object).value_counts()
    groups = groups.assign(task=[task_of_fold(task) for task in groups["task"]])
    rows = []
    for key, folds in groups[groups["task"].notna()].groupby(GROUP, sort=False):
        done = folds[folds["ok"] > 0]
        whole = done if len(done) == number[key[0]] else done.iloc[:0]
        accuracy, difference = over_seeds(whole["test_accuracy_mean"]), over_seeds(whole["dense_difference"])
        size, baseline = whole["size_mean"].mean(), whole["baseline_size"].mean()
        rows.append(
            dict(zip(GROUP, key, strict=True))
            | folds.iloc[0][KEPT].to_dict()
            | {
                "folds": len(done),
                "of_folds": int(number[key[0]]),
                "runs": int(folds["ok"].sum()),
                "stale": int(folds["stale"].sum()),
                "test_accuracy_mean": accuracy.mean,
                "test_accuracy_half_width": accuracy.half,
                "test_accuracy_worst": whole["test_accuracy_mean"].min(),
                "dense_difference": difference.mean,
                "dense_half_width": difference.half,
                "dense_n": difference.n,
                "size_mean": size,
                "ratio_size": baseline / size if size else float("nan"),
            }
        )
    return pd.DataFrame(rows)


def as_groups(groups: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The means of `over_folds` as run groups of the task that has the folds, with the columns of `groups`.

    `ok` counts folds instead of seeds; it is 0 while one is missing. What `over_folds` does not say is the mean of the
    folds' groups, or their first if it is no number.
    """
    means = over_folds(groups, tasks)
    if means.empty:
        return means
    parts = groups.assign(task=[task_of_fold(task) for task in groups["task"]]).dropna(subset="task")
    kinds = {name: "mean" if is_numeric_dtype(parts[name]) else "first" for name in parts if name not in GROUP}
    same = [name for name in kinds if name in means]
    frame = parts.groupby(GROUP, sort=False).agg(kinds).drop(columns=same).reset_index().merge(means, on=GROUP)
    whole = frame["folds"] == frame["of_folds"]
    return frame.assign(ok=frame["folds"].where(whole, 0), missing=frame["of_folds"] - frame["folds"])
