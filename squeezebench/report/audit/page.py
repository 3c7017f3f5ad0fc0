"""The audit as a table and as a page of its own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from squeezebench.base.files import write_atomically
from squeezebench.report import html
from squeezebench.report.audit import FIELDS, VERDICTS, audit, summary
from squeezebench.report.audit.verdicts import Check
from squeezebench.report.names import PAGE
from squeezebench.report.tabular.table import Column, Table, text_cell, text_column
from squeezebench.report.words import captions


def audit_table(checks: list[Check]) -> Table:
    """One line a check; sorting by verdict puts the worst first or last."""
    words = captions()["audit"]
    frame = pd.DataFrame([{name: getattr(check, name) for name in FIELDS} for check in checks], columns=list(FIELDS))

    columns = [
        text_column("Part", "group"),
        text_column("Problem", "problem", hint=words["problem"]),
        Column("What is printed where", lambda row: text_cell(row["item"], row["source"])),
        text_column("Printed", "printed"),
        text_column("Recomputed", "recomputed"),
        text_column("Verdict", "verdict", hint=words["verdicts"]["unexplained"]),
        text_column("Remark", "remark", tex=False),
    ]
    return Table(columns, frame, caption=words["caption"], name="audit", choices=("Verdict", VERDICTS))


def write_beside(folder: Path, name: str) -> str:
    """Write the page `name` into a report's folder, beside the files of its table; return the summary line."""
    checks = audit()
    write_atomically(folder / name, audit_page(checks))
    return summary(checks)


def audit_page(checks: list[Check]) -> bytes:
    """The page, which leads back to the report beside it."""
    words, template = captions()["audit"], html.template("audit.html.j2")
    return html.page(template, table=audit_table(checks), summary=summary(checks), words=words, report=PAGE)
