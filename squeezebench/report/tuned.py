"""The results of tuning: what each method was given to find its settings, and what it found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.schema.tuning_result import TuningError, TuningResult, read_result


@dataclass(frozen=True)
class Tuned:
    """One method on one task that was to be tuned; `problem` says why there is no result."""

    task: str
    method: str
    result: TuningResult | None
    problem: str = ""

    @property
    def title(self) -> str:
        return formats.clean(self.result.method_title if self.result else self.method)


def gather_tuning(gathered: Gathered) -> list[Tuned]:
    """What the plan asks for; without a plan, what lies in `tuning/`."""
    planned = [(tuning["task"], tuning["method"], tuning["path"]) for tuning in gathered.plan.get("tunings") or []]
    if not gathered.plan:
        paths = sorted((gathered.folder / "tuning").glob("*/*.json"))
        planned = [(path.parent.name, path.stem, path.relative_to(gathered.folder).as_posix()) for path in paths]
    return [_read(task, method, gathered.folder / path) for task, method, path in planned]


def _read(task: str, method: str, path: Path) -> Tuned:
    if not path.exists():
        return Tuned(task, method, None, "not tuned yet, or stopped")
    try:
        return Tuned(task, method, read_result(path))
    except TuningError as error:
        return Tuned(task, method, None, str(error).removeprefix(f"{path}: "))
