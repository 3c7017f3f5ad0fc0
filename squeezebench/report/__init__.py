"""The report: reads records, writes one self-contained page, tables and figures. Never imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from squeezebench.report.names import has_claims, output_files, published, read_plan, tuned_tasks

__all__ = ["build_report", "outputs"]


def build_report(folder: Path, *, plan: Path | None = None) -> Path:
    """Read `folder/runs/**/record.json`, write `report.html`, `tables/` and `figures/` there; return the
    page.

    `plan` names the runs that should exist; without it, `folder/plan.json` is used where there is one.
    """
    from squeezebench.report.page import build

    return build(Path(folder), plan=plan)


def outputs(plan: Path | Mapping) -> list[str]:
    """The files `build_report` will write for this plan, relative to its folder; imports nothing heavy."""
    plan = read_plan(plan)
    return output_files((run["task"] for run in plan["runs"]), published(plan), tuned_tasks(plan), has_claims(plan))
