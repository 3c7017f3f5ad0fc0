"""The outcome of one comparison: an interval, the bounds of the claim in words, and the verdict that they give.

A comparison is *supported* if its whole 95 % interval is within the bounds of the claim, *contradicted* if the whole
interval is outside, *undecided* if the interval is on both sides or there are too few seeds for one, and *not run* if
the runs that it needs do not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from squeezebench.report import formats
from squeezebench.report.statistics.groups import ENOUGH_SEEDS, LEVEL

SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN = "supported", "contradicted", "undecided", "not run"
VERDICTS = (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_RUN)


@dataclass(frozen=True)
class Outcome:
    """What came of one comparison. Numbers are missing where there are none to rely on."""

    verdict: str
    words: str  # what was measured, with its interval; or why nothing was
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    bound: str = ""
    seeds: int = 0
    picked: tuple[str, ...] = ()  # the settings that were compared
    decided: str = ""  # where several intervals were looked at: the one that gave the verdict


def judge(low: float, high: float, at_least=None, at_most=None, more_than=None) -> str:
    """The verdict that an interval gives; bounds that are None ask for nothing."""
    least = [bound for bound in (at_least, more_than) if bound is not None]
    beyond = any(high < bound for bound in least) or (more_than is not None and high <= more_than)
    if beyond or (at_most is not None and low > at_most):
        return CONTRADICTED
    inside = all(low >= bound for bound in least) and (more_than is None or low > more_than)
    return SUPPORTED if inside and (at_most is None or high <= at_most) else UNDECIDED


def t_interval(values: np.ndarray, least: float = 0.0, level: float = LEVEL) -> tuple[float, float, float]:
    """Mean with its t interval. least: of the standard deviation (one test sequence, see compare.py)."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * max(np.std(values, ddof=1), least) / np.sqrt(n))
    return mean, mean - half, mean + half


def few(n: int, picked: tuple[str, ...], bound: str) -> Outcome:
    return Outcome(UNDECIDED, f"not enough seeds ({n} in common)", bound=bound, seeds=n, picked=picked)


def plain(bound: float) -> str:
    return f"{bound:g}".replace("-", formats.MINUS)


def times(bound: float) -> str:
    return f"{bound:,.6g}×"


def bounds_of(check) -> dict[str, float | None]:
    return {key: getattr(check, key, None) for key in ("at_least", "at_most", "more_than")}


def asked(bounds: dict[str, float | None], show) -> str:
    """`at least 70×`"""
    names = {"at_least": "at least", "at_most": "at most", "more_than": "more than"}
    return " and ".join(f"{names[key]} {show(bound)}" for key, bound in bounds.items() if bound is not None)


def points_text(value: float, low: float, high: float) -> str:
    return f"{formats.points(value)} [{formats.points(low)}, {formats.points(high)}] points"


def point_bounds(check) -> tuple[dict[str, float | None], str]:
    """Bounds as fractions, and in words."""
    bounds = {key: None if bound is None else bound / 100 for key, bound in bounds_of(check).items()}
    return bounds, f"{asked(bounds_of(check), plain)} points"


def difference_outcome(values, least, bounds, bound, picked) -> Outcome:
    if len(values) < ENOUGH_SEEDS:
        return few(len(values), picked, bound)
    value, low, high = t_interval(values, least)
    words = points_text(value, low, high)
    return Outcome(judge(low, high, **bounds), words, value, low, high, bound, len(values), picked)
