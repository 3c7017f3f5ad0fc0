"""`squeezebench audit`: the arithmetic of the papers' printed figures, done again.

Nothing here stores an answer: what is printed and what is known besides (sizes that a text names, modes and ranks,
backbone counts) lies in `report/reference/*.csv`; each verdict follows by computation (the rule is in `figure.py`).
A check that shows one of the 23 problems known in these papers carries its number, P1 to P23.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from squeezebench.report.audit import across, lstm, posters, ratios, remainder, totals
from squeezebench.report.audit.figure import VERDICTS, Check
from squeezebench.report.audit.papers import Papers
from squeezebench.report.paper.reference import REFERENCE

__all__ = ["VERDICTS", "Check", "as_json", "as_text", "audit", "counts", "summary"]

SCHEMA_VERSION = 1
GROUPS = (lstm.GROUP, ratios.GROUP, totals.GROUP, across.GROUP, posters.GROUP, remainder.GROUP)
FIELDS = ("id", "group", "problem", "source", "item", "printed", "recomputed", "verdict", "remark")
_DEEP, _UNDER = " " * 6, " " * 53  # indents of the text form: below a remainder, below an item


def audit(folder: Path = REFERENCE) -> list[Check]:
    """All checks of the figures in `folder`, group by group."""
    papers = Papers(folder)
    found = [check for part in (lstm, ratios, totals, across, posters) for check in part.checks(papers)]
    found += remainder.checks(papers, [cell for check in found for cell in check.cells])
    found = [replace(check, id=re.sub(r"[^\w+-]+", "-", check.id)) for check in found]
    return sorted(found, key=lambda check: GROUPS.index(check.group))


def counts(checks: list[Check]) -> dict[str, int]:
    """How many checks have each verdict, in the order of `VERDICTS`."""
    number = Counter(check.verdict for check in checks)
    return {verdict: number[verdict] for verdict in VERDICTS}


def summary(checks: list[Check]) -> str:
    """`198 checks: 101 ok, 40 rounding, 27 mismatch, 30 not checkable`."""
    return f"{len(checks)} checks: " + ", ".join(f"{n} {verdict}" for verdict, n in counts(checks).items())


def as_json(checks: list[Check], verdicts: Sequence[str] = ()) -> dict[str, Any]:
    """What `squeezebench audit --json` prints; `verdicts` picks checks, the summary is always of all."""
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": {"checks": len(checks), **counts(checks)},
        "checks": [{name: getattr(check, name) for name in FIELDS} for check in _picked(checks, verdicts)],
    }


def as_text(checks: list[Check], verdicts: Sequence[str] = ()) -> str:
    """What `squeezebench audit` prints: by group and source, verdict, printed and recomputed; the summary last."""
    lines, group, source = [], "", ""
    for check in _picked(checks, verdicts):
        if check.group != group:
            lines += ["", check.group.upper()]
        if (check.group, check.source) != (group, source):
            lines += [f"  {check.source}"]
        group, source = check.group, check.source
        if group == remainder.GROUP:
            lines += textwrap.wrap(
                f"{check.item}: {check.printed}", 116, initial_indent="    ", subsequent_indent=_DEEP
            )
            lines += textwrap.wrap(check.remark, 116, initial_indent=_DEEP, subsequent_indent=_DEEP)
            continue
        number = f"{check.problem}: " * bool(check.problem)
        lines.append(f"    {check.verdict:13}  {check.printed:>15}  {check.recomputed:>15}  {number}{check.item}")
        lines += textwrap.wrap(check.remark, 116, initial_indent=_UNDER, subsequent_indent=_UNDER)
    return "\n".join([*lines, "", summary(checks)]).lstrip("\n")


def _picked(checks: list[Check], verdicts: Sequence[str]) -> list[Check]:
    return [check for check in checks if not verdicts or check.verdict in verdicts]
