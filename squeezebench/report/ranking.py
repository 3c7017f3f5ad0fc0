"""The methods of a task at the ratio that the experiment registered: which stands where, and why others are not there.

The figure `ranked` draws it and the headline of the task reads it. Settings are picked on validation; the order is that
of the test accuracies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.results import Results
from squeezebench.report.sizes import DENSE, of_row
from squeezebench.report.statistics.groups import leading_protocol, method_labels
from squeezebench.report.statistics.picks import reaches

TOLD = ("failed", "skipped", "damaged", "left out")  # kinds of problems with a reason of their own


@dataclass(frozen=True)
class Absent:
    """A method without a run group at the ratio. `brief`: the reason in a word or two."""

    method: str
    label: str
    brief: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    """`groups`: a run group of each method that reaches the ratio, collapsed ones last. `references`: dense, and the
    best group of each method without a recurrence."""

    at: float
    references: pd.DataFrame
    groups: pd.DataFrame
    absent: list[Absent]


def ranking(results: Results, task: str) -> Ranking:
    """All methods of a task that were planned or ran."""
    at = results.gathered.compare_at(task)
    here = leading_protocol(results.of(task))
    here = here[(here["ok"] > 0) & here["test_accuracy_mean"].notna()]
    chosen = results.chosen
    picked = here[here.index.isin(chosen.index[chosen["registered"]]) & ~here["method"].isin(DENSE)]
    by_validation = here.sort_values("validation_accuracy_mean", ascending=False, kind="stable")
    references = pd.concat(
        [
            by_validation[by_validation["method"].isin(DENSE)].head(1),
            by_validation[by_validation["size_mean"] == 0].drop_duplicates("method"),
        ]
    )
    order = picked.sort_values(["collapsed", "test_accuracy_mean"], ascending=[True, False], kind="stable")
    shown = {*picked["method"], *references["method"], *DENSE}
    return Ranking(at, references, order, _absent(results, task, here, shown, at))


def _absent(results: Results, task: str, here: pd.DataFrame, shown: set[str], at: float) -> list[Absent]:
    """The methods that have no group at the ratio."""
    gathered, parts = results.gathered, results.gathered.parts(task)
    planned = {run["method"] for run in gathered.plan.get("runs", []) if run["task"] in parts}
    ran = set(gathered.runs.loc[gathered.runs["task"].isin(parts), "method"])
    labels = method_labels(pd.concat([gathered.runs, gathered.left_out]))
    problems = gathered.problems[gathered.problems["task"].isin(parts)]
    absent = []
    for method in sorted((planned | ran) - shown):
        brief, reason = _why(here[here["method"] == method], problems[problems["method"] == method], at)
        absent.append(Absent(method, formats.clean(labels.get(method, method)), brief, formats.clean(reason)))
    return absent


def _why(finished: pd.DataFrame, problems: pd.DataFrame, at: float) -> tuple[str, str]:
    """Why a method has no group at the ratio: what became of the runs that were to reach it, or how far it came."""
    aimed = problems[problems["settings"].map(lambda text: json.loads(text).get("ratio") == at)]
    told = aimed if len(aimed) or len(finished) else problems
    brief, reason = "no result", "no finished run"
    if len(told):
        first = told.sort_values("kind", key=lambda kinds: ~kinds.isin(TOLD), kind="stable").iloc[0]
        waits = first["kind"] == "missing"
        brief = "not run yet" if waits else first["kind"]
        reason = brief if waits else f"{brief}: {first['reason']}"
    sizes = finished[np.isfinite(finished["ratio_size"])]
    if sizes.empty:
        return brief, reason
    smallest = sizes.loc[sizes["ratio_size"].idxmax()]
    if reaches(smallest["ratio_size"], at):
        return "too few seeds", f"only {formats.plural(int(smallest['ok']), 'seed')} finished"
    reached = of_row(smallest).ratio(smallest["ratio_size"])
    said = f"its smallest network is {reached}"
    return f"smallest {reached}", f"{said}; {reason}" if len(told) else said
