"""Which settings stand for their method, and what each run group is held against.

Settings are picked on validation accuracy among those that are small enough. Partners are the dense model, a small
dense model of the same size, and the best control.
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from squeezebench.report.sizes import DENSE, SMALLER
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


def _dense_partners(groups: pd.DataFrame) -> pd.Series:
    """Each group's dense group of one task and protocol: of its baseline's size, or best on validation."""
    partner = pd.Series(np.nan, index=groups.index)
    dense = of_enough_seeds(groups[groups["method"].isin(DENSE)])
    dense = dense.sort_values("validation_accuracy_mean", ascending=False, kind="stable")
    for key, candidates in dense.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["method"].isin(DENSE)
        by_size = pd.Series(candidates.index, index=candidates["size_mean"])
        by_size = by_size[~by_size.index.duplicated()]
        matched = groups.loc[here, "baseline_size"].map(by_size)
        partner[here] = matched.fillna(candidates.index[0])
    return partner


def _small_partners(groups: pd.DataFrame) -> pd.Series:
    """For each group the smallest small_dense group of at least its size; sizes within SAME_SIZE count as equal. None
    if that one has collapsed: to be better than a network that has not learnt shows nothing."""
    partner = pd.Series(np.nan, index=groups.index)
    small = of_enough_seeds(groups[groups["method"].isin(SMALLER)])
    small = small.sort_values(["size_mean", "validation_accuracy_mean"], ascending=[True, False])
    for key, candidates in small.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["method"].isin([*SMALLER, *DENSE])
        here &= groups["size_mean"] > 0  # a model without an LSTM has no size on this scale
        sizes = candidates["size_mean"].to_numpy()
        place = np.searchsorted(sizes * SAME_SIZE, groups.loc[here, "size_mean"].to_numpy(), side="left")
        partners = candidates.index.to_numpy(float)
        partners[candidates["collapsed"].astype(bool)] = np.nan
        partner[here] = np.append(partners, np.nan)[place]
    return partner


def _control_partners(groups: pd.DataFrame) -> pd.Series:
    """For each group the control with the best mean validation accuracy among those that have learnt and are no larger
    within SAME_SIZE; for a pick at the registered ratio also among those that reach it, as a method that overshoots
    would else be held against controls of a third of its size. A model without a recurrence has size 0 and must have no
    more parameters in all. What does not beat it is beaten by something simpler."""
    partner = pd.Series(np.nan, index=groups.index)
    able = groups["control"].astype(bool) & ~groups["method"].isin(DENSE) & ~groups["collapsed"].astype(bool)
    controls = ranked(groups[able])
    for key, candidates in controls.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["control"].astype(bool)
        recurrent = candidates["size_mean"] > 0
        for index, group in groups[here].iterrows():
            small = candidates["size_mean"] <= group["size_mean"] * SAME_SIZE
            if group["registered"]:
                small |= reaches(candidates["ratio_size"], group["compare_at"])
            small &= recurrent | (candidates["model_parameters_mean"] <= group["model_parameters_mean"] * SAME_SIZE)
            partner[index] = candidates.index[small][0] if small.any() else np.nan
    return partner


PARTNERS = {"dense": _dense_partners, "small": _small_partners, "control": _control_partners}  # name of its columns
