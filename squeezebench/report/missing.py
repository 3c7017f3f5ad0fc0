"""What a report cannot show: unfinished experiments, single runs, controls that did not run."""

from __future__ import annotations

from squeezebench.base.folds import task_of_fold
from squeezebench.report import formats
from squeezebench.report.names import page_of
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, SMALLER
from squeezebench.report.statistics.spread import ENOUGH_SEEDS, VERDICT_SEEDS
from squeezebench.report.words import captions

MOST_NAMED = 4  # methods in a sentence


def missing(results: Results) -> list[str]:
    """Sentences, the most important first; none if the experiment is whole and can carry verdicts."""
    words, gathered = captions(results.rule.name)["missing"], results.gathered
    runs = gathered.runs[gathered.runs["status"] == "ok"]
    sentences = []
    if runs.empty:
        return [words["nothing"].format(folder=formats.clean(gathered.folder.name))]
    waiting = gathered.problems[gathered.problems["kind"] == "missing"]
    if len(waiting):
        number = waiting.groupby(["task", "method"], sort=True).size()
        named = [f"{task}/{method} ({n})" for (task, method), n in number.items()][:MOST_NAMED]
        more = len(number) - len(named)
        listed = ", ".join(named) + (f" and {formats.plural(more, 'other')}" if more > 0 else "")
        sentences.append(
            words["waiting"].format(n=len(waiting), of=len(gathered.plan["runs"]), list=formats.clean(listed))
        )
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
