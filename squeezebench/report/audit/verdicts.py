"""The verdict on a printed figure, by the value that follows from other figures.

* `ok`: the value by the main rule, rounded to the printed digits, is the printed figure;
* `rounding`: the value by the main rule is the printed figure if it is cut off after the printed digits;
* `other rule`: only another named way of counting gives the figure (one bias vector instead of two, a head of another
  width, ...);
* `mismatch`: no named way gives the figure, or two printed figures of one thing differ;
* `unexplained`: a mismatch that rests on an assumption about what the figures have in common;
* `not checkable`: no figure is printed, or the value differs and rests on a figure that is quoted from memory.

All arithmetic is exact (fractions): a verdict never depends on a binary rounding error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

from squeezebench.schema.reference import Figure

Verdict = Literal["ok", "rounding", "other rule", "mismatch", "unexplained", "not checkable"]
OK, ROUNDING, OTHER_RULE, MISMATCH, UNEXPLAINED, NOT_CHECKABLE = VERDICTS = get_args(Verdict)
Cell = tuple[str, str, int]  # block, column, row
CUT = "cut off after the last printed digit, not rounded"


@dataclass(frozen=True)
class Check:
    """One line of the audit. `cells` are the printed figures that it is about, the one that it checks first; `value` is
    the recomputed number, if the check is of one figure; `problem` is P1 ... P23 or ''."""

    id: str
    group: str
    source: str
    item: str
    printed: str
    recomputed: str
    verdict: Verdict
    remark: str = ""
    problem: str = ""
    value: Fraction | None = None
    cells: tuple[Cell, ...] = ()


def by_figure(printed: Figure, value: Fraction, others: Mapping[str, Fraction]) -> tuple[Verdict, str]:
    """Verdict and remark of a printed figure against the main value and other named ways of counting."""
    if printed.stray:
        return MISMATCH, f"{printed.stray!r} follows the figure"
    fits = {name: printed.fit(other) for name, other in others.items()}
    if (fit := printed.fit(value)) == "round":
        return OK, ""
    if fit == "cut":
        right = [name for name, other in fits.items() if other == "round"]
        return ROUNDING, CUT + f"; rounds right by: {', '.join(right)}" * bool(right)
    if able := [name + f" ({CUT})" * (other == "cut") for name, other in fits.items() if other]:
        return OTHER_RULE, "only by: " + "; ".join(able)
    return MISMATCH, f"{distance(printed.value, value)} against what is printed"


def of_two_figures(printed: Figure, other: Figure) -> tuple[Verdict, str]:
    """Two printed figures of one thing: equal, equal to the digits of the coarser one, or not."""
    if printed.value == other.value:
        return OK, ""
    coarse, fine = sorted((printed, other), key=lambda figure: -figure.step)
    return (ROUNDING, "equal to the printed digits") if coarse.fit(fine.value) else (MISMATCH, "the two differ")


def by_bounds(
    value: Fraction, at_least: Fraction | None, at_most: Fraction | None, more_than: Fraction | None
) -> tuple[Verdict, str]:
    """The verdict on a statement that a value lies within bounds."""
    above = (at_least is None or value >= at_least) and (more_than is None or value > more_than)
    return (OK, "") if above and (at_most is None or value <= at_most) else (MISMATCH, "")


def distance(printed: Fraction, value: Fraction) -> str:
    """The recomputed value relative to the printed one: `+5.26 %`."""
    return f"{100 * float(value / printed - 1):+.2f} %" if printed else f"{float(value):+g}"


def number(value: Fraction, digits: int = 2) -> str:
    """Whole numbers as such, others with `digits` decimals, or two significant ones if they are small."""
    if value.denominator == 1:
        return f"{int(value):,}"
    return f"{float(value):.2g}" if abs(value) < Fraction(1, 100) else f"{float(value):,.{digits}f}"
