"""Names of the files a report writes. Imports nothing heavy: the workflow asks while it is parsed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.folds import task_of_fold
from squeezebench.base.reading import read_json
from squeezebench.base.versions import refuse_newer
from squeezebench.report.declarations import PAGES, Declaration, declared

PAGE = "report.html"
AUDIT_PAGE = "audit.html"  # the papers' printed figures, recomputed: beside every report that compares with a paper
CLAIMED = "vib_lstm"  # the method that report/claims is about
DRAWN = ("sweep", "classes", "ratios", "size")  # layouts of published tables that become figures
# Why a run has no result to rely on.
PROBLEMS = ["failed", "damaged", "missing", "stale", "left out", "skipped", "duplicate", "contract"]

_SAFE = re.compile(r"[^A-Za-z0-9_-]+")


def slug(name: str) -> str:
    """`name` as part of a file name. A name that had to change gets a digest, so that two never meet."""
    short = _SAFE.sub("-", name).strip("-")[:60]
    return short if short == name else f"{short or 'task'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def file_name(declaration: Declaration, task: str = "") -> str:
    """The name (without folder and suffix) of the files of a figure or table."""
    return f"{declaration.name}_{slug(task)}" if declaration.each == "task" else declaration.name


def output_files(plan: Mapping, plugins: Iterable[str | Path] = ()) -> list[str]:
    """Every file of a report that is certain to be written, relative to the experiment's folder.

    Raises InputError if two figures or two tables would have one name.
    """
    papers = {entry["name"]: entry.get("layout", "table") in DRAWN for entry in published(plan)}
    files = [PAGE, *([AUDIT_PAGE] if papers else [])]
    for kind, drawn in (("tables", False), ("figures", True)):
        suffixes = {name: ("svg", "csv") if drawn else ("csv", "tex") for name, is_figure in papers.items()
                    if is_figure == drawn}  # fmt: skip
        for declaration in declared(kind, plugins, page_of(plan)):
            for task in _promised(declaration, plan):
                name = file_name(declaration, task)
                if name in suffixes:
                    raise InputError(f"{declaration.plugin.where}: there is another of the name {name!r} in {kind}/")
                suffixes[name] = ("svg", "csv") if drawn else declaration.suffixes
        files += [f"{kind}/{name}.{suffix}" for name, endings in suffixes.items() for suffix in endings]
    return files


def _promised(declaration: Declaration, plan: Mapping) -> list[str]:
    """The tasks on which a figure or table is certain to be written; one entry if it is one for the whole report."""
    tasks = sorted({run["task"] for run in plan["runs"]})
    if declaration.folds == "mean":
        tasks = sorted({task_of_fold(task) or task for task in tasks})
    whole = declaration.each == "report"
    entries = {
        "always": tasks or [""] * whole,
        "optional": [],
        "tuned": tuned_tasks(plan),
        "claims": tasks * has_claims(plan),
        "published": (tasks or [""]) * bool(published(plan)),
    }[declaration.when]
    return entries[:1] if whole else entries


def page_of(plan: Mapping) -> str:
    """The form of the page that an experiment asks for."""
    page = (plan.get("config") or {}).get("page") or PAGES[0]
    if page not in PAGES:
        raise InputError(f"plan: config.page is {page!r:.80}; give {' or '.join(PAGES)}")
    return page


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
    sound = isinstance(entries, list) and all(
        isinstance(entry, Mapping) and needed <= entry.keys() for entry in entries
    )
    if not sound or not all(isinstance(entry[key], str) for entry in entries for key in needed):
        raise InputError("plan: tunings is not a list of tunings, each with a task, a method and a path")
    return sorted({entry["task"] for entry in entries})


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
        refuse_newer(where, plan)
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
    plugins = plan.get("plugins") or []
    if not isinstance(plugins, list) or not all(isinstance(place, str) for place in plugins):
        raise InputError(f"{where}: plugins is no list of paths")
    if not isinstance(plan.get("config") or {}, Mapping):
        raise InputError(f"{where}: config is no mapping")
    ratios = (plan.get("config") or {}).get("compare_at")
    ratios = list(ratios.values()) if isinstance(ratios, Mapping) else [ratios]
    if not all(ratio is None or (isinstance(ratio, int | float) and 1 < ratio < 1e12) for ratio in ratios):
        raise InputError(f"{where}: config.compare_at is no ratio above 1, or one for each task")
    tuned_tasks(plan), published(plan), page_of(plan)
    return dict(plan)
