"""Which runs a claim compares: the points of one family on one task, the point that is picked, and means over seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.claims.file import Family, Group
from squeezebench.report.claims.outcome import NotTestable
from squeezebench.report.gather import Gathered, canonical, differing
from squeezebench.report.paper.match import Pick, agrees, pick, told_apart
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.groups import accuracy_spread
from squeezebench.report.statistics.spread import Spread, over_seeds
from squeezebench.schema.inference import Model

Terms = Sequence[tuple[float, pd.Series]]  # weights of run groups in a mean


@dataclass(frozen=True)
class Case:
    """A task's run groups of one protocol, and what else a comparison may read."""

    task: str
    groups: pd.DataFrame
    gathered: Gathered
    models: list[Model] = field(default_factory=list)  # of inference.json, of this task

    def runs(self, group: pd.Series) -> pd.DataFrame:
        """The finished runs of a group by seed."""
        return self.gathered.runs_of(group).set_index("seed").sort_index()


def points(group: Group, case: Case, given: bool = False) -> pd.DataFrame:
    """The run groups of one family on the case's task. given: without those whose size was given (`ratio`).

    Raises NotTestable if there are none, or if they differ in a setting that the family leaves open.
    """
    family, method = group.of, group.of.method
    here = case.groups[(case.groups["task"] == case.task) & (case.groups["method"] == method)]
    if here.empty:
        raise NotTestable(f"no run of {method}", f"runs of {method}")
    settings = [json.loads(text) for text in here["settings"]]
    able = here[np.array([_belongs(values, family) for values in settings], bool)]
    if able.empty:
        asked = _lacking(settings, family)
        raise NotTestable(f"no run of {method} with {asked}", f"runs of {method} with {asked}")
    if varied := [name for name in differing([*map(json.loads, able["settings"])]) if name not in family.along]:
        raise NotTestable(
            f"the runs of {method} differ in {', '.join(varied)}, which the family {group.family!r} leaves open",
            f"one value of {' and of '.join(varied)}, or a family that names it",
        )
    free = able[[json.loads(text).get("ratio") is None for text in able["settings"]]] if given else able
    if free.empty:
        raise NotTestable(f"the sizes of {method} were given (ratio)", f"a grid of {family.along[0]} without a ratio")
    return free


def _belongs(settings: dict[str, Any], family: Family) -> bool:
    return agrees(settings, family.where) and all(
        key in settings and settings[key] != value for key, value in family.unlike.items()
    )


def _lacking(settings: list[dict[str, Any]], family: Family) -> str:
    """What no run has of a family's settings; all of them if each one is there, but not together."""
    none = {k: v for k, v in family.where.items() if not any(agrees(values, {k: v}) for values in settings)}
    unlike = {k: v for k, v in family.unlike.items() if all(values.get(k) == v for values in settings)}
    none = none if none or unlike else family.where
    parts = [f"{key} = {formats.setting(value)}" for key, value in none.items()]
    return ", ".join(parts + [f"{key} other than {formats.setting(value)}" for key, value in unlike.items()])


def picked(group: Group, case: Case, given: bool = False) -> tuple[Pick, str]:
    """The point that stands for its family, and its name for readers. Raises NotTestable if there is none."""
    able = points(group, case, given)
    dense = case.groups[case.groups["method"].isin(DENSE) & (case.groups["task"] == case.task)]
    front = group.of.where.get("front")
    dense = dense[[json.loads(text).get("front") == front for text in dense["settings"]]]
    # The dense groups come along: what is "within 1 point" is within 1 point of dense.
    chosen = pick(group.row(), case.task, able if group.of.method in DENSE else pd.concat([able, dense]))
    if chosen.group is None:
        raise NotTestable(f"{group.of.method}: {chosen.words}", f"finished runs of {group.of.method}")
    words = ", ".join(part for part in (told_apart(chosen.group, case.groups), chosen.words) if part)
    return chosen, f"{chosen.group['method_label']}" + (f" ({words})" if words else "")


def held_out(task: str, gathered: Gathered) -> str:
    """The task that differs from a randomly split one in holding out whole groups. Raises NotTestable without one."""
    specs = task_specs(gathered)
    wanted = specs.get(task, {}) | {"split": "group"}
    for other, spec in specs.items():
        if all(spec.get(key) == value for key, value in wanted.items() if key != "name"):
            return other
    raise NotTestable("no task holds out whole groups and is the same otherwise", "the same task with `split: group`")


def task_specs(gathered: Gathered) -> dict[str, dict[str, Any]]:
    """What each task was made from: of the plan, or of the records."""
    planned = gathered.plan.get("tasks")
    specs = {task: spec for task, spec in zip(gathered.runs["task"], gathered.runs["task_spec"], strict=True) if spec}
    if isinstance(planned, dict):
        specs |= {name: entry["spec"] for name, entry in planned.items() if isinstance(entry, dict) and "spec" in entry}
    return specs


def pairs(of: Group, over: Group, case: Case, given: bool = False) -> list[tuple[pd.Series, pd.Series]]:
    """Finished points of two families with the same settings, apart from those that tell the families apart."""
    first, second = of.of, over.of
    apart = {key for key in {*first.where, *second.where, *first.unlike, *second.unlike}
             if first.where.get(key) != second.where.get(key)}  # fmt: skip

    def rest(group: pd.Series) -> str:
        return canonical({k: v for k, v in json.loads(group["settings"]).items() if k not in apart})

    ours, others = ([row for _, row in points(group, case, given).iterrows() if row["ok"]] for group in (of, over))
    partners = {rest(group): group for group in others}
    both = [(group, partners[rest(group)]) for group in ours if rest(group) in partners]
    if not both:
        names = " and ".join(sorted(apart))
        raise NotTestable(f"no two finished settings differ in {names} alone", f"one more value of {names} for each")
    return both


def accuracy(terms: Terms, case: Case) -> Spread:
    """The weighted sum of test accuracies of run groups, over the seeds that all of them finished, and over the test
    sequences as well if every record holds its predictions."""
    runs = [case.runs(group) for _, group in terms]
    weights = [weight for weight, _ in terms]
    seeds = _common([table["test"] for table in runs])
    runs = [table.loc[seeds] for table in runs]
    return accuracy_spread(runs, weights, case.gathered)


def log_ratio(terms: Terms, case: Case) -> Spread:
    """The weighted sum of log ratios of LSTM parameters of run groups: of the ratio of means, with the spread over the
    seeds of both sizes relative to their means (delta method). Raises NotTestable for a model without an LSTM."""
    mean, relative = 0.0, []
    runs = [case.runs(group) for _, group in terms]
    seeds = _common([table["count_size"] + table["baseline_size"] for table in runs])
    for (weight, _), table in zip(terms, runs, strict=True):
        base, own = (table.loc[seeds, column].to_numpy(float) for column in ("baseline_size", "count_size"))
        if not (own > 0).all():
            raise NotTestable("a model without an LSTM has no ratio", "a method with an LSTM")
        if len(seeds):
            mean += weight * math.log(base.mean() / own.mean())
            relative.append(weight * (base / base.mean() - own / own.mean()))
    return replace(over_seeds(sum(relative, np.zeros(len(seeds)))), mean=mean)


def _common(columns: list[pd.Series]) -> pd.Index:
    """The seeds that have a value in every column."""
    return pd.concat(columns, axis=1).dropna().index


def largest_ratio(group: pd.Series, case: Case) -> tuple[float, str]:
    """How many times smaller the smallest LSTM is that a linear head could tell the classes by: one input, and one
    unit for each bit of the number of classes. Infinite if the group does not say its dimensions."""
    runs = case.runs(group)
    classes = max((len(names) for names in runs["class_names"]), default=0)
    d, h = group["of_inputs"], group["of_hidden"]
    if formats.absent(d) or formats.absent(h) or classes < 2:
        return math.inf, ""
    layers = json.loads(runs["settings"].iloc[0]).get("layers", 1)
    h, units = h / layers, math.ceil(math.log2(classes))
    dense = h * (d + h + 2) + (layers - 1) * h * (2 * h + 2)
    return dense / (units * (units + 3)), f"1 input and {units} units, one for each bit of {classes} classes"
