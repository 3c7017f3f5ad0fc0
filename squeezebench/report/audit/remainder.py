"""Everything that is printed and that no check is about: one line a column, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from squeezebench.report.audit.arithmetic import Reference
from squeezebench.report.audit.verdicts import NOT_CHECKABLE, Cell, Check
from squeezebench.schema.reference import APART, NAMES, Block, blocks

GROUP = "Not checkable"
# Columns without figures of their own; what a row is about is checked by the rest of the row.
SILENT = {*NAMES, *APART, "dataset", "pruned_model", "bold", "unit", "layer", "input", "hidden"}
COMPUTED = {"compression_computed"}  # not printed in the paper
REASONS = {
    r"accuracy|error|mAP": "the result of a training run; only runs can repeat it",
    r"steps_per_sec": "measured on the authors' machines",
    r"params|r_[WN]|flop": "the sizes or the structure behind it are not published",
    r"^[a-d]$": "a setting of the architecture; nothing follows from it",
    r"acceleration": "the pruned structures are not published",
    r"value": "a setting of the experiments; nothing else that is printed follows from it",
}


def remaining_checks(reference: Reference, covered: Iterable[Cell]) -> Iterator[Check]:
    """A line for each column of a published table with figures that are not in `covered`."""
    done = set(covered)
    for name in blocks(reference.folder):
        block = reference(name)
        for column in dict.fromkeys(block.lines[0]) if block.lines else ():
            if column in SILENT | COMPUTED:
                continue
            rows = [row for row in range(len(block.lines))
                    if block.figure(row, column) and (name, column, row) not in done]  # fmt: skip
            if rows:
                yield _line(reference, block, column, rows)


def _line(reference: Reference, block: Block, column: str, rows: list[int]) -> Check:
    reason = next((text for pattern, text in REASONS.items() if re.search(pattern, column)), "nothing to compare with")
    key = next(name for name in NAMES if name in block.lines[0])
    of = ", ".join(dict.fromkeys(block.lines[row][key] for row in rows))
    cells = tuple((block.name, column, row) for row in rows)
    texts = [block.figure(row, column).text for row in rows]
    shown = ", ".join(texts[:4]) + (f", … ({len(texts)} figures)" if len(texts) > 4 else "")
    return Check(f"remaining-{block.name}-{column}", GROUP, reference.source(cells[0]), f"{column} of {of}", shown, "–",
                 NOT_CHECKABLE, reason, cells=cells)  # fmt: skip
