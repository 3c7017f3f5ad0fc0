"""Comparisons: differences paired by seed and test sequence, and the family of tests that is corrected for its size.

The family is registered in advance: on each task the settings that each method picks on validation at the ratio
`compare_at` of the experiment. A network that has collapsed is no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report.answers import Answers, groups_of, same_test_part
from squeezebench.report.gather import GROUP, Gathered
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.picks import PARTNERS, ranked, selected
from squeezebench.report.statistics.power import detectable, seeds_needed
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS, Spread, over_both, over_seeds

# What `compared` adds, for each partner. p_holm: of the registered comparisons. detectable: the smallest difference
# that the comparison could have found, seeds_needed: to find one point; both at `level`, that of a registered
# comparison corrected for their number.
COMPARED = ("group", "n", "difference", "half_width", "p", "covers", "p_holm", "level", "detectable", "seeds_needed")
COLLAPSED = 0.1  # of the way from guessing to dense: a network that has come no further has collapsed
SPREAD = ("n", "difference", "half_width", "p", "covers", "error", "per_seed", "shared", "degrees", "sequences")


def compared(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """`groups` with the paired differences to each of `PARTNERS` and the corrected tests of the registered family.

    `registered`: the group is a method's pick at the ratio that was fixed in advance. `collapsed`: its validation
    accuracy is that of guessing, see `has_collapsed`.
    """
    groups = groups.copy()
    groups["collapsed"] = has_collapsed(groups, gathered)
    chosen = selected(groups)
    groups["registered"] = groups.index.isin(chosen.index[chosen["registered"] & ~chosen["control"].astype(bool)])
    scores = [Scores.of(gathered, group) for group in rows_of(groups[GROUP])]
    for name, partners in PARTNERS.items():
        partner = partners(groups)
        pairs = _paired_differences(scores, partner)
        groups[f"{name}_group"] = partner
        groups = groups.join(_corrected(groups, pairs).add_prefix(f"{name}_"))
    return groups


def _paired_differences(scores: list[Scores], partner: pd.Series) -> pd.DataFrame:
    """Test accuracy minus the partner group's (columns SPREAD), paired by seed and, if all records hold their
    predictions, by test sequence. Seeds that only one of the two finished are left out: n can be smaller than either
    number of seeds."""
    spreads = [
        scores[index].minus(scores[int(other)]) if other == other else over_seeds(np.empty(0))
        for index, other in enumerate(partner)
    ]
    lines = [(s.n, s.mean, s.half, s.p, s.covers if s.n else "", s.error, s.per_seed, s.shared, s.degrees, s.sequences)
             for s in spreads]  # fmt: skip
    return pd.DataFrame(lines, columns=list(SPREAD), index=partner.index)


@dataclass(frozen=True)
class Scores:
    """What a group's finished runs scored on the test part."""

    seeds: np.ndarray
    test: np.ndarray  # (seeds,)
    one_sequence: float
    answers: Answers | None

    @classmethod
    def of(cls, gathered: Gathered, group: dict[str, Any]) -> Scores:
        places = gathered.places_of(group)
        seeds, test, size, paths = (gathered.runs[name].to_numpy()[places] for name in
                                    ("seed", "test", "test_size", "path"))  # fmt: skip
        known = size[size > 0]
        return cls(seeds, test, 1 / known.min() if len(known) else 0.0, gathered.correct(paths))

    def minus(self, other: Scores) -> Spread:
        """The difference to another group, over the seeds of both."""
        _, mine, theirs = np.intersect1d(self.seeds, other.seeds, return_indices=True)
        both = [self.answers, other.answers]
        if len(mine) and same_test_part(both):
            return over_both(both[0].right[mine].astype(np.int8) - both[1].right[theirs], groups_of(both))
        return over_seeds(self.test[mine] - other.test[theirs], self.one_sequence)


def has_collapsed(groups: pd.DataFrame, gathered: Gathered) -> pd.Series:
    """Whether a group's mean validation accuracy has come less than a tenth of the way from guessing to the dense model
    of its task and protocol. Guessing is to answer the most frequent class of the test part each time."""
    places = pd.MultiIndex.from_frame(groups[["task", "protocol"]])
    dense = ranked(groups[groups["method"].isin(DENSE)]).drop_duplicates(["task", "protocol"])
    best = dense.set_index(["task", "protocol"])["validation_accuracy_mean"].reindex(places).fillna(1.0).to_numpy()
    guess = groups["task"].map(
        {task: guessing(gathered.runs[gathered.runs["task"] == task]) for task in gathered.tasks}
    )
    return groups["validation_accuracy_mean"] < guess + COLLAPSED * (best - guess)


def guessing(runs: pd.DataFrame) -> float:
    """The share of the most frequent class in the test part; missing if no run recorded a confusion matrix."""
    for confusion in runs["confusion"]:
        if confusion and (total := sum(map(sum, confusion))):
            return max(map(sum, confusion)) / total
    return float("nan")


def _corrected(groups: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with Holm's correction over methods and tasks, and with what each could have found."""
    family = groups["registered"] & ~groups["collapsed"]
    tested = pairs.index[family & (pairs["n"] >= VERDICT_SEEDS)]
    sizes = groups[family & (pairs["n"] >= ENOUGH_SEEDS)].groupby("protocol").size()
    level = (1 - LEVEL) / groups["protocol"].map(sizes).where(family, 1).clip(lower=1)
    pairs["p_holm"] = pairs["p"].loc[tested].groupby(groups["protocol"]).transform(holm).reindex(pairs.index)
    pairs["level"] = level.where(pairs["n"] >= ENOUGH_SEEDS)
    with np.errstate(invalid="ignore"):
        pairs["detectable"] = detectable(pairs["error"], pairs["degrees"], pairs["level"])
    pairs["seeds_needed"] = np.nan
    for index, pair in pairs[groups["registered"] & pairs["level"].notna()].iterrows():
        of = (pair["per_seed"], pair["shared"], pair["sequences"], pair["level"])
        pairs.loc[index, "seeds_needed"] = seeds_needed(*of)
    return pairs[[name for name in COMPARED if name != "group"]]


def holm(p: pd.Series) -> pd.Series:
    """Holm's step-down correction of the p values of one family (missing ones are no part of it)."""
    given = p.dropna()
    if given.empty:
        return p.astype(float)
    from statsmodels.stats.multitest import multipletests  # takes more than a second: only if there is a test

    return pd.Series(multipletests(given, method="holm")[1], given.index).reindex(p.index)
