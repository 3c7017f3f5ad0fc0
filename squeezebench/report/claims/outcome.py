"""The outcome of one comparison, and the verdict that an interval gives.

A comparison is *supported* if its whole 95 % interval is within the bounds of the claim, *contradicted* if the whole
interval is outside, and *undecided* if the interval is on both sides: with too little power, or near the bound. It is
*not testable* if the task, the settings or the number of seeds could not have shown it; then the outcome says what it
would take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from squeezebench.report import formats
from squeezebench.report.statistics.power import POINT, detectable, why_undecided
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, LEVEL, VERDICT_SEEDS, Spread

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TESTABLE = VERDICTS = (
    "supported", "contradicted", "undecided", "not testable",
)  # fmt: skip
FACTOR = 1.5  # of a ratio: a comparison that cannot tell it from 1 has too little power
Bounds = dict[str, float | None]


@dataclass(frozen=True)
class Outcome:
    """What came of one comparison. Numbers are missing if none is reliable."""

    verdict: str
    words: str = ""  # what was measured, with its interval
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    bound: str = ""
    seeds: int = 0
    picked: tuple[str, ...] = ()  # the settings that were compared
    decided: str = ""  # of several intervals the one that gave the verdict
    why: str = ""  # undecided: too little power, or near the bound; not testable: the reason
    takes: str = ""  # not testable: what it would take


class NotTestable(Exception):
    """The experiment cannot test a comparison: why, and what it would take."""

    def __init__(self, why: str, takes: str):
        super().__init__(why)
        self.why, self.takes = why, takes


def judge(low: float, high: float, at_least=None, at_most=None, more_than=None) -> str:
    """The verdict that an interval gives; bounds that are None ask for nothing."""
    least = [bound for bound in (at_least, more_than) if bound is not None]
    beyond = any(high < bound for bound in least) or (more_than is not None and high <= more_than)
    if beyond or (at_most is not None and low > at_most):
        return CONTRADICTED
    inside = all(low >= bound for bound in least) and (more_than is None or low > more_than)
    return SUPPORTED if inside and (at_most is None or high <= at_most) else UNDECIDED


def decide(
    spread: Spread, bounds: Bounds, margin: float, show: Callable[..., str], bound: str, picked: tuple[str, ...],
    level: float = LEVEL, scale: Callable[[float], float] = float,
) -> Outcome:  # fmt: skip
    """The outcome of a mean over seeds against bounds on its scale.

    margin: the difference that an experiment with enough power tells from 0. show: words of value, low and high, which
    `scale` turns into the numbers that are shown.
    """
    if spread.n < ENOUGH_SEEDS:
        why = f"{formats.plural(spread.n, 'seed')} in common"
        return Outcome(NOT_TESTABLE, bound=bound, seeds=spread.n, picked=picked, why=why, takes=_seeds())
    half = float(special.stdtrit(spread.degrees, (1 + level) / 2)) * spread.error
    low, high = spread.mean - half, spread.mean + half
    numbers = [scale(end) for end in (spread.mean, low, high)]
    outcome = Outcome(judge(low, high, **bounds), show(*numbers), *numbers, bound, spread.n, picked)
    if spread.n < VERDICT_SEEDS:
        why = f"{formats.plural(spread.n, 'seed')} carry no verdict"
        return replace(outcome, verdict=NOT_TESTABLE, why=why, takes=_seeds())
    if outcome.verdict == UNDECIDED:
        smallest = float(detectable(spread.error, spread.degrees, 1 - level))
        return replace(outcome, why=why_undecided(smallest, margin))
    return outcome


def _seeds() -> str:
    return f"{VERDICT_SEEDS} seeds of every setting"


def of_points(spread: Spread, given: Bounds, picked: tuple[str, ...], level: float = LEVEL) -> Outcome:
    """The outcome of a difference of accuracies against bounds in points."""
    bounds = {key: None if bound is None else bound / 100 for key, bound in given.items()}
    return decide(spread, bounds, POINT, points_text, f"{asked(given, plain)} points", picked, level)


def of_ratio(spread: Spread, bounds: Bounds, bound: str, picked: tuple[str, ...]) -> Outcome:
    """The outcome of a ratio, given by its logarithm, against bounds of the ratio."""
    logs = {key: None if limit is None else float(np.log(limit)) for key, limit in bounds.items()}
    return decide(spread, logs, float(np.log(FACTOR)), ratio_text, bound, picked, scale=lambda log: float(np.exp(log)))


def points_text(value: float, low: float, high: float) -> str:
    return f"{formats.points(value)} [{formats.points(low)}, {formats.points(high)}] points"


def ratio_text(value: float, low: float, high: float) -> str:
    interval = f" [{formats.ratio(low)}, {formats.ratio(high)}]" if low < high else " in every seed"
    return formats.ratio(value) + interval


def plain(bound: float) -> str:
    return f"{bound:g}".replace("-", formats.MINUS)


def times(bound: float) -> str:
    return f"{bound:,.6g}×"


def asked(bounds: Bounds, show: Callable[[float], str]) -> str:
    """`at least 70×`"""
    names = {"at_least": "at least", "at_most": "at most", "more_than": "more than"}
    return " and ".join(f"{names[key]} {show(bound)}" for key, bound in bounds.items() if bound is not None)
