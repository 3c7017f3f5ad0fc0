"""Claims as a table: what the paper prints, what the audit and we find, and the verdict."""

from __future__ import annotations

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.claims.judge import COLUMNS
from squeezebench.report.claims.outcome import UNDECIDED, VERDICTS
from squeezebench.report.tabular.table import Cell, Column, Row, Table, text_cell
from squeezebench.report.words import captions


def claims_table(frame: pd.DataFrame, name: str) -> Table:
    """One line per claim and task, with a chip for the verdict. name: of its caption."""
    words = captions()["claims"]
    columns = [
        Column("Claim", lambda row: text_cell(row["title"], row["place"])),
        Column("Task", lambda row: text_cell(row["task"])),
        Column("Printed", lambda row: text_cell(row["printed"])),
        Column("Audited", lambda row: text_cell(row["audited"], row["audited_items"]), hint=words["audited"]),
        Column("Ours", lambda row: text_cell(row["ours"], row["settings"]), hint=words["ours"]),
        Column("Verdict", _verdict, hint=words["verdicts"]),
        Column("Why", lambda row: Cell(formats.clean(row["reason"])), tex=False),
    ]
    protocol = frame["protocol"].iloc[0] if len(frame) else ""
    protocol = captions()["paper"]["protocols"].get(protocol, protocol)
    caption = captions()["tables"][name].format(protocol=protocol)
    return Table(columns, frame, {name: name for name in COLUMNS}, caption, choices=("Verdict", VERDICTS))


def _verdict(row: Row) -> Cell:
    note = row["why"] if row["verdict"] == UNDECIDED else ""
    return Cell(row["verdict"], chip=row["verdict"].replace(" ", "-"), note=note)
