"""Plain-words statements per task, computed from the groups. The sentences are in `report/captions.yaml`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.sizes import DENSE, SMALLER, Rule, of_row, rule_of
from squeezebench.report.statistics.groups import leading_protocol
from squeezebench.report.statistics.power import LITTLE_POWER, NEAR, why_undecided
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS
from squeezebench.report.words import captions

MARGIN = 0.01  # "within one point of dense"


@dataclass(frozen=True)
class Headline:
    """One statement; `kind` is what it is about, `settled` is False where the data do not decide it."""

    kind: str
    text: str
    settled: bool = True


def headlines(task: str, groups: pd.DataFrame, chosen: pd.DataFrame) -> list[Headline]:
    """What can be said of one task, by its sound runs if it has any.

    `groups` is every compared group, `chosen` the settings picked on validation.
    """
    here = leading_protocol(groups[(groups["task"] == task) & (groups["ok"] > 0)])
    rule = rule_of(here)
    words = captions(rule.name)["headlines"]
    chosen = chosen.loc[chosen.index.isin(here.index)]
    if here.empty:
        return [Headline("reference", words["nothing"], settled=False)]
    lines = []
    dense = here[here["method"].isin(DENSE)].sort_values("validation_accuracy_mean", ascending=False)
    if dense.empty:
        lines.append(Headline("reference", words["no_dense"], settled=False))
    else:
        lines.append(_reference(dense.iloc[0]))
        lines += _at_ratio(here, chosen, words)
        lines += _smallest_within(here, dense.iloc[0], words)
    family = groups[groups["protocol"].isin(here["protocol"])]
    lines += _equal_size(here, int(family["small_p_holm"].notna().sum()), rule)
    lines += _best_control(here, int(family["control_p_holm"].notna().sum()), rule)
    return lines + _collapsed(here, rule)


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
    seeds = formats.plural(n, "paired seed")
    if n < ENOUGH_SEEDS:
        return words["not_enough_seeds"].format(n=seeds), False
    difference = formats.points_interval(mean, half)
    if n < VERDICT_SEEDS:
        return words["no_verdict"].format(n=seeds, difference=difference), False
    if mean - half > 0:
        key = "above"
    elif mean - half >= -MARGIN:
        key = "within"
    elif mean + half < -MARGIN:
        key = "below"
    else:
        key = why_undecided(group["dense_detectable"], MARGIN)
    said = words[key].format(difference=difference, detectable=formats.points(group["dense_detectable"]).lstrip("+"))
    return said, key not in (LITTLE_POWER, NEAR)


def _at_ratio(here: pd.DataFrame, chosen: pd.DataFrame, words: dict[str, str]) -> list[Headline]:
    """The best picked setting at the registered ratio, best by validation."""
    able = chosen[chosen["registered"]]
    at = formats.ratio_tick(here["compare_at"].iloc[0])
    if able.empty:
        return [Headline("at_ratio", words["none_at_ratio"].format(at=at), settled=False)]
    best = here.loc[able["validation_accuracy_mean"].idxmax()]
    verdict, settled = within(best)
    text = words["at_ratio"].format(**_facts(best), verdict=verdict, at=at)
    return [Headline("at_ratio", text, settled)]


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


def _equal_size(here: pd.DataFrame, comparisons: int, rule: Rule) -> list[Headline]:
    """Whether any method beats a small dense model of its size at the registered ratio. The tests are corrected for all
    `comparisons` of the experiment, methods x tasks."""
    words = captions(rule.name)["equal_size"]
    methods = here[~here["control"].astype(bool) & ~here["method"].isin([*DENSE, *SMALLER])]
    if methods.empty:
        return []
    if not here["method"].isin(SMALLER).any():
        return [Headline("equal_size", words["no_control"], settled=False)]
    at = formats.ratio_tick(here["compare_at"].iloc[0])
    reach = methods[methods["registered"] & ~methods["collapsed"]]
    if reach.empty:
        return [Headline("equal_size", words["none_reaches"].format(at=at), settled=False)]
    family = reach[reach["small_group"].notna()]
    able, tested = family[family["small_n"] >= ENOUGH_SEEDS], family[family["small_p_holm"].notna()]
    if tested.empty:
        key = "none_comparable" if family.empty else "no_verdict" if len(able) else "not_enough_seeds"
        seeds = formats.plural(int(family["small_n"].max()), "seed") if len(family) else ""
        return [Headline("equal_size", words[key].format(at=at, n=seeds, power=_power(able)), settled=False)]
    return [_compared("equal_size", "small", tested, words, {"comparisons": comparisons, "at": at})]


def _best_control(here: pd.DataFrame, comparisons: int, rule: Rule) -> list[Headline]:
    """Whether any method beats the best control on validation (see `picks.py`) at the registered ratio. Nothing
    if that is the small dense model for all of them, or if no test was possible."""
    family = here[here["registered"] & ~here["control"].astype(bool) & ~here["collapsed"]]
    tested = family[family["control_p_holm"].notna()]
    if (tested["control_group"] == tested["small_group"]).all():  # of none too
        return []
    partners = here.loc[tested["control_group"].astype(int)]
    named = [f"{row['method_label']}, {of_row(row).ratio(row['ratio_size'])}" for _, row in partners.iterrows()]
    controls = "; ".join(dict.fromkeys(named))
    facts = {"comparisons": comparisons, "at": formats.ratio_tick(here["compare_at"].iloc[0]), "controls": controls}
    return [_compared("best_control", "control", tested, captions(rule.name)["best_control"], facts)]


def _compared(kind: str, partner: str, tested: pd.DataFrame, words: dict[str, str], facts: dict[str, Any]) -> Headline:
    """What the corrected tests against one partner show, of the groups `tested`."""
    difference, certain = tested[f"{partner}_difference"], tested[f"{partner}_p_holm"] < 1 - LEVEL
    sure, worse = tested[certain & (difference > 0)], tested[certain & (difference < 0)]
    likely = tested[difference - tested[f"{partner}_half_width"] > 0]
    facts |= {
        "comparisons": formats.plural(facts["comparisons"], "comparison"),
        "power": _power(tested, partner),
        "worse": words["worse"].format(list=_listed(worse, partner)) if len(worse) else "",
    }
    if len(sure):
        return Headline(kind, words["beaten"].format(**facts, list=_listed(sure, partner)))
    key = "uncorrected" if len(likely) else "not_beaten"
    return Headline(kind, words[key].format(**facts, list=_listed(likely, partner)), settled=False)


def _power(tested: pd.DataFrame, partner: str = "small") -> str:
    """What the comparisons with a partner could have found, and the seeds that one point needs."""
    if tested.empty:
        return ""
    words = captions()["power"]
    smallest, seeds = tested[f"{partner}_detectable"], tested[f"{partner}_seeds_needed"]
    ends = [formats.points(value).lstrip("+") for value in (smallest.min(), smallest.max())]
    text = words["detectable"].format(points=" to ".join(dict.fromkeys(ends)))
    most = seeds[seeds < math.inf]
    if len(most):
        needed = [f"{most.min():,.0f}", f"{most.max():,.0f}"]
        text += words["seeds"].format(seeds=" to ".join(dict.fromkeys(needed)))
    if (without := int((seeds == math.inf).sum())) > 0:
        text += words["sequences"].format(n=without, of=len(seeds))
    return f"{text}."


def _collapsed(here: pd.DataFrame, rule: Rule) -> list[Headline]:
    """The methods that are no part of the comparison because their networks have collapsed."""
    gone = here[here["registered"] & here["collapsed"]]
    if gone.empty:
        return []
    listed = "; ".join(
        f"{group['method_label']} ({formats.percent(group['validation_accuracy_mean'])} on validation)"
        for _, group in gone.iterrows()
    )
    at = formats.ratio_tick(here["compare_at"].iloc[0])
    return [Headline("collapsed", captions(rule.name)["equal_size"]["collapsed"].format(at=at, list=listed))]


def _listed(groups: pd.DataFrame, partner: str) -> str:
    """`VIB-LSTM at 33.2× (+1.2 [0.3, 2.1])`, the best setting of each method."""
    best = groups.sort_values(f"{partner}_difference", ascending=False).drop_duplicates("method_label")
    return "; ".join(
        f"{group['method_label']} at {of_row(group).ratio(group['ratio_size'])}"
        f" ({formats.points_interval(group[f'{partner}_difference'], group[f'{partner}_half_width'])})"
        for _, group in best.iterrows()
    )
