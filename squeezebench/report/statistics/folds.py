"""Leave one group out: each run group's numbers over all folds of its task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from squeezebench.base.folds import task_of_fold
from squeezebench.report.gather import GROUP
from squeezebench.report.statistics.compare import COMPARED
from squeezebench.report.statistics.picks import PARTNERS
from squeezebench.report.statistics.spread import over_seeds

MEANT = ("dense", "small", "control")  # partners; the difference to one that a fold lacks has no mean over folds
BETWEEN = [f"{which}_{part}" for which in PARTNERS for part in COMPARED]
# The same in each fold.
KEPT = ["method_title", "method_label", "varied", "settings_label", "control", "baseline", "size_rule"]


def over_folds(groups: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """One row per task with folds, protocol, method and settings.

    groups: as `Results.groups`. tasks: all that were planned, so that a fold without a result is counted.
    `test_accuracy_mean` is the mean over folds of each fold's mean over its seeds, `dense_difference` that of the
    differences to dense, `small_difference` that to the small dense network of equal size, `control_difference` that to
    the best control of each fold. Their half widths are of
    95 % t intervals over the folds. All are missing while a fold is, as means over different groups cannot be compared.
    """
    number = pd.Series([task_of_fold(task) for task in tasks], dtype=object).value_counts()
    groups = groups.assign(task=[task_of_fold(task) for task in groups["task"]])
    rows = []
    for key, folds in groups[groups["task"].notna()].groupby(GROUP, sort=False):
        done = folds[folds["ok"] > 0]
        whole = done if len(done) == number[key[0]] else done.iloc[:0]
        accuracy = over_seeds(whole["test_accuracy_mean"])
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
                "size_mean": size,
                "ratio_size": baseline / size if size else float("inf"),  # 0: no LSTM
            }
            | {name: value for which in MEANT for name, value in _difference(whole, which).items()}
        )
    return pd.DataFrame(rows)


def _difference(folds: pd.DataFrame, which: str) -> dict[str, float]:
    values = folds[f"{which}_difference"]
    spread = over_seeds(values if values.notna().all() else values.iloc[:0])
    return {f"{which}_difference": spread.mean, f"{which}_half_width": spread.half, f"{which}_n": spread.n}


def as_groups(groups: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """The means of `over_folds` as run groups of the task that has the folds, with the columns of `groups`.

    `ok` counts folds instead of seeds; it is 0 while one is missing. A group has collapsed if it has in every fold.
    What `over_folds` does not say is the mean of the folds' groups, or their first if it is no number; what compares
    a group with others is missing.
    """
    means = over_folds(groups, tasks)
    if means.empty:
        return means
    parts = groups.assign(task=[task_of_fold(task) for task in groups["task"]]).dropna(subset="task")
    kinds = {name: "mean" if is_numeric_dtype(parts[name]) else "first" for name in parts}
    same = [name for name in kinds if name in means]
    frame = parts.groupby(GROUP, sort=False).agg(kinds).drop(columns=same).reset_index().merge(means, on=GROUP)
    frame[[name for name in BETWEEN if name in frame and name not in means]] = np.nan
    whole = frame["folds"] == frame["of_folds"]
    return frame.assign(collapsed=frame["collapsed"] == 1, ok=frame["folds"].where(whole, 0),
                        missing=frame["of_folds"] - frame["folds"])  # fmt: skip
