"""What a report cannot show: unfinished experiments, single runs, controls that did not run."""

from __future__ import annotations

import pandas as pd

from squeezebench.base.folds import task_of_fold
from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.names import page_of
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, SMALLER
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, VERDICT_SEEDS
from squeezebench.report.words import captions

MOST_NAMED = 4  # methods in a sentence
MOST_REASONS = 2


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
