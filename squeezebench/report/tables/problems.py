"""Runs without a result, and runs of another engine, by what happened."""

from __future__ import annotations

import json

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.names import PROBLEMS
from squeezebench.report.results import Results
from squeezebench.report.statistics.groups import method_labels
from squeezebench.report.tabular.table import Column, Table, number_column, text_cell, text_column
from squeezebench.report.words import captions

SECTION = "problems"


def build(results: Results) -> Table:
    """One line per cause; seeds of one cause share it."""
    gathered = results.gathered
    stale = gathered.runs[gathered.runs["stale"]]
    stale = stale.assign(kind="stale", reason=captions()["stale"], settings=stale["varied"])
    broken = gathered.runs[gathered.runs["contract"] != ""]
    broken = broken.assign(kind="contract", reason=broken["contract"], settings=broken["varied"])
    columns = gathered.problems.columns
    frame = pd.concat([gathered.problems, stale[columns], broken[columns]], ignore_index=True)
    labels = method_labels(pd.concat([gathered.runs, gathered.left_out]))
    frame["settings"] = frame["settings"].map(lambda text: formats.settings(json.loads(text)))
    keys = ["kind", "task", "method", "settings", "reason"]
    table = frame.groupby(keys, sort=False, dropna=False).agg(
        seeds=("seed", lambda seeds: ", ".join(str(int(seed)) for seed in sorted(seeds.dropna()))),
        runs=("path", "size"),
        first=("path", "min"),
    )
    table = table.reset_index().sort_values(
        keys, key=lambda column: column.map(PROBLEMS.index) if column.name == "kind" else column
    )
    columns = [
        text_column("What", "kind"),
        text_column("Task", "task"),
        Column("Method", lambda row: text_cell(labels.get(row["method"], row["method"]))),
        text_column("Settings", "settings"),
        text_column("Seeds", "seeds"),
        number_column("Runs", "runs", str),
        text_column("Reason", "reason"),
        text_column("First of them", "first", tex=False),
    ]
    return Table(columns, table)
