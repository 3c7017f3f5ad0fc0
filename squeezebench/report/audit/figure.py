"""A printed figure with its precision, one line of the audit, and the rule that gives the verdict.

A printed figure stands for all values that its last digit allows. `judge` holds a recomputed value against it:

* `ok`: the value by the main rule, rounded to the printed digits, is the printed figure;
* `rounding`: it is not, but either cutting the value off after the printed digits gives the figure, or another
  named way of counting does (one bias vector instead of two, sizes not rounded before dividing, ...);
* `mismatch`: no named way gives the figure;
* `not checkable`: no figure is printed, or what it is made of is not known for certain.

All arithmetic is exact (fractions): a verdict never hangs on a binary rounding error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from squeezebench.report.paper.reference import SCALE

OK, ROUNDING, MISMATCH, NOT_CHECKABLE = "ok", "rounding", "mismatch", "not checkable"
VERDICTS = (OK, ROUNDING, MISMATCH, NOT_CHECKABLE)
Verdict = Literal["ok", "rounding", "mismatch", "not checkable"]
Cell = tuple[str, str, int]  # block, column, row

_READABLE = re.compile(r"\s*(\d+)(?:\.(\d+))?([MkG]?)(.*)", re.DOTALL)
_FIT = {"round": "", "cut": "cut off after the last printed digit, not rounded"}


@dataclass(frozen=True)
class Figure:
    """A printed figure: its text, its value, the value of one unit of its last digit, and what follows it."""

    text: str
    value: Fraction
    step: Fraction
    stray: str = ""
    cell: Cell | None = None

    @classmethod
    def parse(cls, text: str, unit: str = "", cell: Cell | None = None) -> Figure | None:
        """`unit` is the column's ("M" for `lstm_params_M`) where the figure has none. None: no figure printed."""
        found = _READABLE.fullmatch(text)
        if not found:
            return None
        whole, decimals, own, stray = found[1], found[2] or "", found[3], found[4].strip()
        step = Fraction(SCALE[own or unit], 10 ** len(decimals))
        shown = text.strip() + ("" if own else unit)
        return cls(shown, int(whole + decimals) * step, step, stray, cell)

    def fit(self, value: Fraction | int) -> str | None:
        """How `value` gives this figure: "round", "cut" or not at all (None)."""
        if abs(value - self.value) * 2 <= self.step:
            return "round"
        return "cut" if self.value <= value < self.value + self.step else None


@dataclass(frozen=True)
class Check:
    """One line of the audit. `cells` are the printed figures it speaks of; `problem` is P1 ... P23 or ''."""

    id: str
    group: str
    source: str
    item: str
    printed: str
    recomputed: str
    verdict: Verdict
    remark: str = ""
    problem: str = ""
    cells: tuple[Cell, ...] = field(default=(), repr=False)


def judge(printed: Figure | None, value: Fraction | int, others: Mapping[str, Fraction | int] | None = None):
    """Verdict and remark of a printed figure against the main value and other named ways of counting."""
    if printed is None:
        return NOT_CHECKABLE, "no value is printed"
    if printed.fit(value) == "round":
        return OK, ""
    fits = [f"{label} ({_FIT[fit]})" if fit == "cut" else label
            for label, other in (others or {}).items() if (fit := printed.fit(other))]  # fmt: skip
    if printed.fit(value) == "cut":
        right = [
            f"rounds right by: {label}" for label, other in (others or {}).items() if printed.fit(other) == "round"
        ]
        return ROUNDING, "; ".join([_FIT["cut"], *right])
    if fits:
        return ROUNDING, "only by: " + "; ".join(fits)
    return MISMATCH, f"{distance(printed.value, value)} against what is printed"


def distance(printed: Fraction, value: Fraction | int) -> str:
    """The recomputed value relative to the printed one: `+5.26 %`."""
    return f"{100 * float(Fraction(value) / printed - 1):+.2f} %" if printed else f"{float(value):+g}"


def whole(value: Fraction | int) -> str:
    return f"{round(value):,}"


def millions(value: Fraction | int) -> str:
    return f"{float(value) / 1e6:,.6f}".rstrip("0").rstrip(".") + "M"


def decimal(value: Fraction | int, digits: int = 2) -> str:
    return f"{float(value):,.{digits}f}"
