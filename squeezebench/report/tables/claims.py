"""The claims of the VIB-LSTM paper, its numbers, the audit's and ours."""

from __future__ import annotations

from squeezebench.report import formats
from squeezebench.report.claims.judge import COLUMNS
from squeezebench.report.claims.outcome import VERDICTS
from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Cell, Column, Row, Table, text_cell
from squeezebench.report.words import captions

SECTION, WHEN = "claims", "claims"


def build(results: Results) -> Table | None:
    """One line per claim and task, with a chip for the verdict."""
    frame, words = results.claims, captions()["claims"]
    if frame is None:
        return None
    columns = [
        Column("Claim", lambda row: text_cell(row["title"], row["place"])),
        Column("Task", _task),
        Column("Printed", lambda row: text_cell(row["printed"])),
        Column("Audited", lambda row: text_cell(row["audited"], row["audited_items"]), hint=words["audited"]),
        Column("Ours", _ours, hint=words["ours"]),
        Column(
            "Verdict", lambda row: Cell(row["verdict"], chip=row["verdict"].replace(" ", "-")), hint=words["verdicts"]
        ),
        Column("Why", lambda row: Cell(formats.clean(row["reason"])), tex=False),
    ]
    protocol = frame["protocol"].iloc[0] if len(frame) else ""
    protocol = captions()["paper"]["protocols"].get(protocol, protocol)
    caption = captions()["tables"]["claims"].format(protocol=protocol)
    return Table(columns, frame, {name: name for name in COLUMNS}, caption, choices=("Verdict", VERDICTS))


def _task(row: Row) -> Cell:
    return text_cell(row["task"], "" if row["papers_task"] or not row["task"] else captions()["claims"]["another_task"])


def _ours(row: Row) -> Cell:
    text, settings = ("" if formats.absent(row[key]) else row[key] for key in ("ours", "settings"))
    return text_cell(text, settings)
