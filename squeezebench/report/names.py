"""Names of the files a report writes. Imports nothing heavy: the workflow asks while it is parsed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.reading import read_json

PAGE = "report.html"
AUDIT_PAGE = "audit.html"  # the papers' printed figures, recomputed: beside every report that compares with a paper
TABLES = ("groups", "selected", "summary", "problems", "cost", "selection_bias", "provenance", "runs")
TASK_FIGURES = ("accuracy_vs_size", "per_class", "training")  # one of each for every task
SHARED_FIGURES = ("difference_vs_ratio", "ranks")
CLAIMED = "vib_lstm"  # the method that report/claims is about
DRAWN = ("sweep", "classes", "ratios", "size")  # layouts of published tables that become figures

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


def output_files(tasks: Iterable[str], published: Iterable[Mapping] = (), tuned: Iterable[str] = (),
                 claims=False) -> list[str]:  # fmt: skip
    """Every file of a report on `tasks`, relative to the experiment's folder. `published` is config.tables of its plan:
    the tables and figures of papers that it is shown beside. `tuned`: the tasks on which methods are tuned.
    `claims`: whether the claims of the VIB-LSTM paper are held against the runs."""
    drawn = {entry["name"]: entry.get("layout", "table") in DRAWN for entry in published}
    tuned = sorted(set(tuned))
    extra = ["audit"] * bool(drawn) + ["claims"] * claims
    names = [*TABLES, *extra, *(["tuning"] if tuned else []), *(name for name, figure in drawn.items() if not figure)]
    tables = [f"tables/{name}.{suffix}" for name in names for suffix in table_suffixes(name)]
    names = [*figure_names(tasks), *(f"tuning_{slug(task)}" for task in tuned)]
    names += [name for name, figure in drawn.items() if figure]
    figures = [f"figures/{name}.{suffix}" for name in names for suffix in ("svg", "csv")]
    return [PAGE, *([AUDIT_PAGE] if drawn else []), *tables, *figures]


def table_suffixes(name: str) -> tuple[str, ...]:
    """`runs` is raw data, one line a record, and makes no sense in print."""
    return ("csv",) if name == "runs" else ("csv", "tex")


def published(plan: Mapping) -> list[Mapping]:
    """The published tables that a plan asks for, as they stand in its configuration."""
    entries = (plan.get("config") or {}).get("tables") or []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) and "name" in entry for entry in entries):
        raise InputError("plan: config.tables is not a list of published tables, each with a name")
    return entries


def has_claims(plan: Mapping) -> bool:
    """Whether the method that the claims are about is in the experiment."""
    return any(run["method"] == CLAIMED for run in plan.get("runs", []))


def tuned_tasks(plan: Mapping) -> list[str]:
    """The tasks on which a plan tunes methods."""
    entries = plan.get("tunings") or []
    needed = {"task", "method", "path"}
    sound = isinstance(entries, list) and all(isinstance(one, Mapping) and needed <= one.keys() for one in entries)
    if not sound or not all(isinstance(one[key], str) for one in entries for key in needed):
        raise InputError("plan: tunings is not a list of tunings, each with a task, a method and a path")
    return sorted({one["task"] for one in entries})


def read_plan(plan: Path | Mapping) -> dict:
    """A plan (`plan.json` or its content), checked for the keys that the report uses."""
    where = plan if isinstance(plan, Path) else "plan"
    if isinstance(plan, Path):
        try:
            plan = read_json(plan)
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
        kinds = {"task": str, "method": str, "path": str, "seed": int, "varied": Mapping, "settings": Mapping}
        if wrong := [key for key, kind in kinds.items() if key in run and not isinstance(run[key], kind)]:
            raise InputError(f"{where}: runs[{number}]: {wrong[0]} is {str(run[wrong[0]])[:80]!r}")
    for key in ("experiment", "description", "protocol", "engine_digest"):
        if not isinstance(plan.get(key) or "", str):
            raise InputError(f"{where}: {key} is no text")
    if not isinstance(plan.get("config") or {}, Mapping):
        raise InputError(f"{where}: config is no mapping")
    tuned_tasks(plan), published(plan)
    return dict(plan)
