"""The claims of the VIB-LSTM paper on its own tasks: its numbers, the audit's and ours."""

from __future__ import annotations

from squeezebench.report.claims.table import claims_table
from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Table

SECTION, WHEN = "claims", "claims"


def build(results: Results) -> Table | None:
    """One line per claim and task; without lines if no task is one of the paper's."""
    frame = results.claims
    if frame is None:
        return None
    return claims_table(frame[frame["papers_task"].any() & (frame["papers_task"] | (frame["task"] == ""))], "claims")
