"""Learning rules held against exact gradients on the same network: what the page of the form `rules` shows.

A rule is a setting of a method that compresses nothing (methods/skip_sideways.py). Its partner is the run group that
differs from it in the rule alone, and in the settings that only the rule has.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.rows import rows_of
from squeezebench.report.statistics.compare import Scores, holm
from squeezebench.report.statistics.groups import leading_protocol
from squeezebench.report.statistics.power import detectable
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS

EXACT = {"exact": "backpropagation", "tick": "backpropagation_per_tick"}  # partner -> its rule
OWN = ("rule", "slower", "flush", "exact_epochs")  # settings in which a rule may differ from its partner
COLUMNS = ("n", "difference", "half_width", "p", "p_holm", "detectable")  # for each partner


def compared_rules(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """The finished run groups of methods with a setting `rule`, with `rule`, `rule_label` and the paired difference of
    the test accuracy to each partner of EXACT: `exact_difference`, ... Partners have no difference to themselves.

    p_holm: corrected over all comparisons of rules with one kind of partner. detectable: at the level that is corrected
    for their number.
    """
    groups = leading_protocol(groups[groups["ok"] > 0])
    settings = groups["settings"].map(json.loads)
    groups = groups.loc[settings.map(lambda values: "rule" in values).astype(bool)]
    settings = settings[groups.index]
    rules = groups.assign(
        rule=[values["rule"] for values in settings], rule_label=[rule_label(values) for values in settings],
        network=[json.dumps({k: v for k, v in values.items() if k not in OWN}, sort_keys=True) for values in settings],
    )  # fmt: skip
    twice = rules.duplicated(["task", "rule_label"], keep=False)
    rules.loc[twice, "rule_label"] += " (" + rules["settings_label"] + ")"
    scores = {index: Scores.of(gathered, group) for index, group in rules.iterrows()}
    for name, rule in EXACT.items():
        rules = rules.join(_differences(rules, scores, rule).add_prefix(f"{name}_"))
    return rules


def _differences(rules: pd.DataFrame, scores: dict[int, Scores], rule: str) -> pd.DataFrame:
    """COLUMNS of each group against the group of its network that is trained by `rule`."""
    keys, exact = pd.MultiIndex.from_frame(rules[["task", "protocol", "method", "network"]]), rules["rule"] == rule
    partners = dict(zip(keys[exact], rules.index[exact], strict=True))
    lines = {}
    for index, key in zip(rules.index, keys, strict=True):
        partner = partners.get(key, index)
        if partner != index:
            spread = scores[index].minus(scores[partner])
            lines[index] = (spread.n, spread.mean, spread.half, spread.p, spread.error, spread.degrees)
    frame = pd.DataFrame.from_dict(lines, orient="index", columns=[*COLUMNS[:4], "error", "degrees"], dtype=float)
    frame = frame.reindex(rules.index)
    tested = (rules["rule"] == "sideways") & (frame["n"] >= VERDICT_SEEDS)
    frame["p_holm"] = holm(frame["p"].where(tested)).reindex(rules.index)
    level = (1 - LEVEL) / max(1, int(tested.sum()))
    with np.errstate(invalid="ignore"):
        frame["detectable"] = detectable(frame["error"], frame["degrees"], level)
    return frame[list(COLUMNS)]


def rule_label(settings: dict[str, Any]) -> str:
    """The name of a rule as the papers have it, with its shortcuts and with what is not the paper's."""
    shortcuts = settings.get("shortcuts", "none")
    names = {"backpropagation": "BP", "backpropagation_per_tick": "BP per tick",
             "sideways": "Sideways" if shortcuts == "none" else "Skip-Sideways"}  # fmt: skip
    label = names.get(settings["rule"], str(settings["rule"])) + ("" if shortcuts == "none" else f", {shortcuts}")
    if settings.get("exact_epochs"):
        label += f", {formats.plural(settings['exact_epochs'], 'epoch')} of BP first"
    if settings["rule"] == "sideways" and settings.get("slower", 1) != 1:
        label += f", slower {settings['slower']:g}"
    if settings.get("flush") == "drop":
        label += ", no pause"
    return formats.clean(label)


def rule_sentences(task: str, rules: pd.DataFrame, words: dict[str, str]) -> list[tuple[str, bool]]:
    """A sentence on each rule of a task that is not exact, with whether it is settled: its accuracy, its differences to
    exact gradients, and the verdict on the first of them."""
    here = rules[(rules["task"] == task) & ~rules["rule"].isin(EXACT.values())]
    sentences = []
    for row in rows_of(here):
        parts = [
            words[name].format(points=formats.points_interval(row[f"{name}_difference"], row[f"{name}_half_width"]))
            if row[f"{name}_n"] >= ENOUGH_SEEDS else words[f"{name}_few"]
            for name in EXACT if row[f"{name}_n"] > 0
        ]  # fmt: skip
        known, verdict = _verdict(row, words)
        accuracy = formats.percent_interval(row["test_accuracy_mean"], row["test_accuracy_half_width"])
        seeds = formats.plural(int(row["ok"]), "seed")
        said = words["rule"].format(rule=row["rule_label"], accuracy=accuracy, seeds=seeds)
        sentences.append((" ".join([said, *parts, verdict]).strip(), known))
    return sentences


def _verdict(row: dict[str, Any], words: dict[str, str]) -> tuple[bool, str]:
    """Whether the difference to exact gradients with the rule's own batch norm (else to plain ones) is settled."""
    name = "tick" if row["tick_n"] > 0 else "exact"
    if not row[f"{name}_n"] > 0:
        return False, words["no_partner"]
    if row[f"{name}_n"] < VERDICT_SEEDS:
        return False, words["few"]
    if row[f"{name}_p_holm"] < 1 - LEVEL:
        return True, words["above" if row[f"{name}_difference"] > 0 else "below"]
    return False, words["undecided"].format(detectable=formats.points(row[f"{name}_detectable"]).lstrip("+"))
