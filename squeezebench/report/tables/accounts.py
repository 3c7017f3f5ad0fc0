"""Tables about the runs themselves: what has no result and why, and where everything came from."""

from __future__ import annotations

import json

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.gather import Gathered
from squeezebench.report.statistics.groups import method_labels
from squeezebench.report.tables.table import Cell, Column, Table, text_column
from squeezebench.report.words import captions

KINDS = ["failed", "damaged", "missing", "stale", "older rule", "skipped", "duplicate"]


def problems_table(gathered: Gathered) -> Table:
    """Runs without a result, and those of another engine, grouped by what happened; seeds of one cause share a line."""
    frames = [gathered.problems]
    for column, kind in (("stale", "stale"), ("other_rule", "older rule")):
        runs = gathered.runs[gathered.runs[column]]
        runs = runs.assign(kind=kind, reason=captions()[column], settings=runs["varied"])
        frames.append(runs[gathered.problems.columns])
    frame = pd.concat(frames, ignore_index=True)
    labels = method_labels(gathered.runs)
    frame["settings"] = frame["settings"].map(lambda text: formats.settings(json.loads(text)))
    keys = ["kind", "task", "method", "settings", "reason"]
    by_cause = frame.groupby(keys, sort=False, dropna=False)
    table = by_cause.agg(
        seeds=("seed", lambda seeds: ", ".join(str(int(seed)) for seed in sorted(seeds.dropna()))),
        runs=("path", "size"),
        first=("path", "min"),
    ).reset_index()
    order = table["kind"].map(KINDS.index)
    table = (
        table.assign(order=order).sort_values(["order", "task", "method", "settings", "reason"]).drop(columns="order")
    )
    columns = [
        text_column("What", "kind"),
        text_column("Task", "task"),
        Column("Method", lambda row: Cell(formats.clean(labels.get(row["method"], row["method"])))),
        text_column("Settings", "settings"),
        text_column("Seeds", "seeds"),
        Column("Runs", lambda row: Cell(str(row["runs"]), row["runs"]), numeric=True),
        text_column("Reason", "reason"),
        text_column("First of them", "first", tex=False),
    ]
    return Table("problems", columns, table, {name: name for name in table}, captions()["tables"]["problems"])


def provenance_table(gathered: Gathered) -> Table:
    """Every value that decides or explains a result, with the number of records that carry it."""
    runs = gathered.runs
    lines: list[tuple[str, str, int]] = []

    def count(what: str, values: pd.Series) -> None:
        for value, number in values[values.astype(str) != ""].value_counts().sort_index().items():
            lines.append((what, str(value), int(number)))

    for column in ("machine", "device", "threads", "python", "squeezebench", "engine_digest"):
        count(column.replace("_", " "), runs[column])
    for method, some in runs.groupby("method"):
        count(f"method digest, {method}", some["method_digest"])
    for task, some in runs.groupby("task"):
        count(f"split digest, {task}", some["split_digest"])
    packages = pd.DataFrame([(n, v) for row in runs["packages"] for n, v in row.items()], columns=["name", "version"])
    for name, some in packages.groupby("name"):
        count(f"package {name}", some["version"])
    frame = pd.DataFrame(lines, columns=["what", "value", "records"])
    columns = [
        text_column("What", "what"),
        text_column("Value", "value"),
        Column("Records", lambda row: Cell(f"{row['records']:,}", row["records"]), numeric=True),
    ]
    return Table("provenance", columns, frame, {name: name for name in frame}, captions()["tables"]["provenance"])
