"""Numbers and settings as people read them. Tables on the page round; the CSV files keep every digit."""

from __future__ import annotations

import math
import re
from typing import Any

NONE = "–"
NBSP = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff"  # what XML forbids
    r"\u202a-\u202e\u2066-\u2069]"  # what turns the direction of writing, and could show a text as another
)


def absent(value: Any) -> bool:
    """True for None and NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def clean(text: str) -> str:
    """`text` without characters that XML forbids or that reorder it (a plugin's title may hold anything)."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def significant(value: float, digits: int = 3) -> str:
    """`value` to so many significant digits, never in powers of ten, with thousands separators."""
    if value == 0:
        return "0"
    rounded = float(f"{value:.{digits}g}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}".replace("-", MINUS)


def percent(fraction: float | None) -> str:
    return NONE if absent(fraction) else f"{100 * fraction:.1f}{NBSP}%"


def percent_interval(mean: float | None, half: float | None) -> str:
    """`94.2 ± 0.6 %`; without an interval (one seed) the mean alone."""
    if absent(mean) or absent(half):
        return percent(mean)
    return f"{100 * mean:.1f}{NBSP}±{NBSP}{100 * half:.1f}{NBSP}%"


def share_interval(mean: float, half: float | None) -> str:
    """Per cent with two digits after the point, with its interval where there is one: `1.72 ± 0.10 %`."""
    interval = "" if absent(half) else f"{NBSP}±{NBSP}{100 * half:.2f}"
    return f"{100 * mean:.2f}{interval}{NBSP}%"


def points(fraction: float | None) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    if absent(fraction):
        return NONE
    text = f"{100 * fraction:+.1f}"
    return ("0.0" if float(text) == 0 else text).replace("-", MINUS)


def points_interval(mean: float, half: float) -> str:
    return f"{points(mean)} [{points(mean - half)}, {points(mean + half)}]"


def count(value: float | None) -> str:
    """Parameters, MACs: 812, 12.3 k, 1.23 M."""
    if absent(value):
        return NONE
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{significant(value / size)}{NBSP}{unit}"
    return f"{value:.0f}"


def tick(value: float) -> str:
    """`count` for an axis, whose round numbers need no digits after the point: 1 k, 10 k."""
    return re.sub(r"\.0+(?=\D|$)", "", count(value))


def ratio_tick(value: float) -> str:
    """A ratio that was asked for: 10×, 18.3×."""
    return f"{value:,.0f}×" if value >= 100 else f"{value:.3g}×"


def size(value: float | None) -> str:
    """Bytes, in powers of 1000."""
    if absent(value):
        return NONE
    text = count(value)
    return f"{text}B" if NBSP in text else f"{text}{NBSP}B"


def ratio(value: float | None, nothing: str = "no LSTM") -> str:
    """`nothing`: what an infinite ratio reads, where there is nothing left to count."""
    if absent(value):
        return NONE
    return nothing if math.isinf(value) else f"{significant(value)}×"


def amount(value: float | None) -> str:
    return NONE if absent(value) else significant(value)


def units(kept: float | None, of: float | None) -> str:
    """Kept units of so many: `12 of 64`; a mean over seeds may have a decimal."""
    if absent(kept):
        return NONE
    text = f"{kept:.0f}" if float(kept).is_integer() else f"{kept:.1f}"
    return text if absent(of) else f"{text}{NBSP}of{NBSP}{of:.0f}"


def setting(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "/".join(map(setting, value))
    return str(value)


def settings(values: dict[str, Any]) -> str:
    """The settings that tell a run group from the defaults, in words."""
    return ", ".join(f"{key}{NBSP}={NBSP}{setting(value)}" for key, value in sorted(values.items())) or "defaults"


def digest(value: str) -> str:
    """The start of a digest, as git shows one."""
    return value[:12] or NONE


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
