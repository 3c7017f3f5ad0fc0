"""The numbers of a board: each method of each submission on each task, at each size that networks are compared at.

They are those of the report's summary (statistics/summary.py): test accuracy of the setting that is best on validation
among those at least so much smaller than dense, with the interval of that setting, which does not cover the choice.
Each submission is summarised by itself, beside its own dense network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report import formats
from squeezebench.report.board.entries import Entry
from squeezebench.report.gather import GROUP
from squeezebench.report.names import slug
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import DENSE
from squeezebench.report.statistics.groups import method_labels
from squeezebench.report.statistics.spread import VERDICT_SEEDS
from squeezebench.report.statistics.summary import RATIOS, REGISTERED
from squeezebench.schema.record import RECORD_NAME

AGAIN, AS_SUBMITTED = "measured again", "as submitted"
COLUMNS = ["task", "version", "protocol", "least", "rank", "method", "method_label", "control", "submission", "value",
           "low", "high", "covers", "settings", "settings_label", "ratio", "size", "size_rule", "seeds", "badge",
           "finished", "paths", "anchor"]  # fmt: skip
_PLACE = ["task", "version", "protocol", "least"]


def numbers(entries: Sequence[Entry]) -> pd.DataFrame:
    """One row a number, ranked among those of the same task, version, protocol and size."""
    frame = pd.DataFrame([line for entry in entries for line in _of(entry)], columns=COLUMNS)
    for _, peers in frame.groupby(_PLACE, sort=False):
        above = peers["low"].to_numpy()[None] > peers["high"].to_numpy()[:, None]
        frame.loc[peers.index, "rank"] = 1 + above.sum(axis=1)
    order = ["task", "version", "protocol", "least", "rank", "value", "method", "submission"]
    ascending = [True, True, False, True, True, False, True, True]  # "sound" before "paper" and "as_released"
    return frame.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)


def _of(entry: Entry) -> Iterator[dict[str, Any]]:
    """The numbers of one submission; a rank is a verdict, and takes as many seeds as one."""
    for row in rows_of(entry.results.summary):
        names = {ratio: f"accuracy_{ratio}" for ratio in RATIOS}
        names = {float(row["compare_at"]): REGISTERED} | names
        for least, name in names.items():
            if not formats.absent(row[name]) and np.isfinite(row[name]):
                line = _line(entry, row, float(least), name)
                if line["seeds"] >= VERDICT_SEEDS:
                    yield line


def _line(entry: Entry, row: dict[str, Any], least: float, name: str) -> dict[str, Any]:
    group = {key: row[key] for key in GROUP if key != "settings"} | {"settings": row[f"{name}_settings"]}
    runs, half = entry.results.gathered.runs_of(group).sort_values("seed"), row[f"{name}_test_accuracy_half_width"]
    paths = list(runs["path"])
    task, version, protocol = entry.keys[row["task"]]
    anchor = slug("-".join([task, str(version), protocol, f"{least:g}", entry.id]))
    return {
        **{key: row[key] for key in ("method", "method_label", "control", "size_rule")},
        **{key: row[f"{name}_{key}"] for key in ("settings", "settings_label", "ratio", "size")},
        "task": task,
        "version": version,
        "protocol": row["protocol"],
        "least": least,
        "submission": entry.id,
        "value": row[name],
        "low": max(row[name] - half, 0.0),
        "high": min(row[name] + half, 1.0),
        "covers": row[f"{name}_test_accuracy_covers"],
        "seeds": len(runs),
        "badge": AGAIN if entry.measured.issuperset(paths) else AS_SUBMITTED,
        "finished": max(runs["finished"], default=""),
        "paths": paths,
        "anchor": anchor,
    }


def dense_accuracies(entries: Sequence[Entry], key: tuple[str, int, str]) -> list[tuple[str, str]]:
    """Submission and accuracy of its dense network on a task, in words."""
    said = []
    for entry in entries:
        groups = entry.results.of(key[0]) if key in entry.keys.values() else entry.results.groups.head(0)
        for row in rows_of(groups[groups["method"].isin(DENSE)].head(1)):
            said.append(
                (entry.id, formats.percent_interval(row["test_accuracy_mean"], row["test_accuracy_half_width"]))
            )
    return said


def without_number(entries: Sequence[Entry], here: pd.DataFrame, key: tuple[str, int, str]) -> list[str]:
    """Methods on a task that have no number at a size: no setting is that small, or there are too few seeds."""
    ranked, absent = set(zip(here["submission"], here["method"], strict=True)), []
    for entry in entries:
        runs = entry.results.gathered.runs
        of_task = runs[runs["task"] == key[0]] if key in entry.keys.values() else runs.head(0)
        labels = method_labels(of_task)
        absent += [labels[name] for name in sorted(set(of_task["method"]) - set(DENSE))
                   if (entry.id, name) not in ranked]  # fmt: skip
    return sorted({formats.clean(label) for label in absent})


def records_of(frame: pd.DataFrame) -> list[tuple[str, str]]:
    """Submission and path of every record behind a number."""
    pairs = {(row.submission, f"{path}/{RECORD_NAME}") for row in frame.itertuples() for path in row.paths}
    return sorted(pairs)


def progress(frame: pd.DataFrame) -> pd.DataFrame:
    """For each task and size the numbers that were the highest when their runs had finished, the first one first."""
    lines = []
    for _, rows in frame.sort_values(["finished", "value"], ascending=[True, False], kind="stable").groupby(
        _PLACE, sort=True
    ):
        best = rows["value"].cummax()
        lines.append(rows[best > best.shift(fill_value=-np.inf)])
    return pd.concat(lines, ignore_index=True) if lines else frame
