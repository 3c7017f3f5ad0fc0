"""The papers' printed figures, recomputed: files beside the page `audit.html`, which shows the same table."""

from __future__ import annotations

from squeezebench.report.audit import audit
from squeezebench.report.audit.page import audit_table
from squeezebench.report.names import published
from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Table

SECTION, WHEN = "", "published"


def build(results: Results) -> Table | None:
    """None if the experiment is shown beside no paper."""
    return audit_table(audit()) if published(results.gathered.plan) else None
