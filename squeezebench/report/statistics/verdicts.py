"""Plain-words statements per task, computed from the groups. The sentences are in `report/captions.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.sizes import DENSE, SMALLER, Rule, of_row, rule_of
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, leading_protocol
from squeezebench.report.words import captions

MARGIN = 0.01  # "within one point of dense"
RATIO = 10.0


@dataclass(frozen=True)
class Headline:
    """One statement; `kind` is what it is about, `settled` is False where the data do not decide it. `short`: the same
    in a few words, for the first screen."""

    kind: str
    text: str
    settled: bool = True
    short: str = ""


def headlines(task: str, groups: pd.DataFrame, chosen: pd.DataFrame) -> list[Headline]:
    """What can be said of one task, by its sound runs where it has any.

    `groups` is every compared group, `chosen` the settings picked on validation.
    """
    here = leading_protocol(groups[(groups["task"] == task) & (groups["ok"] > 0)])
    rule = rule_of(here)
    words = captions(rule.name)["headlines"]
    chosen = chosen.loc[chosen.index.isin(here.index)]
    if here.empty:
        return [Headline("reference", words["nothing"], settled=False)]
    found = []
    dense = here[here["method"].isin(DENSE)].sort_values("validation_accuracy_mean", ascending=False)
    if dense.empty:
        found.append(Headline("reference", words["no_dense"], settled=False))
    else:
        found.append(_reference(dense.iloc[0]))
        found += _at_ratio(here, chosen, words)
        found += _smallest_within(here, dense.iloc[0], words)
    found += _equal_size(here, chosen, rule)
    return found


def _facts(group: pd.Series) -> dict[str, str]:
    """The words every sentence about a group may use."""
    kind = " (a control)" if group["control"] and group["method"] not in DENSE else ""
    released = ", as released" if group["protocol"] == "as_released" else ""
    label = "" if group["settings_label"] == "defaults" else f" with {group['settings_label']}"
    accuracy = formats.percent_interval(group["test_accuracy_mean"], group["test_accuracy_half_width"])
    if group["ok"] < ENOUGH_SEEDS:
        accuracy = f"{formats.percent(group['test_accuracy_mean'])} (not enough seeds for an interval)"
    return {
        "method": f"{group['method_label']}{kind}{released}",
        "settings": label,
        "accuracy": accuracy,
        "seeds": formats.plural(int(group["ok"]), "seed"),
        "parameters": formats.count(group["size_mean"]),
        "ratio": of_row(group).ratio(group["ratio_size"]),
    }


def _reference(dense: pd.Series) -> Headline:
    return Headline("reference", captions(of_row(dense).name)["headlines"]["reference"].format(**_facts(dense)))


def within(group: pd.Series) -> tuple[str, bool]:
    """Whether a group is within one point of dense, in words, and whether its interval settles it."""
    words = captions()["within"]
    n, mean, half = int(group["dense_n"]), group["dense_difference"], group["dense_half_width"]
    if n < ENOUGH_SEEDS:
        return words["not_enough_seeds"].format(n=formats.plural(n, "paired seed")), False
    difference = formats.points_interval(mean, half)
    if mean - half > 0:
        key = "above"
    elif mean - half >= -MARGIN:
        key = "within"
    elif mean + half < -MARGIN:
        key = "below"
    else:
        key = "undecided_within" if mean >= -MARGIN else "undecided_below"
    return words[key].format(difference=difference), not key.startswith("undecided")


def _at_ratio(here: pd.DataFrame, chosen: pd.DataFrame, words: dict[str, str]) -> list[Headline]:
    """The best picked setting at ten times or more, best by validation."""
    able = chosen[chosen["bracket"] == RATIO]
    if able.empty:
        return [Headline("at_ratio", words["none_at_ratio"], settled=False)]
    best = here.loc[able["validation_accuracy_mean"].idxmax()]
    verdict, settled = within(best)
    text = words["at_ratio"].format(**_facts(best), verdict=verdict)
    return [Headline("at_ratio", text, settled, _shortly(best))]


def _shortly(best: pd.Series) -> str:
    """`VIB-LSTM, 15.2x: -2.7 [-6.2, +0.7] points to dense`"""
    n, facts = int(best["dense_n"]), _facts(best)
    points = formats.points_interval(best["dense_difference"], best["dense_half_width"])
    key = "at_ratio" if n >= ENOUGH_SEEDS else "few_seeds"
    return captions()["short"][key].format(method=facts["method"], ratio=facts["ratio"], points=points)


def _smallest_within(here: pd.DataFrame, dense: pd.Series, words: dict[str, str]) -> list[Headline]:
    """The smallest group that is within one point of dense on validation; then its test accuracy."""
    most = min(ENOUGH_SEEDS, int(here["ok"].max()))
    ratio = here["ratio_size"]
    able = here[(ratio > 1) & (ratio < math.inf) & (here["ok"] >= most)]
    able = able[able["protocol"] == dense["protocol"]]
    able = able[able["validation_accuracy_mean"] >= dense["validation_accuracy_mean"] - MARGIN]
    if able.empty:
        return [Headline("smallest", words["none_smallest"])]
    smallest = able.loc[able["ratio_size"].idxmax()]
    verdict, settled = within(smallest)
    return [Headline("smallest", words["smallest"].format(**_facts(smallest), verdict=verdict), settled)]


def _equal_size(here: pd.DataFrame, chosen: pd.DataFrame, rule: Rule) -> list[Headline]:
    """Whether any method beats a small dense model of equal or larger size, corrected for many questions."""
    words, short = captions(rule.name)["equal_size"], captions(rule.name)["short"]
    methods = here[~here["control"].astype(bool) & ~here["method"].isin([*DENSE, *SMALLER])]
    if methods.empty:
        return []
    if not here["method"].isin(SMALLER).any():
        return [Headline("equal_size", words["no_control"], settled=False)]
    picked = methods[methods.index.isin(chosen.index) & methods["small_group"].notna()]
    tested = picked[picked["small_n"] >= ENOUGH_SEEDS]
    if tested.empty:
        key = "none_comparable" if picked.empty else "not_enough_seeds"
        return [Headline("equal_size", words[key], settled=False)]
    facts = {"comparisons": formats.plural(len(tested), "comparison")}
    sure = tested[(tested["small_p_holm"] < 0.05) & (tested["small_difference"] > 0)]
    worse = tested[(tested["small_p_holm"] < 0.05) & (tested["small_difference"] < 0)]
    likely = tested[tested["small_difference"] - tested["small_half_width"] > 0]
    if len(sure):
        said = short["beaten"].format(list=_listed(sure, points=False))
        return [Headline("equal_size", words["beaten"].format(**facts, list=_listed(sure)), short=said)]
    if len(likely):
        text = words["uncorrected"].format(**facts, list=_listed(likely))
        return [Headline("equal_size", text, settled=False, short=short["uncorrected"])]
    facts["worse"] = words["worse"].format(list=_listed(worse)) if len(worse) else ""
    return [Headline("equal_size", words["not_beaten"].format(**facts), settled=False, short=short["not_beaten"])]


def _listed(groups: pd.DataFrame, points: bool = True) -> str:
    """`VIB-LSTM at 33.2× (+1.2 [0.3, 2.1])`, the best setting of each method; without `points` no brackets."""
    best = groups.sort_values("small_difference", ascending=False).drop_duplicates("method_label")
    return "; ".join(
        f"{group['method_label']} at {of_row(group).ratio(group['ratio_size'])}"
        + (f" ({formats.points_interval(group['small_difference'], group['small_half_width'])})" if points else "")
        for _, group in best.iterrows()
    )
