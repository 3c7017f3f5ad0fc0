"""The audit as a table and as a page of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from squeezebench.base.files import write_atomically
from squeezebench.report import formats, html
from squeezebench.report.audit import FIELDS, audit, counts, summary
from squeezebench.report.audit.figure import Check
from squeezebench.report.names import PAGE
from squeezebench.report.tables.table import Cell, Column, Table, text_column
from squeezebench.report.words import captions


def audit_table(checks: list[Check]) -> Table:
    """One line a check; sorting by verdict puts the worst first or last."""
    words = captions()["audit"]
    frame = pd.DataFrame([{name: getattr(check, name) for name in FIELDS} for check in checks], columns=list(FIELDS))

    def item(row: dict[str, Any]) -> Cell:
        return Cell(formats.clean(row["item"]), note=formats.clean(row["source"]))

    columns = [
        text_column("Part", "group"),
        text_column("Problem", "problem", hint=words["problem"]),
        Column("What is printed where", item),
        text_column("Printed", "printed"),
        text_column("Recomputed", "recomputed"),
        text_column("Verdict", "verdict", hint=words["verdicts"]["rounding"]),
        text_column("Remark", "remark", tex=False),
    ]
    return Table("audit", columns, frame, {name: name for name in FIELDS}, words["caption"])


def audit_page(checks: list[Check], *, report: str = "") -> bytes:
    """The page. `report`: address of the report beside it, whose folder then holds tables/audit.csv and .tex."""
    return html.page(
        html.template("audit.html.j2"),
        table=audit_table(checks),
        counts=counts(checks),
        summary=summary(checks),
        words=captions()["audit"],
        report=report,
        svg=None,
    )


def write_beside(folder: Path, name: str) -> str:
    """Write the page `name` into a report's folder, with its tables; return the summary line."""
    checks = audit()
    audit_table(checks).write(folder / "tables", ("csv", "tex"))
    write_atomically(folder / name, audit_page(checks, report=PAGE))
    return summary(checks)
