"""One experiment on several tasks: each method beside the controls of its size, over all tasks at once or one by one.

    python -m benchmarks.studies.across_splits RESULTS ... [--tasks together | equal | each] [--pick SETTING ...]

`together` is for official splits of one data set: the test parts of one seed are laid side by side, and a sequence
counts the same in each. UCF101's test parts hold different clips. HMDB51's share some (of J-HMDB's classes 137 of 1,743
clips, 8 %, are in two of them): they count as different ones, and so do groups of one name in two tasks, so that the
intervals are a little too narrow there. `equal` is for data sets of their own: each counts the same, however many test
sequences it has, and trainings on one are independent of those on another. Neither says anything of data sets that are
not there. `each` compares task by task.

Differences are paired by seed and sequence, and their intervals cover both (squeezebench/report/statistics/spread.py),
with test groups instead of sequences in tasks that have at least 10 of them. Column `covers` says which.
One line for each method, ratio and control, and one for each network without a ratio (dense, the mean of the steps):
the mean accuracy and the difference with its 95 % interval. p values are corrected by Holm's method over the methods
(and for `each` the tasks) of one ratio and control. `detectable` is the smallest difference that would have been
found in 80 % of all experiments, at the first step of that correction. A network that has collapsed is compared like
any other.

With `--at 18.3` a method that was given no ratio, and ends within a tenth of 18.3, is compared there; with `--macs`
every method that ends with about so many times fewer multiply-accumulates, whatever it was given.
With `--pick fine_tune_rate` the value of that setting that is best on validation stands for a method, by task and
ratio. Further folders add rows to the first; what several have counts from the first of them.

With one seed two trained networks are compared on the same test sequences: McNemar's exact test (a t test if groups
are what varies), and an interval that another training may leave.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import special
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from squeezebench.report.gather import Gathered, gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.picks import SAME_SIZE
from squeezebench.report.statistics.power import detectable
from squeezebench.report.statistics.spread import (
    ENOUGH_GROUPS,
    LEVEL,
    SEEDS,
    Spread,
    by_group,
    covered,
    over_both,
    part_covered,
)

CONTROLS = ("small_dense", "random_units", "magnitude", "small_network", "random_network", "magnitude_network")
WHOLE = ("dense", "pooled_linear", "dense_network")  # no ratio: compared with every size
TASKS = ("together", "equal", "each")
COLUMNS = ["task", "ratio", "method", "settings", "splits", "seeds", "accuracy", "against", "difference", "low", "high",
           "detectable", "p", "covers"]  # fmt: skip


def across(
    experiments: Sequence[Gathered], tasks: str = "together", picked: Sequence[str] = (), at: Sequence[float] = (),
    macs: bool = False,
) -> pd.DataFrame:  # fmt: skip
    """One row for each ratio, method and control (for `each`, and task); a control by itself has no difference."""
    tables, groups = _tables(experiments, picked, at, macs)
    if tasks == "each":
        names = sorted({task for table in tables.values() for task in table.columns.levels[0]})
        parts = {name: {key: table[[name]] for key, table in tables.items() if name in table} for name in names}
    else:
        number = len({task for table in tables.values() for task in table.columns.levels[0]})
        parts = {"": {key: table for key, table in tables.items() if len(table.columns.levels[0]) == number}}
    lines = [line | {"task": name} for name, part in parts.items() for line in _lines(part, groups, tasks == "equal")]
    frame = pd.DataFrame(lines, columns=[*COLUMNS, "error", "degrees"])
    for _, rows in frame.dropna(subset="p").groupby(["ratio", "against"]):
        frame.loc[rows.index, "p"] = multipletests(rows["p"], method="holm")[1]
        errors, degrees = rows["error"].to_numpy(float), rows["degrees"].to_numpy(float)
        frame.loc[rows.index, "detectable"] = detectable(errors, degrees, 0.05 / len(rows))
    frame = frame.drop(columns=["error", "degrees"])
    return frame if tasks == "each" else frame.drop(columns="task")


def _lines(
    tables: dict[tuple[float, str, str], pd.DataFrame], groups: Mapping[str, np.ndarray], equal: bool
) -> list[dict[str, object]]:
    lines = []
    for (ratio, method, settings), table in sorted(tables.items()):
        means = [part.to_numpy().mean() for _, part in table.T.groupby(level=0)]
        accuracy = np.mean(means) if equal else table.to_numpy().mean()
        line = {"ratio": ratio, "method": method, "settings": settings, "splits": len(means), "seeds": len(table),
                "accuracy": accuracy}  # fmt: skip
        others = {f"{name} {own}".strip(): other for (at, name, own), other in tables.items()
                  if (name in WHOLE or (at == ratio and name in CONTROLS))
                  and (name, own) != (method, settings)}  # fmt: skip
        lines += [line | _difference(table, other, name, groups, equal) for name, other in others.items()] or [line]
    return lines


def _tables(
    experiments: Sequence[Gathered], picked: Sequence[str] = (), at: Sequence[float] = (), macs: bool = False
) -> tuple[dict[tuple[float, str, str], pd.DataFrame], dict[str, np.ndarray]]:
    """(ratio, method, its other settings) -> which test sequences of each task are correct, a row for each seed; and
    task -> the groups of its test sequences, if its records know them."""
    known: dict[str, np.ndarray] = {}
    parts: dict[tuple, dict[str, pd.DataFrame]] = defaultdict(dict)
    every = pd.concat([run_groups(of).assign(experiment=place) for place, of in enumerate(experiments)])
    every = every.drop_duplicates(["task", "method", "settings"]).sort_values("validation_accuracy_mean", kind="stable")
    for _, group in every.iterrows():  # of those that are one row, the last and so the best on validation stays
        gathered, varied = experiments[group["experiment"]], dict(json.loads(group["varied"]))
        runs = gathered.runs_of(group).sort_values("seed")
        answers = gathered.correct(list(runs["path"]))
        ratio = _ratio(group, varied.pop("ratio", None), at, macs)
        if answers is not None and ratio:
            family = ", ".join(f"{name} {value}" for name, value in sorted(varied.items()) if name not in picked)
            parts[ratio, group["method"], family][group["task"]] = pd.DataFrame(answers.right, index=runs["seed"])
            if answers.groups is not None:
                known[group["task"]] = answers.groups
    tables = {key: pd.concat(by_task, axis=1, join="inner").astype(float) for key, by_task in parts.items()}
    return tables, known


def _ratio(group: pd.Series, given: float | None, at: Sequence[float], macs: bool) -> float | None:
    """The ratio at which a group is compared: the one it was given, or the nearest of `at` to where it ended."""
    if group["method"] in WHOLE:
        return 1.0
    if given is not None and not macs:
        return float(given)
    ended = group["dense_macs_mean"] / group["macs_mean"] if macs else group["ratio_size"]
    near = {max(one / ended, ended / one): one for one in at}
    return near[min(near)] if near and min(near) <= SAME_SIZE else None


def _difference(
    table: pd.DataFrame, other: pd.DataFrame, name: str, groups: Mapping[str, np.ndarray], equal: bool = False
) -> dict[str, object]:
    seeds = table.index.intersection(other.index)
    paired = table.loc[seeds] - other.loc[seeds]
    differences = paired.to_numpy()
    if len(seeds) == 1:  # each network is given: only the test sequences could have been others
        drawn, covers = _drawn(paired, groups)
        units, number = by_group(differences, drawn)
        mean, degrees, covers = float(differences.mean()), number - 1, covers.removeprefix(f"{SEEDS} and ")
        error = float(units.std(ddof=units.size / number)) / np.sqrt(units.size)
        t_test = 2 * special.stdtr(degrees, -abs(mean) / error) if error else 1.0
        p = _mcnemar(differences) if units is differences else t_test
    else:
        spread = _mean_of_tasks(paired, groups) if equal else _of_all(paired, groups)
        mean, error, degrees, p, covers = spread.mean, spread.error, spread.degrees, spread.p, spread.covers
    half = special.stdtrit(degrees, (1 + LEVEL) / 2) * error
    return {"against": name, "difference": mean, "low": mean - half, "high": mean + half, "error": error,
            "degrees": degrees, "p": p, "covers": covers}  # fmt: skip


def _of_all(paired: pd.DataFrame, groups: Mapping[str, np.ndarray]) -> Spread:
    """Of the mean over the test sequences of all tasks."""
    drawn, covers = _drawn(paired, groups)
    return replace(over_both(paired.to_numpy(), drawn), covers=covers)


def _drawn(paired: pd.DataFrame, groups: Mapping[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """The group of each column, of all tasks together, and what an interval covers. In a task without ENOUGH_GROUPS
    each sequence is a group; no group has sequences of two tasks."""
    tasks = paired.columns.get_level_values(0)
    drawn, covers = np.arange(len(tasks)), []
    for task in tasks.unique():
        here, own = np.flatnonzero(tasks == task), groups.get(task)
        covers.append(f"{SEEDS} and {part_covered(own)}")
        if own is not None and own.max() + 1 >= ENOUGH_GROUPS:
            drawn[here] = here[0] + own
    return np.unique(drawn, return_inverse=True)[1], covered(covers)


def _mean_of_tasks(paired: pd.DataFrame, groups: Mapping[str, np.ndarray]) -> Spread:
    """Of the mean over independent tasks; Satterthwaite's degrees of freedom."""
    tasks = [over_both(part.T.to_numpy(), groups.get(task)) for task, part in paired.T.groupby(level=0)]
    variance = sum(task.error**2 for task in tasks)
    degrees = variance**2 / sum(task.error**4 / task.degrees for task in tasks)
    mean, sequences = float(np.mean([task.mean for task in tasks])), float(np.mean([task.sequences for task in tasks]))
    per_seed, covers = variance / len(tasks) ** 2 * len(paired), covered(task.covers for task in tasks)
    return Spread(len(paired), mean, per_seed, 0.0, degrees, sequences, covers)


def _mcnemar(differences: np.ndarray) -> float:
    """The exact test's p; differences: 1 or -1 where one of two networks alone is correct."""
    only = [[0, int((differences > 0).sum())], [int((differences < 0).sum()), 0]]
    return float(mcnemar(only, exact=True).pvalue)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--tasks", choices=TASKS, default=TASKS[0])
    parser.add_argument("--pick", nargs="+", default=[], metavar="SETTING")
    parser.add_argument("--at", nargs="+", type=float, default=[], metavar="RATIO")
    parser.add_argument("--macs", action="store_true")
    given = parser.parse_args()
    frame = across([gather(folder) for folder in given.results], given.tasks, given.pick, given.at, given.macs)
    shares = ["accuracy", "difference", "low", "high", "detectable"]
    frame[shares] = (100 * frame[shares]).round(1)
    print(frame.assign(p=frame["p"].map("{:.3g}".format)).to_csv(index=False).rstrip())


if __name__ == "__main__":
    main()
