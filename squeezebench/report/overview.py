"""The first screen: counts of runs, what ran, where and when, and the facts of each task."""

from __future__ import annotations

from typing import Any

import pandas as pd

from squeezebench.base.folds import task_of_fold
from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.names import PROBLEMS
from squeezebench.report.sizes import rule_of
from squeezebench.report.statistics.spread import part_covered

SHORT = 400  # characters of a description that is shown whole


def title(gathered: Gathered) -> str:
    """The experiment's name."""
    named = [name for name in gathered.runs["experiment"].unique() if name]
    name = gathered.plan.get("experiment") or (named[0] if len(named) == 1 else gathered.folder.resolve().name)
    return formats.clean(name)


def protocols(gathered: Gathered) -> list[str]:
    """Protocols that were planned or ran, the sound one first."""
    planned = gathered.plan.get("protocol")
    names = {*gathered.runs["protocol"], *([planned] if isinstance(planned, str) else [])}
    return [name for name in ("sound", "paper", "as_released") if name in names]


def overview(gathered: Gathered) -> dict[str, Any]:
    """The first screen: counts of runs by what became of them, and what ran, where and when."""
    runs = gathered.runs
    ok = runs["status"] == "ok"
    kinds = gathered.problems["kind"].value_counts()
    number = {"ok": int(ok.sum()), **{kind: int(kinds.get(kind, 0)) for kind in PROBLEMS}}
    number["contract"] = int((runs["contract"] != "").sum())
    number["stale"] = int(runs["stale"].sum())
    methods = {run["method"] for run in gathered.plan.get("runs", [])} | set(runs["method"])
    seeds = {run["seed"] for run in gathered.plan.get("runs", [])} | set(runs["seed"])
    finished = runs.loc[runs["finished"] != "", "finished"]
    days = sorted({str(moment)[:10] for moment in finished})
    machines = sorted({str(name) for name in runs["machine"] if name})
    threads = sorted(set(runs["threads"]))
    return {
        "number": number,
        "planned": len(gathered.plan["runs"]) if gathered.plan else None,
        "records": len(runs) + len(gathered.left_out),
        "tasks": _tasks(gathered),
        "methods": sorted(methods),
        "seeds": _seed_words(sorted(seeds)),
        "when": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "not recorded",
        "machines": machines or ["not recorded"],
        "threads": ", ".join(map(str, threads)) or formats.NONE,
        "training": _duration(runs["train_seconds"].sum()),
        "description": _folded(formats.clean(str(gathered.plan.get("description") or ""))),
    }


def _folded(text: str) -> tuple[str, str]:
    """A description's first sentences, and the rest of a long one: results are not to begin below the screen."""
    end = text.find(". ", SHORT // 2) + 1
    return (text[:end], text[end:].strip()) if len(text) > SHORT and end else (text, "")


def _seed_words(seeds: list[int]) -> str:
    if not seeds:
        return formats.NONE
    listed = ", ".join(map(str, seeds)) if len(seeds) <= 5 else f"{seeds[0]} … {seeds[-1]}"
    return f"{len(seeds)} ({listed})"


def _tasks(gathered: Gathered) -> list[str]:
    """The names of the tasks; one name for all folds of one."""
    named = dict.fromkeys(task_of_fold(task) or task for task in gathered.tasks)
    folds = {task: len(gathered.parts(task)) for task in named if task not in gathered.tasks}
    return [f"{task} ({formats.plural(folds[task], 'fold')})" if task in folds else task for task in named]


def _duration(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{formats.significant(seconds / length, 2)} {unit}"
    return f"{seconds:.0f} s"


def task_warnings(task: str, gathered: Gathered) -> list[str]:
    """What the accuracies on one task do not show: a part of a data set, groups or sequences on both sides of its
    split."""
    runs = gathered.runs[(gathered.runs["task"] == task) & (gathered.runs["status"] == "ok")]
    parts = [f"The data are {words}" for words in sorted(set(runs["part_of"])) if words]
    both = (words for column in ("groups_across", "known_sequences") for words in sorted(set(runs[column])))
    return [formats.clean(words) for words in (*parts, *both) if words]


def task_facts(task: str, gathered: Gathered) -> str:
    """Size of the test set and what it means for one accuracy."""
    runs = gathered.runs[(gathered.runs["task"] == task) & (gathered.runs["status"] == "ok")]
    sizes = runs["test_size"].dropna().unique()
    if len(sizes) != 1 or not sizes[0]:
        return ""
    accuracy = runs["test"].median()
    error = (accuracy * (1 - accuracy) / sizes[0]) ** 0.5
    near = f" (one standard error of an accuracy near {formats.percent(accuracy)}: {100 * error:.1f} points)"
    grouped = gathered.correct(list(runs["path"][runs["group_codes"] != ""][:1]))
    part = part_covered(grouped.groups) if grouped else "the test part"
    covers = {1.0: f"the seeds and {part}", 0.0: "the seeds alone: these records hold no predictions"}
    share = float((runs["predictions"] != "").mean())
    near += f"; intervals cover {covers.get(share, 'the test part too, if their records hold predictions')}"
    return f"{sizes[0]:,.0f} test {rule_of(runs).example}s" + ("" if pd.isna(accuracy) else near)
