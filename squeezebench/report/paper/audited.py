"""What the audit says of a printed size, for the table that shows it beside ours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from squeezebench.report.audit import Check, audit
from squeezebench.schema.reference import Block

GROUPS = {"lstm": "LSTM sizes", "total": "Totals"}  # parts of the audit, in report/audit


@dataclass(frozen=True)
class Audited:
    """A printed size done again: the first reading of several, with its verdict."""

    value: int
    verdict: str
    remark: str
    readings: int


@cache
def _checks() -> dict[tuple, list[Check]]:
    """The checks of sizes, by part and by the printed figure that each of them checks."""
    checks: dict[tuple, list[Check]] = {}
    for check in audit():
        if check.group in GROUPS.values() and check.value is not None:
            checks.setdefault((check.group, check.cells[0]), []).append(check)
    return checks


def audited_size(block: Block, row: int, what: Literal["lstm", "total"]) -> Audited | None:
    """The audit of the LSTM's or the whole model's parameters in line `row` of a block; None if the audit has none."""
    checks = _checks().get((GROUPS[what], (block.name, block.size_column(what), row)))
    return Audited(int(checks[0].value), checks[0].verdict, checks[0].remark, len(checks)) if checks else None
