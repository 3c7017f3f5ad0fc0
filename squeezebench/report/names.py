"""Names of the files a report writes. Imports nothing heavy: the workflow asks while it is parsed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from squeezebench.errors import InputError

PAGE = "report.html"
TABLES = ("groups", "selected", "problems", "flattery", "provenance", "runs")
TASK_FIGURES = ("accuracy_vs_size", "per_class", "training")  # one of each for every task
SHARED_FIGURES = ("difference_vs_ratio",)

_SAFE = re.compile(r"[^A-Za-z0-9_-]+")


def slug(name: str) -> str:
    """`name` as part of a file name. A name that had to change gets a digest, so that two never meet."""
    short = _SAFE.sub("-", name).strip("-")[:60]
    return short if short == name else f"{short or 'task'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def figure_names(tasks: Iterable[str]) -> list[str]:
    """Names (without folder and suffix) of every figure of a report on `tasks`."""
    return [
        *SHARED_FIGURES,
        *(f"{kind}_{slug(task)}" for task in sorted(set(tasks)) for kind in TASK_FIGURES),
    ]


def output_files(tasks: Iterable[str]) -> list[str]:
    """Every file of a report on `tasks`, relative to the experiment's folder."""
    tables = [f"tables/{name}.{suffix}" for name in TABLES for suffix in table_suffixes(name)]
    figures = [f"figures/{name}.{suffix}" for name in figure_names(tasks) for suffix in ("svg", "csv")]
    return [PAGE, *tables, *figures]


def table_suffixes(name: str) -> tuple[str, ...]:
    """`runs` is raw data, one line a record, and makes no sense in print."""
    return ("csv",) if name == "runs" else ("csv", "tex")


def read_plan(plan: Path | Mapping) -> dict:
    """A plan (`plan.json` or its content), checked for the keys that the report uses."""
    where = plan if isinstance(plan, Path) else "plan"
    if isinstance(plan, Path):
        try:
            plan = json.loads(plan.read_bytes())
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({error.strerror})") from None
        except ValueError:
            raise InputError(f"{where}: not a complete JSON file") from None
    runs = plan.get("runs") if isinstance(plan, Mapping) else None
    if not isinstance(runs, list):
        raise InputError(f"{where}: not a plan (an object with a list `runs` is expected)")
    needed = {"task", "method", "seed", "path"}
    for number, run in enumerate(runs):
        if not isinstance(run, Mapping) or not needed <= run.keys():
            raise InputError(f"{where}: runs[{number}] lacks one of {', '.join(sorted(needed))}")
    return dict(plan)
