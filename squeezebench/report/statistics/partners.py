"""What each run group is held against: the dense model, a small dense model of its size, the best control."""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report.sizes import DENSE, SMALLER
from squeezebench.report.statistics.picks import SAME_SIZE, of_enough_seeds, ranked, reaches


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
