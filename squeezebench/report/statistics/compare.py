"""Comparisons: settings picked on validation, differences paired by seed, Holm's correction."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from squeezebench.report.gather import GROUP, Gathered
from squeezebench.report.sizes import DENSE, SMALLER
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, half_width

COMPARED = ("group", "n", "difference", "half_width", "p", "p_holm")  # what `compared` adds, for each partner
BRACKETS = [2, *(base * 10**power for power in range(7) for base in (5, 10))]  # 2 5 10 50 100 500 ...


def compared(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """`groups` with the paired differences to each of `PARTNERS` and Holm's correction of their tests."""
    groups = groups.copy()
    for name, partners in PARTNERS.items():
        groups[f"{name}_group"] = partners(groups)
        pairs = paired_differences(groups, groups[f"{name}_group"], gathered)
        groups = groups.join(pairs.add_prefix(f"{name}_"))
    for name in PARTNERS:
        groups[f"{name}_p_holm"] = _holm_by_task(groups, name)
    return groups


def paired_differences(groups: pd.DataFrame, partner: pd.Series, gathered: Gathered) -> pd.DataFrame:
    """Test accuracy minus the partner group's, by seed: n, mean, half of the 95 % interval, t test's p.

    Seeds that only one of the two finished are left out: n can be smaller than either number of seeds. Accuracies move
    in whole sequences, and a few seeds can agree on a difference by chance: their standard deviation is taken as one
    test sequence at least, else one sequence in each of three seeds would be certain.
    """
    number = pd.Series(groups.index, index=pd.MultiIndex.from_frame(groups[GROUP]))
    runs = gathered.runs[gathered.runs["status"] == "ok"]
    runs = runs.assign(group=number.reindex(pd.MultiIndex.from_frame(runs[GROUP])).to_numpy())[
        ["group", "seed", "test", "test_size"]
    ]
    runs = runs.assign(partner=runs["group"].map(partner))
    both = runs.merge(runs, left_on=["partner", "seed"], right_on=["group", "seed"], suffixes=("", "_partner"))
    both["difference"] = both["test"] - both["test_partner"]
    by_group = both.groupby("group")["difference"]
    pairs = pd.DataFrame({"n": by_group.count(), "difference": by_group.mean()}).reindex(groups.index)
    one_sequence = 1 / both.groupby("group")["test_size"].min()
    deviation = by_group.std().clip(lower=one_sequence.fillna(0)).reindex(groups.index)
    pairs["n"] = pairs["n"].fillna(0).astype(int)
    pairs["half_width"] = half_width(deviation, pairs["n"])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = pairs["difference"].abs() * np.sqrt(pairs["n"]) / deviation
    pairs["p"] = 2 * stats.t.sf(t, pairs["n"].where(pairs["n"] >= 2) - 1)
    return pairs


def _dense_partners(groups: pd.DataFrame) -> pd.Series:
    """Each group's dense group of one task and protocol: of its baseline's size, or best on validation."""
    partner = pd.Series(np.nan, index=groups.index)
    dense = groups[groups["method"].isin(DENSE) & (groups["ok"] > 0)]
    dense = dense.sort_values("validation_accuracy_mean", ascending=False, kind="stable")
    for key, candidates in dense.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["method"].isin(DENSE)
        by_size = pd.Series(candidates.index, index=candidates["size_mean"])
        by_size = by_size[~by_size.index.duplicated()]
        matched = groups.loc[here, "baseline_size"].map(by_size)
        partner[here] = matched.fillna(candidates.index[0])
    return partner


def _small_partners(groups: pd.DataFrame) -> pd.Series:
    """For each group the smallest small_dense group with at least its size."""
    partner = pd.Series(np.nan, index=groups.index)
    small = groups[groups["method"].isin(SMALLER) & (groups["ok"] > 0)]
    small = small.sort_values(["size_mean", "validation_accuracy_mean"], ascending=[True, False])
    for key, candidates in small.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["method"].isin([*SMALLER, *DENSE])
        here &= groups["size_mean"] > 0  # a model without an LSTM has no size on this scale
        sizes = candidates["size_mean"].to_numpy()
        place = np.searchsorted(sizes, groups.loc[here, "size_mean"].to_numpy(), side="left")
        found = np.append(candidates.index.to_numpy(float), np.nan)
        partner[here] = found[place]
    return partner


def _control_partners(groups: pd.DataFrame) -> pd.Series:
    """For each group the control with the best mean validation accuracy among those that are no larger (a model
    without a recurrence has size 0). What does not beat it is beaten by something simpler and no larger."""
    partner = pd.Series(np.nan, index=groups.index)
    controls = ranked(groups[groups["control"].astype(bool) & ~groups["method"].isin(DENSE)])
    for key, candidates in controls.groupby(["task", "protocol"], sort=False):
        here = (groups["task"] == key[0]) & (groups["protocol"] == key[1]) & ~groups["control"].astype(bool)
        for index, size in groups.loc[here, "size_mean"].items():
            able = candidates.index[candidates["size_mean"] <= size]
            partner[index] = able[0] if len(able) else np.nan
    return partner


# What a method is held against, and the name of its columns.
PARTNERS = {"dense": _dense_partners, "small": _small_partners, "control": _control_partners}


def selected(groups: pd.DataFrame) -> pd.DataFrame:
    """For each task, method and bracket the group with the best mean validation accuracy among those at
    least that much smaller than their baseline. Test accuracy plays no part. Where a task has groups with
    three seeds, groups with fewer do not compete: a single lucky seed would win."""
    able = ranked(groups[np.isfinite(groups["ratio_size"])])  # no LSTM, no ratio
    keys = ["task", "protocol", "method"]
    picks = []
    for bracket in BRACKETS:
        enough = able[able["ratio_size"] >= bracket]
        if enough.empty:
            break
        picks.append(enough.drop_duplicates(keys).assign(bracket=bracket))
    chosen = pd.concat(picks) if picks else able.assign(bracket=0).iloc[:0]
    return chosen.sort_values(["task", "bracket", "control", "method", "protocol"], kind="stable")


def ranked(groups: pd.DataFrame) -> pd.DataFrame:
    """The groups that may be picked, the best mean validation accuracy first, the smaller of two equal ones before."""
    able = groups[(groups["ok"] > 0) & groups["validation_accuracy_mean"].notna()]
    most = able.groupby(["task", "protocol"])["ok"].transform("max").clip(upper=ENOUGH_SEEDS)
    able = able[able["ok"] >= most]
    order = ["validation_accuracy_mean", "size_mean", "settings"]
    return able.sort_values(order, ascending=[False, True, True], kind="stable")


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down correction of the p values of one family (missing ones are no part of it)."""
    given = p.dropna().sort_values()
    steps = np.arange(len(given), 0, -1)
    return (given * steps).cummax().clip(upper=1).reindex(p.index)


def _holm_by_task(groups: pd.DataFrame, name: str) -> pd.Series:
    """One family per task, protocol and partner: the picked settings of all methods but controls."""
    family = selected(groups).index.unique()
    tested = groups.loc[family]
    tested = tested[~tested["control"].astype(bool) & (tested[f"{name}_n"] >= ENOUGH_SEEDS)]
    corrected = tested.groupby(["task", "protocol"])[f"{name}_p"].transform(holm)
    return corrected.reindex(groups.index)
