"""The runs that stand for their method: those whose settings the report picks on validation."""

from __future__ import annotations

from pathlib import Path

from squeezebench.report.gather import GROUP, gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.picks import selected


def picked_runs(folder: Path) -> list[Path]:
    """For each task and method the settings that the report picks on validation: the run of the first seed of each."""
    gathered = gather(folder)
    chosen = selected(run_groups(gathered))
    runs = gathered.runs[gathered.runs["status"] == "ok"].merge(chosen[GROUP].drop_duplicates(), on=GROUP)
    return [folder / path for path in runs.sort_values("seed").drop_duplicates(GROUP)["path"].sort_values()]
