"""The first screen: counts of runs, what ran, where and when, the facts of each task, and what cannot be shown."""

from __future__ import annotations

from typing import Any

import pandas as pd

from squeezebench.base.folds import task_of_fold
from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.names import PROBLEMS, page_of
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, SMALLER, rule_of
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, VERDICT_SEEDS, part_covered
from squeezebench.report.words import captions

MOST_NAMED = 4  # methods in a sentence
MOST_REASONS = 2
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


def missing(results: Results) -> list[str]:
    """Sentences, the most important first; none if the experiment is whole and can carry verdicts."""
    words, gathered = captions(results.rule.name)["missing"], results.gathered
    runs = gathered.runs[gathered.runs["status"] == "ok"]
    sentences = []
    if runs.empty:
        return [words["nothing"].format(folder=formats.clean(gathered.folder.name))]
    sentences += _without_result(gathered, words)
    sized = page_of(gathered.plan) == "sizes"
    for control, key in ((DENSE, "no_dense"), (SMALLER, "no_small")) if sized else ():
        without = [task for task in gathered.tasks if not runs.loc[runs["task"] == task, "method"].isin(control).any()]
        if without:
            named = dict.fromkeys(task_of_fold(task) or task for task in without)
            sentences.append(words[key].format(tasks=formats.clean(", ".join(named))))
    seeds = results.groups.loc[results.groups["ok"] > 0, "ok"]
    if seeds.max() < VERDICT_SEEDS:
        n = int(seeds.max())
        key = "no_intervals" if n < ENOUGH_SEEDS else "no_verdicts"
        sentences.append(words[key].format(seeds=formats.plural(n, "seed"), carry="carries" if n == 1 else "carry",
                                           enough=ENOUGH_SEEDS, verdict=VERDICT_SEEDS))  # fmt: skip
    return sentences


def _without_result(gathered: Gathered, words: dict[str, str]) -> list[str]:
    """The planned runs that are not made yet, and those whose records are left out because they are of other inputs."""
    planned = gathered.problems[gathered.problems["kind"] == "missing"]
    reasons = dict(zip(gathered.left_out["path"], gathered.left_out["left_out"], strict=True))
    waiting = planned[~planned["path"].isin(reasons)]
    other = planned[planned["path"].isin(reasons)]
    why = list(dict.fromkeys(other["path"].map(reasons)))
    because = "; ".join(why[:MOST_REASONS]) + (f"; and {formats.plural(len(why) - MOST_REASONS, 'other reason')}"
                                               if len(why) > MOST_REASONS else "")  # fmt: skip
    return [
        words[key].format(n=len(runs), of=len(gathered.plan["runs"]), list=_listed(runs), why=formats.clean(because))
        for key, runs in (("waiting", waiting), ("outdated", other))
        if len(runs)
    ]


def _listed(runs: pd.DataFrame) -> str:
    """`digits/iss (4), digits/dense (1) and 3 others`."""
    number = runs.groupby(["task", "method"], sort=True).size()
    named = [f"{task}/{method} ({n})" for (task, method), n in number.items()][:MOST_NAMED]
    more = len(number) - len(named)
    return formats.clean(", ".join(named) + (f" and {formats.plural(more, 'other')}" if more > 0 else ""))
