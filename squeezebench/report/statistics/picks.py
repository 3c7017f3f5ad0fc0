"""Which settings stand for their method: picked on validation accuracy among those that are small enough."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from squeezebench.report.statistics.spread import ENOUGH_SEEDS

BRACKETS = [base * 10.0**power for power in range(7) for base in (3, 10)]  # 3 10 30 100 300 ...
SAME_SIZE = 1.1  # sizes within 10 % count as equal: no closer does a method come to a target in whole units


def reaches(ratio, least: float):
    """Whether a ratio is at least so large, within SAME_SIZE."""
    return ratio * SAME_SIZE >= least


def selected(groups: pd.DataFrame) -> pd.DataFrame:
    """For each task, method and bracket the group with the best mean validation accuracy among those at least that
    much smaller than their baseline, within SAME_SIZE. Where a method was given the bracket as its `ratio`, only such
    groups compete: what is compared at 10x would not be of one size if a network of 30x could stand for its method.
    Test accuracy plays no part. If a task has groups with three seeds, groups with fewer do not compete: a single
    lucky seed would win. `registered`: the bracket is the ratio at which the experiment said in advance that it
    compares."""
    able = ranked(groups[np.isfinite(groups["ratio_size"])])  # no LSTM, no ratio
    keys = ["task", "protocol", "method"]
    target = able["settings"].map(lambda text: json.loads(text).get("ratio"))
    picks = []
    for bracket in sorted({*BRACKETS, *groups["compare_at"]}):
        enough = able[reaches(able["ratio_size"], bracket)]
        enough = enough if bracket in BRACKETS else enough[enough["compare_at"] == bracket]
        first = enough.assign(aimed=target[enough.index] == bracket).sort_values(
            "aimed", ascending=False, kind="stable"
        )
        picks.append(first.drop_duplicates(keys).drop(columns="aimed").assign(bracket=bracket))
    chosen = pd.concat(picks).astype({"bracket": float})
    chosen = chosen.assign(registered=chosen["bracket"] == chosen["compare_at"])
    return chosen.sort_values(["task", "bracket", "control", "method", "protocol"], kind="stable")


def of_enough_seeds(groups: pd.DataFrame) -> pd.DataFrame:
    """The finished groups; those of fewer than three seeds only if a task has no others."""
    able = groups[groups["ok"] > 0]
    most = able.groupby(["task", "protocol"])["ok"].transform("max").clip(upper=ENOUGH_SEEDS)
    return able[able["ok"] >= most]


def ranked(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups that may be picked, the best mean validation accuracy first, the smaller of two equal ones before."""
    able = of_enough_seeds(groups[groups["validation_accuracy_mean"].notna()])
    order = ["validation_accuracy_mean", "size_mean", "settings"]
    return able.sort_values(order, ascending=[False, True, True], kind="stable")
