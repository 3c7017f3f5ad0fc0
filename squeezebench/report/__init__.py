"""The report: reads records, writes one self-contained page, tables and figures. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from squeezebench.report.names import output_files, read_plan

__all__ = ["build_report", "outputs"]


def build_report(folder: Path, *, plugins: Iterable[str | Path] = ()) -> Path:
    """Read `folder/runs/**/record.json`; write `report.html`, `tables/` and `figures/` there. Returns the page's path.

    `folder/plan.json`, if there is one, names the runs that should exist. `plugins`: files and folders with figures and
    tables. They are code and run; those that a plan names do not run for that.
    Raises NewerError, before anything is written, if a newer version of squeezebench left a file there.
    """
    from squeezebench.report.page import build
    from squeezebench.schema.inference import INFERENCE_NAME
    from squeezebench.schema.stored import check_replaceable
    from squeezebench.schema.verification import VERIFICATION

    for name in (VERIFICATION, INFERENCE_NAME):
        check_replaceable(Path(folder) / name)
    return build(Path(folder), tuple(plugins))


def outputs(plan: Path | Mapping) -> list[str]:
    """The files that `build_report` is certain to write for this plan and its plugins, relative to its folder. Imports
    nothing heavy, and no plugin."""
    plan = read_plan(plan)
    return output_files(plan, plan.get("plugins") or ())
