"""What figures and tables are made from: the gathered runs and what follows from them, computed when first used."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import pandas as pd

from squeezebench.base.folds import task_of_fold
from squeezebench.report.claims.judge import judge_claims
from squeezebench.report.drawing.palette import Look, looks
from squeezebench.report.gather import GROUP, Gathered, gather
from squeezebench.report.names import CLAIMED, has_claims
from squeezebench.report.rules import compared_rules
from squeezebench.report.sizes import Rule, rule_of
from squeezebench.report.statistics.compare import compared
from squeezebench.report.statistics.folds import as_groups
from squeezebench.report.statistics.groups import run_groups, with_front
from squeezebench.report.statistics.picks import PARTNERS, selected
from squeezebench.report.statistics.summary import summaries
from squeezebench.report.tuned import Tuned, gather_tuning

PROTOCOLS = {"sound": "", "paper": " (paper's protocol)", "as_released": " (as released)"}


class Results:
    """An experiment's results. The argument of every figure and table."""

    def __init__(self, gathered: Gathered) -> None:
        self.gathered = gathered

    @property
    def tasks(self) -> list[str]:
        """Every task that was planned or ran."""
        return self.gathered.tasks

    @cached_property
    def groups(self) -> pd.DataFrame:
        """One row per run group (task, protocol, method, settings), with its paired differences to its partners."""
        return compared(run_groups(self.gathered), self.gathered)

    @cached_property
    def whole(self) -> Results:
        """The same with the mean over the folds of each task that has any, as one task, in place of its folds."""
        return _Whole(self) if any(map(task_of_fold, self.tasks)) else self

    @cached_property
    def chosen(self) -> pd.DataFrame:
        """The run groups that are picked on validation at each ratio, with the ratio in the column `bracket`."""
        return selected(self.groups)

    @cached_property
    def rules(self) -> pd.DataFrame:
        """The run groups of learning rules, with their paired differences to exact gradients (see `rules.py`)."""
        return compared_rules(self.groups, self.gathered)

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per task and method (see `statistics/summary.py`)."""
        return summaries(self.groups, self.gathered)

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Colour, marker and line of each method."""
        return looks(self.groups)

    @cached_property
    def tuned(self) -> list[Tuned]:
        """What each method that was to be tuned was given, and what was found."""
        return gather_tuning(self.gathered)

    @cached_property
    def claims(self) -> pd.DataFrame | None:
        """The verdict on each claim of the VIB-LSTM paper; None if its method is not in the experiment."""
        if has_claims(self.gathered.plan) or (self.gathered.runs["method"] == CLAIMED).any():
            return judge_claims(self.groups, self.gathered)
        return None

    @cached_property
    def rule(self) -> Rule:
        """How sizes are counted on all tasks."""
        return rule_of(self.groups)

    def of(self, task: str) -> pd.DataFrame:
        """The run groups of one task."""
        return self.groups[self.groups["task"] == task]

    def best_per_method(self, task: str) -> pd.DataFrame:
        """The group of each method that is best on validation, among its sound ones if it has any."""
        here = self.of(task)
        here = here[here["validation_accuracy_mean"].notna()]
        here = here.sort_values(["protocol", "validation_accuracy_mean"], ascending=False, kind="stable")
        best = here.drop_duplicates("method").copy()  # "sound" sorts behind "as_released": descending, it is first
        best["method_label"] += best["protocol"].map(PROTOCOLS)
        return best.sort_values(["control", "method"])


class _Whole(Results):
    """Results without folds: `groups` has the means over them."""

    def __init__(self, results: Results) -> None:
        super().__init__(results.gathered)
        self._parts = results

    @property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(task_of_fold(task) or task for task in self.gathered.tasks))

    @cached_property
    def groups(self) -> pd.DataFrame:
        groups = self._parts.groups
        others = groups[groups["task"].map(task_of_fold).isna()].copy()
        places = {index: place for place, index in enumerate(others.index)}
        for name in (f"{which}_group" for which in PARTNERS):
            others[name] = others[name].map(places)
        return with_front(pd.concat([others, as_groups(groups, self.gathered.tasks)], ignore_index=True))

    @property
    def whole(self) -> Results:
        return self


def picked_runs(folder: Path) -> list[Path]:
    """For each task and method the settings that the report picks on validation: the run of the first seed of each."""
    gathered = gather(folder)
    chosen = selected(run_groups(gathered))
    runs = gathered.runs[gathered.runs["status"] == "ok"].merge(chosen[GROUP].drop_duplicates(), on=GROUP)
    return [folder / path for path in runs.sort_values("seed").drop_duplicates(GROUP)["path"].sort_values()]
