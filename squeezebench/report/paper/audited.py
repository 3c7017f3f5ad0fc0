"""What the audit says of a printed size, for the table that shows it beside ours."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from squeezebench.report.audit import audit, lstm, totals
from squeezebench.schema.printed import Block

GROUPS = {"lstm": lstm.GROUP, "total": totals.GROUP}


@dataclass(frozen=True)
class Audited:
    """A printed size done again: the first reading of several, with its verdict."""

    value: int
    verdict: str
    remark: str
    readings: int


@cache
def _checks() -> tuple:
    return tuple(audit())


def audited_size(block: Block, row: int, what: Literal["lstm", "total"]) -> Audited | None:
    """The audit of the LSTM's or the whole model's parameters in line `row` of a block; None where there is none.

    A check belongs to the cell that it names first, if what it recomputes is a count.
    """
    column = block.size_cell(block.lines[row], what)[0]
    found = [
        check
        for check in _checks()
        if check.group == GROUPS[what]
        and check.cells[:1] == ((block.name, column, row),)
        and re.fullmatch(r"[\d,]+", check.recomputed)
    ]
    if not found:
        return None
    first = found[0]
    return Audited(int(first.recomputed.replace(",", "")), first.verdict, first.remark, len(found))
