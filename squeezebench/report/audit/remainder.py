"""Everything that is printed and that no check speaks of: one line a column, with the reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from squeezebench.report.audit.figure import NOT_CHECKABLE, Cell, Check
from squeezebench.report.audit.papers import Papers
from squeezebench.report.paper.reference import blocks

GROUP = "Not checkable"
NAMES = {"method", "dataset", "model", "group", "pruned_model", "source", "claim", "unit", "variant", "layer",
         "network"}  # fmt: skip
SETTINGS = {"input", "hidden", "devices"}  # what a line is about, held against the rest of the line
COMPUTED = {"compression_computed"}  # not printed in the paper
REASONS = {
    r"accuracy|error|mAP": "the result of a training run; only runs can repeat it",
    r"steps_per_sec": "measured on the authors' machines",
    r"params|r_[WN]|flop": "the sizes or the structure behind it are not published",
    r"^[a-d]$": "a setting of the architecture; nothing follows from it",
    r"acceleration": "the pruned structures are not published",
    r"value": "a setting of the experiments; nothing else that is printed follows from it",
}


def checks(papers: Papers, covered: Iterable[Cell]) -> Iterator[Check]:
    done = set(covered)
    for block in blocks(papers.folder):
        table = papers.block(block)
        for column in table:
            if column in NAMES | SETTINGS | COMPUTED:
                continue
            left = [row for row in table.index if papers.at(block, column, row) and (block, column, row) not in done]
            if left:
                yield _line(papers, block, column, left)


def _line(papers: Papers, block: str, column: str, rows: list[int]) -> Check:
    reason = next((text for pattern, text in REASONS.items() if re.search(pattern, column)), "nothing to compare with")
    table = papers.block(block)
    key = next(name for name in table if name in NAMES and name != "group")
    of = ", ".join(dict.fromkeys(table.loc[rows, key]))
    return Check(f"F-{block}-{column}", GROUP, papers.name(block), f"{column} of {of}",
                 _some([papers.at(block, column, row).text for row in rows]), "–", NOT_CHECKABLE, reason,
                 cells=tuple((block, column, row) for row in rows))  # fmt: skip


def _some(texts: list[str], shown: int = 4) -> str:
    """The first few of them; all stand in the block's CSV file."""
    return ", ".join(texts[:shown]) + (f", … ({len(texts)} figures)" if len(texts) > shown else "")
