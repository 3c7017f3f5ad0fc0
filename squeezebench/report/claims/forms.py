"""The comparisons that a claim can be made of.

Settings are picked on validation; test accuracies and sizes are compared (see `outcome.py` for the verdicts).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.claims import file as files
from squeezebench.report.claims.outcome import (
    CONTRADICTED,
    NOT_TESTABLE,
    SUPPORTED,
    UNDECIDED,
    NotTestable,
    Outcome,
    asked,
    decide,
    judge,
    of_points,
    of_ratio,
    times,
)
from squeezebench.report.claims.runs import (
    Case,
    Terms,
    accuracy,
    held_out,
    largest_ratio,
    log_ratio,
    pairs,
    picked,
    points,
)
from squeezebench.report.paper.match import Pick, swept
from squeezebench.report.statistics.picks import SAME_SIZE, ranked
from squeezebench.report.statistics.power import NEAR
from squeezebench.report.statistics.spread import LEVEL, over_seeds, unpaired
from squeezebench.schema.inference import Comparison, Model


def evaluate(check: files.Check, case: Case) -> Outcome:
    """One comparison on one task."""
    try:
        return _FORMS[type(check)](check, case)
    except NotTestable as reason:
        return Outcome(NOT_TESTABLE, why=reason.why, takes=reason.takes)


def _ratio(check: files.RatioCheck, case: Case) -> Outcome:
    if check.paired:
        terms, words = _mean_of_pairs(pairs(check.of, check.over, case, given=True))
        return of_ratio(log_ratio(terms, case), *_limits(check), words)
    prescribed = check.about is not None  # a given size shows nothing about a figure of the paper
    chosen = [(check.of, *picked(check.of, case, prescribed))]
    if check.over is not None:
        chosen.append((check.over, *picked(check.over, case)))
    for group, pick, _ in chosen:
        if group.pick == "smallest" and not pick.within:
            raise NotTestable(
                f"no setting of {group.of.method} is within 1 point of dense on validation",
                f"settings of {group.of.method} that compress less",
            )
    terms = list(zip((1.0, -1.0), [pick.group for _, pick, _ in chosen], strict=False))
    outcome = of_ratio(log_ratio(terms, case), *_limits(check), tuple(name for *_, name in chosen))
    return _could_differ(check, outcome, [pick for _, pick, _ in chosen], case)


def _mean_of_pairs(both: list[tuple[pd.Series, pd.Series]]) -> tuple[Terms, tuple[str]]:
    """The mean difference of the two sides of all pairs as weighted groups, and what it is of in words."""
    share = 1 / len(both)
    terms = [(side, group) for pair in both for side, group in zip((share, -share), pair, strict=True)]
    return terms, (f"{formats.plural(len(both), 'pair')} of settings",)


def _limits(check: files.RatioCheck) -> tuple[dict[str, float | None], str]:
    """Bounds of a ratio, and in words."""
    if check.about:
        value, factor = check.about.value, check.about.factor
        return {"at_least": value / factor, "at_most": value * factor}, f"{times(value)} within a factor of {factor:g}"
    bounds = {"at_least": check.at_least, "more_than": check.more_than}
    return bounds, asked(bounds, times)


def _could_differ(check: files.RatioCheck, outcome: Outcome, picks: list[Pick], case: Case) -> Outcome:
    """The outcome, unless the grid or the size of the network has decided it: the smallest setting of a grid gives a
    lower bound of what its method can reach, and no method can leave less than the smallest LSTM."""
    of, over = picks[0], picks[1] if len(picks) > 1 else None
    bound = check.at_least or check.more_than
    if outcome.verdict in (CONTRADICTED, UNDECIDED) and bound:
        needed = bound * (over.group["ratio_size"] if over else 1)
        most, smallest = largest_ratio(of.group, case)
        if needed > most:
            why = (f"{formats.ratio(needed)} would leave less than an LSTM of {smallest}, which is "
                   f"{formats.ratio(most)} smaller than this network")  # fmt: skip
            return replace(outcome, verdict=NOT_TESTABLE, why=why, takes="a larger network")
    if outcome.verdict == CONTRADICTED and of.last and outcome.high < (bound or check.about.value):
        why = f"the smallest setting of {check.of.of.method} is still within 1 point of dense on validation"
        return replace(outcome, verdict=NOT_TESTABLE, why=why, takes=f"smaller settings of {check.of.of.method}")
    if outcome.verdict == SUPPORTED and over and over.last and over.settings > 1:
        why = f"the smallest setting of {check.over.of.method} is still within 1 point of dense on validation"
        return replace(outcome, verdict=NOT_TESTABLE, why=why, takes=f"smaller settings of {check.over.of.method}")
    return outcome


def _difference(check: files.DifferenceCheck, case: Case) -> Outcome:
    if check.paired:
        terms, words = _mean_of_pairs(pairs(check.of, check.minus, case))
        return of_points(accuracy(terms, case), check.bounds, words)
    (of, name), (minus, other) = picked(check.of, case), picked(check.minus, case)
    return of_points(accuracy([(1.0, of.group), (-1.0, minus.group)], case), check.bounds, (name, other))


def _along(group: files.Group, setting: str, case: Case) -> pd.DataFrame:
    """The finished points of a family along a setting, one for each value."""
    return swept(group.row(), case.task, setting, points(group, case, given=True))


def _falls(check: files.FallsCheck, case: Case) -> Outcome:
    along = _along(check.of, check.setting, case)
    before, after = along[along["value"] < check.start], along[along["value"] >= check.start]
    if before.empty or after.empty:
        side = "below" if before.empty else "from"
        lacking = f"finished run with {check.setting} {side} {check.start:g}"
        raise NotTestable(f"no {lacking}", f"a {lacking}")
    start = before.iloc[-1]
    if start["collapsed"]:
        raise NotTestable(
            f"at {check.setting} {start['value']:g}, the last value below {check.start:g}, the network has collapsed "
            f"({formats.percent(start['validation_accuracy_mean'])} on validation)",
            f"a network that has learnt at {check.setting} below {check.start:g}",
        )
    terms = [(-1.0, start), *((1 / len(after), group) for _, group in after.iterrows())]
    named = ", ".join(f"{value:g}" for value in after["value"])
    return of_points(accuracy(terms, case), check.bounds, (f"{check.setting} {named} minus {start['value']:g}",))


def _proportional(check: files.ProportionalCheck, case: Case) -> Outcome:
    along = _along(check.of, check.setting, case)
    along = along[(along["value"] > 0) & ~along["collapsed"].astype(bool)]
    if len(along) < 3:
        what = f"three values of {check.setting} above 0 at which the network has learnt"
        raise NotTestable(f"fewer than {what}", what)
    runs = [case.runs(group) for _, group in along.iterrows()]
    logs = pd.concat([np.log(seeds["baseline_size"] / seeds["count_size"]) for seeds in runs], axis=1).dropna()
    slopes = np.polynomial.polynomial.polyfit(np.log(along["value"]), logs.to_numpy().T, 1)[1] if len(logs) else []
    bounds = {"at_least": 1 / check.factor, "at_most": check.factor}
    words = f"{check.setting} {along['value'].min():g} to {along['value'].max():g}, {len(along)} values"
    return decide(over_seeds(np.asarray(slopes)), bounds, check.factor - 1, _slope,
                  f"a slope of 1 within a factor of {check.factor:g}", (words,))  # fmt: skip


def _slope(value: float, low: float, high: float) -> str:
    shown = [f"{number:.2f}".replace("-", formats.MINUS) for number in (value, low, high)]
    return f"slope {shown[0]} [{shown[1]}, {shown[2]}] on logarithmic axes"


def _equal_size(check: files.EqualSizeCheck, case: Case) -> Outcome:
    ours, against = ranked(points(check.of, case)), points(check.against, case)
    against = against[(against["ok"] > 0) & ~against["collapsed"].astype(bool)]  # a failed control proves nothing
    against = ranked(against).drop_duplicates("size_mean")  # of one size the best on validation
    chosen: dict[int, pd.Series] = {}
    for _, partner in against.sort_values("size_mean", kind="stable").iterrows():
        able = ours[ours["size_mean"].between(partner["size_mean"] / check.factor, partner["size_mean"] * SAME_SIZE)]
        if len(able):
            chosen.setdefault(able.index[0], partner)  # of two partners the nearer one
    if len(chosen) < 2:
        what = f"two sizes at which {check.of.of.method} and {check.against.of.method} can be compared"
        raise NotTestable(f"fewer than {what}", what)
    level, names = 1 - (1 - LEVEL) / len(chosen), (formats.plural(len(chosen), "size"),)
    parts = []
    for index, partner in chosen.items():
        spread = accuracy([(1.0, ours.loc[index]), (-1.0, partner)], case)
        outcome = of_points(spread, check.bounds, names, level)
        said = f"at {formats.ratio(ours.at[index, 'ratio_size'])} {outcome.words}"
        parts.append(replace(outcome, words=said, decided=said))
    verdicts = [part.verdict for part in parts]
    verdict = next((v for v in (CONTRADICTED, NOT_TESTABLE, UNDECIDED) if v in verdicts), SUPPORTED)
    worst = min((part for part in parts if part.verdict == verdict), key=lambda part: part.value)
    words = "; ".join(part.words for part in parts)
    return replace(worst, words=words, seeds=min(part.seeds for part in parts))


def _split(check: files.SplitCheck, case: Case) -> Outcome:
    there = replace(case, task=held_out(case.task, case.gathered))
    (ours, name), (theirs, _) = picked(check.of, case), picked(check.of, there)
    spread = unpaired(accuracy([(1.0, ours.group)], case), accuracy([(1.0, theirs.group)], there))
    return of_points(spread, check.bounds, (f"{name}: {case.task} minus {there.task}",))


def _speed(check: files.SpeedCheck, case: Case) -> Outcome:
    models = [model for model in case.models if model.method in ("", check.method)]
    if not models:
        raise NotTestable("no speed was measured", "squeezebench inference FOLDER")
    value, low, high, name = max(speed for model in models for comparison in model.comparisons
                                 for speed in _speeds(comparison, check.against, model))  # fmt: skip
    verdict = judge(low, high, **check.bounds)
    words = f"{formats.ratio(value)} [{formats.ratio(low)}, {formats.ratio(high)}] (quartiles)"
    why = NEAR if verdict == UNDECIDED else ""
    return Outcome(verdict, words, value, low, high, asked(check.bounds, times), picked=(name,), why=why)


def _speeds(comparison: Comparison, against: str, model: Model) -> list[tuple[float, float, float, str]]:
    """Ratios of the medians, from the quartiles' worst to their best, for each runtime that has both sides."""
    speeds = []
    for runtime, own in comparison.compact.ms.items():
        name = runtime if against == "same_runtime" else comparison.fastest_dense
        if (dense := comparison.dense.ms.get(name)) is None:
            continue
        words = f"{model.dense_size} to {model.compact_size}, batch {comparison.batch}, {runtime}"
        words += "" if name == runtime else f" against {name}"
        speeds.append((dense.median / own.median, dense.low / own.high, dense.high / own.low, words))
    return speeds


_FORMS = {
    files.RatioCheck: _ratio,
    files.DifferenceCheck: _difference,
    files.FallsCheck: _falls,
    files.ProportionalCheck: _proportional,
    files.EqualSizeCheck: _equal_size,
    files.SpeedCheck: _speed,
    files.SplitCheck: _split,
}
