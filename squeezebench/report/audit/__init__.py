"""`squeezebench audit`: the arithmetic of the papers' printed figures, done again.

What is compared with what is declared in `report/audit/*.yaml`, what is printed and what is known besides lies in
`report/reference/*.csv`; each verdict follows by computation (`verdicts.py` has the rule). A check that shows one of
the 23 problems known in these papers carries its number, P1 to P23.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from squeezebench.report.audit import remainder
from squeezebench.report.audit.arithmetic import Reference
from squeezebench.report.audit.declared import declared_checks
from squeezebench.report.audit.verdicts import VERDICTS, Check
from squeezebench.schema.reference import REFERENCE

__all__ = ["VERDICTS", "Check", "as_json", "as_text", "audit", "counts", "summary"]

SCHEMA_VERSION = 2
FIELDS = ("id", "group", "problem", "source", "item", "printed", "recomputed", "verdict", "remark")
_DEEP, _UNDER = " " * 6, " " * 53  # indents of the text form: below a remainder, below an item


def audit(folder: Path = REFERENCE) -> list[Check]:
    """All checks of the figures in `folder`, by group and source."""
    reference = Reference(folder)
    checks = declared_checks(reference)
    checks += remainder.remaining_checks(reference, [cell for check in checks for cell in check.cells])
    place = {part: number for number, part in enumerate(dict.fromkeys((c.group, c.source) for c in checks))}
    groups = list(dict.fromkeys(check.group for check in checks))
    return sorted(checks, key=lambda check: (groups.index(check.group), place[check.group, check.source]))


def counts(checks: list[Check]) -> dict[str, int]:
    """How many checks have each verdict, in the order of `VERDICTS`."""
    number = Counter(check.verdict for check in checks)
    return {verdict: number[verdict] for verdict in VERDICTS}


def summary(checks: list[Check]) -> str:
    """`198 checks: 101 ok, 30 rounding, ..., 30 not checkable`."""
    return f"{len(checks)} checks: " + ", ".join(f"{n} {verdict}" for verdict, n in counts(checks).items())


def as_json(checks: list[Check]) -> dict[str, Any]:
    """What `squeezebench audit --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "summary": {"checks": len(checks), **counts(checks)},
        "checks": [{name: getattr(check, name) for name in FIELDS} for check in checks],
    }


def as_text(checks: list[Check]) -> str:
    """What `squeezebench audit` prints: by group and source, verdict, printed and recomputed; the summary last."""
    lines, group, source = [], "", ""
    for check in checks:
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
