"""The claims of the VIB-LSTM paper on tasks that are not the paper's."""

from __future__ import annotations

from squeezebench.report.claims.table import claims_table
from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Table

SECTION, WHEN = "claims_elsewhere", "claims"


def build(results: Results) -> Table | None:
    """One line per claim and task, and those that no task of the experiment can test."""
    frame = results.claims
    if frame is None:
        return None
    tested = frame["papers_task"].astype(bool)
    return claims_table(frame[~tested & ((frame["task"] != "") | ~tested.any())], "claims_elsewhere")
