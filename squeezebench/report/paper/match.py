"""Which of our run groups stand beside a printed row, and which one of several is picked, on validation alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.report import formats
from squeezebench.report.gather import Gathered, differing
from squeezebench.report.names import published
from squeezebench.report.sizes import DENSE, Rule, rule_of
from squeezebench.report.statistics.folds import as_groups
from squeezebench.report.statistics.picks import ranked
from squeezebench.report.statistics.verdicts import MARGIN
from squeezebench.schema.printed import OurRow, PublishedTable


@dataclass(frozen=True)
class Pick:
    """What stands beside one row: a run group, or the words that say why there is none."""

    group: pd.Series | None
    words: str  # how the group was picked; `not run` and the like without one
    settings: int = 1  # how many competed
    within: bool = True  # of `smallest`: whether it is within 1 point of dense on validation
    last: bool = True  # whether no smaller setting was there


def tables_of(plan: dict) -> list[PublishedTable]:
    """The published tables that a plan asks for. Raises InputError for an entry that is none."""
    tables = []
    for entry in published(plan):
        try:
            tables.append(PublishedTable.model_validate(entry))
        except ValidationError as error:
            raise InputError(f"plan: config.tables: {first_problem(error)}") from None
    return tables


def rule_of_table(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Rule:
    """How sizes are counted on the tasks that a published table shows."""
    rows = [*table.rows.values(), *table.also.values()]
    tasks = {task for row in rows for task in table.tasks_of(row, gathered.tasks)}
    return rule_of(groups[groups["task"].isin(tasks)])


def of_one_protocol(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """The groups of the plan's protocol; without one those of the first of sound, paper, as_released that has any."""
    for protocol in (gathered.plan.get("protocol"), "sound", "paper", "as_released"):
        finished_groups = groups[(groups["protocol"] == protocol) & (groups["ok"] > 0)]
        if len(finished_groups):
            return groups[groups["protocol"] == protocol]
    return groups


def with_folds(groups: pd.DataFrame, gathered: Gathered) -> pd.DataFrame:
    """The groups of one protocol, and the means over the folds of each task that has any as groups of that task."""
    shown = of_one_protocol(groups, gathered)
    return pd.concat([shown, as_groups(shown, gathered.tasks)], ignore_index=True)


def told_apart(group: pd.Series, groups: pd.DataFrame) -> str:
    """The varied settings of a group whose values differ among the groups of its method and task, in words."""
    same = groups[(groups["task"] == group["task"]) & (groups["method"] == group["method"])]
    names = differing([json.loads(settings) for settings in same["settings"]])
    varied = {name: value for name, value in json.loads(group["varied"]).items() if name in names}
    return formats.settings(varied) if varied else ""


def matching(row: OurRow, task: str, groups: pd.DataFrame) -> pd.DataFrame:
    """Every group of the row's method on `task` whose resolved settings are those of `where`."""
    candidates = groups[(groups["task"] == task) & (groups["method"] == row.method)]
    return candidates[np.array([agrees(json.loads(settings), row.where) for settings in candidates["settings"]], bool)]


def agrees(settings: dict[str, Any], where: dict[str, Any]) -> bool:
    """Whether all settings are the wanted ones; of a list, one of them. null: none, or not a setting of the method."""
    return all(
        settings.get(name) == wanted or (isinstance(wanted, list) and settings.get(name) in wanted)
        for name, wanted in where.items()
    )


def pick(row: OurRow, task: str, groups: pd.DataFrame) -> Pick:
    """The group that stands beside a row on `task`; test accuracy plays no part."""
    every = matching(row, task, groups)
    if every.empty:
        return Pick(None, "not run")
    candidates = every[every["ok"] > 0]
    if row.at_least is not None:
        candidates = candidates[candidates["ratio_size"] >= row.at_least]
        if candidates.empty and (every["ok"] > 0).any():
            return Pick(None, f"no setting at {formats.ratio(row.at_least)} or more")
    if candidates.empty:
        parts = [f"{int(every[kind].sum())} {kind}" for kind in ("failed", "skipped", "missing") if every[kind].sum()]
        return Pick(None, ", ".join(parts) or "not run")
    of = f" of {len(candidates)} settings"
    if row.at_least is not None:
        of += f" at {formats.ratio(row.at_least)} or more"
    able, alone = ranked(candidates), len(candidates) == 1
    if alone and (row.pick == "best" or able.empty):
        return Pick(candidates.iloc[0], "")
    if able.empty:
        return Pick(None, f"not picked: none{of} has a validation accuracy")
    if row.pick == "best":
        return Pick(able.iloc[0], f"best on validation{of}", len(candidates))
    dense = ranked(groups[(groups["task"] == task) & groups["method"].isin(DENSE)])
    top = (dense if len(dense) else able).iloc[0]["validation_accuracy_mean"]
    near = able[able["validation_accuracy_mean"] >= top - MARGIN]
    of = f" of {dense.iloc[0]['method'] if len(dense) else 'the best'} on validation{of}"
    if near.empty:
        words = "" if alone else f"best on validation; none within 1 point{of}"
        return Pick(able.iloc[0], words, len(candidates), within=False)
    least = near.sort_values(["size_mean", "validation_accuracy_mean"], ascending=[True, False]).iloc[0]
    last = bool(least["size_mean"] <= able["size_mean"].min())
    return Pick(least, "" if alone else f"smallest within 1 point{of}", len(candidates), last=last)


def swept(row: OurRow, task: str, setting: str, groups: pd.DataFrame) -> pd.DataFrame:
    """A row's groups along a setting, one for each value (the best on validation where others differ too), by value."""
    rows = matching(row, task, groups[groups["ok"] > 0])
    rows = rows.assign(value=[json.loads(settings).get(setting) for settings in rows["settings"]])
    numeric = [isinstance(value, int | float) and not isinstance(value, bool) for value in rows["value"]]
    rows = ranked(rows[np.array(numeric, bool)].astype({"value": float}))
    rows = rows.assign(candidates=rows.groupby("value")["settings"].transform("size"))
    return rows.drop_duplicates("value").sort_values("value")


def both_sides(row: OurRow, tasks: Sequence[str], groups: pd.DataFrame) -> tuple[pd.Series, pd.Series, int] | None:
    """One setting on two tasks, picked on the validation part of the second; with the number that competed."""
    left, right = (matching(row, task, groups[groups["ok"] > 0]) for task in tasks)
    shared = ranked(right[right["settings"].isin(left["settings"])])
    if shared.empty:
        return None
    chosen = shared.iloc[0]
    return left[left["settings"] == chosen["settings"]].iloc[0], chosen, len(shared)
