"""One sentence on each task with its numbers: the best method at the registered ratio, and what it is held against."""

from __future__ import annotations

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.ranking import ranking
from squeezebench.report.results import PROTOCOLS, Results
from squeezebench.report.sizes import DENSE, SMALLER, of_row, rule_of
from squeezebench.report.statistics.picks import SAME_SIZE
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS, over_seeds
from squeezebench.report.words import captions


def headline(task: str, results: Results) -> str:
    """The method is the one that is best on validation; its numbers are those of the test part."""
    standings, here = ranking(results, task), results.of(task)
    words = captions(rule_of(here).name)["headline"]
    at = formats.ratio_tick(standings.at)
    if not (here["ok"] > 0).any():
        return words["nothing"]
    able = standings.groups[~standings.groups["collapsed"].astype(bool)]
    methods = able[~able["control"].astype(bool) & ~able["method"].isin(SMALLER)]
    if methods.empty:
        return words["none"].format(at=at)
    best = _best(methods)
    small = _compared(best, "small", words, _small(best, here, words))
    compared = [_compared(best, "dense", words, words["dense"]), small]
    said = words["best"].format(
        at=at, **_named(best), accuracy=_accuracy(best),
        compared=" and ".join(filter(None, compared)) or words["alone"], verdict=_verdict(best, words),
    )  # fmt: skip
    controls = able[able["control"].astype(bool)]
    return said + _best_control(best, here, words, at) + _better_control(best, controls, words)


def _best(groups: pd.DataFrame) -> pd.Series:
    """The best on validation, of equals the first in the order of the tables: a ranking's own order reads the test."""
    return groups.loc[groups["validation_accuracy_mean"].sort_index().idxmax()]


def _accuracy(group: pd.Series) -> str:
    """`95.1 % [94.0, 96.2]`; of too few seeds without an interval."""
    mean, half = group["test_accuracy_mean"], group["test_accuracy_half_width"]
    if formats.absent(half) or group["ok"] < ENOUGH_SEEDS:
        return formats.percent(mean)
    low, high = (f"{100 * min(max(end, 0.0), 1.0):.1f}" for end in (mean - half, mean + half))
    return f"{formats.percent(mean)} [{low}, {high}]"


def _named(group: pd.Series) -> dict[str, str]:
    method = f"{group['method_label']}{PROTOCOLS[group['protocol']]}"
    return {"method": method, "ratio": of_row(group).ratio(group["ratio_size"])}


def _small(best: pd.Series, groups: pd.DataFrame, words: dict) -> str:
    """What the small dense model is called: of equal size, or the next larger one that was run."""
    if formats.absent(best["small_group"]):
        return words["small"]
    small = groups.loc[int(best["small_group"])]
    larger = small["size_mean"] > best["size_mean"] * SAME_SIZE
    return words["larger_small"].format(**_named(small)) if larger else words["small"]


def _compared(best: pd.Series, which: str, words: dict, other: str) -> str:
    """`1.2 points below dense [−2.4, 0.0]`; empty if there is no partner. other: what the partner is called."""
    mean, half, n = (best[f"{which}_{part}"] for part in ("difference", "half_width", "n"))
    if not n or formats.absent(mean):
        return ""
    rounded = formats.points(mean).strip("+−-") == "0.0"
    certain = n >= ENOUGH_SEEDS and abs(mean) > half
    side = words["equal"] if rounded and not certain else words["above" if mean > 0 else "below"]
    points = words["little"] if rounded else formats.points(abs(mean)).lstrip("+")
    interval = f" [{formats.points(mean - half)}, {formats.points(mean + half)}]" if n >= ENOUGH_SEEDS else ""
    return side.format(points=points, other=other) + interval


def _verdict(best: pd.Series, words: dict) -> str:
    """What the comparison with a small dense model of equal size shows, if it can show anything."""
    if not formats.absent(best.get("folds")):
        kind = "folds" if best["folds"] >= ENOUGH_SEEDS else "two_folds"
        return words[kind].format(folds=formats.plural(int(best["folds"]), "fold"))
    n, p = int(best["small_n"]), best["small_p_holm"]
    if formats.absent(best["small_group"]):
        return words["no_small"]
    if n < VERDICT_SEEDS:
        return words["few"].format(seeds=formats.plural(n, "seed"), carry="carries" if n == 1 else "carry")
    if p < 1 - LEVEL:
        return words["better" if best["small_difference"] > 0 else "worse"]
    return words["undecided"].format(detectable=formats.points(best["small_detectable"]).lstrip("+"))


def _best_control(best: pd.Series, groups: pd.DataFrame, words: dict, at: str) -> str:
    """The comparison with the best control on validation (see `picks.py`); empty if there is none, or if it is the
    small dense model, with which the method is compared already."""
    if not formats.absent(best.get("folds")):
        same = best["control_difference"] == best["small_difference"]
        compared = "" if same else _compared(best, "control", words, words["of_folds"])
        return " " + words["beside_folds"].format(compared=compared, at=at) if compared else ""
    if formats.absent(best["control_group"]) or best["control_group"] == best["small_group"]:
        return ""
    label = "{method} ({ratio})".format(**_named(groups.loc[int(best["control_group"])]))
    compared = _compared(best, "control", words, label)
    if not compared:
        return ""
    n, verdict = int(best["control_n"]), ""
    if n >= VERDICT_SEEDS:
        side = "better" if best["control_difference"] > 0 else "worse"
        kind = side if best["control_p_holm"] < 1 - LEVEL else "undecided"
        detectable = formats.points(best["control_detectable"]).lstrip("+")
        verdict = words[f"control_{kind}"].format(detectable=detectable)
    elif formats.absent(best["small_group"]) or best["small_n"] >= VERDICT_SEEDS:  # else it is said already
        verdict = "; " + words["few"].format(seeds=formats.plural(n, "seed"), carry="carries" if n == 1 else "carry")
    return " " + words["beside"].format(compared=compared, at=at, verdict=verdict)


def _better_control(best: pd.Series, controls: pd.DataFrame, words: dict) -> str:
    """Names the control that is better on validation than the best method, if there is one and nothing is said of it
    yet: a larger one, at the same ratio of another count."""
    able = controls[controls["validation_accuracy_mean"].notna()]
    if able.empty:
        return ""
    control = _best(able)
    said = control.name == best["control_group"] != best["small_group"] and best["control_n"] > 0
    if said or control["validation_accuracy_mean"] <= best["validation_accuracy_mean"]:
        return ""
    return " " + words["control"].format(**_named(control), accuracy=_accuracy(control))


def on_training_part(task: str, results: Results) -> str:
    """Training accuracy of the best method beside that of the small dense model it is held against; empty if the
    records do not hold both."""
    standings = ranking(results, task)
    methods = standings.groups[~standings.groups["control"].astype(bool) & ~standings.groups["collapsed"].astype(bool)]
    if methods.empty:
        return ""
    best = _best(methods)
    if formats.absent(best["small_group"]):
        return ""
    small = results.groups.loc[int(best["small_group"])]
    both = [group["train_accuracy_mean"] for group in (best, small)]
    if any(map(formats.absent, both)):
        return ""
    words = captions(of_row(best).name)["headline"]
    gap = [group["train_accuracy_mean"] - group["test_accuracy_mean"] for group in (best, small)]
    return words["training"].format(
        method=best["method_label"], own=formats.percent(both[0]), own_gap=formats.points(gap[0]).lstrip("+"),
        small=words["small"], other=formats.percent(both[1]), other_gap=formats.points(gap[1]).lstrip("+"),
    )  # fmt: skip


def validation_above_test(task: str, results: Results) -> str:
    """A warning if validation accuracies of the dense model are above its test accuracies for certain, by a point or
    more: settings are picked by them."""
    runs = results.gathered.runs
    runs = runs[(runs["task"] == task) & (runs["status"] == "ok") & runs["method"].isin(DENSE)]
    runs = runs[runs["protocol"] == runs["protocol"].max()]  # "sound" if there is any
    gap = (runs["validation"] - runs["test"]).groupby(runs["seed"]).mean().dropna().to_numpy()  # of an LSTM and a GRU
    if len(gap) < ENOUGH_SEEDS:
        return ""
    spread = over_seeds(gap, float(np.nanmin(1 / runs["test_size"])) if runs["test_size"].notna().any() else 0.0)
    if spread.mean < 0.01 or spread.mean - spread.half <= 0:
        return ""
    interval = f"[{formats.points(spread.mean - spread.half)}, {formats.points(spread.mean + spread.half)}]"
    return captions()["headline"]["validation"].format(
        points=formats.points(spread.mean).lstrip("+"), interval=interval, seeds=formats.plural(spread.n, "seed")
    )
