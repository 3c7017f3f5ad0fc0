"""Every value that decides or explains a result, with the number of records that carry it."""

from __future__ import annotations

import pandas as pd

from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Table, number_column, text_column
from squeezebench.schema.metrics import PLACE

SECTION = "provenance"


def build(results: Results) -> Table:
    runs = results.gathered.runs
    lines: list[tuple[str, str, int]] = []

    def count(what: str, values: pd.Series) -> None:
        for value, number in values[values.astype(str) != ""].value_counts().sort_index().items():
            lines.append((what, str(value), int(number)))

    for column in (*PLACE, "device", "threads", "python", "squeezebench", "engine_digest"):
        count(column.replace("_", " "), runs[column])
    for method, rows in runs.groupby("method"):
        count(f"method digest, {method}", rows["method_digest"])
    for task, rows in runs.groupby("task"):
        count(f"split digest, {task}", rows["split_digest"])
    packages = pd.DataFrame([(n, v) for row in runs["packages"] for n, v in row.items()], columns=["name", "version"])
    for name, rows in packages.groupby("name"):
        count(f"package {name}", rows["version"])
    frame = pd.DataFrame(lines, columns=["what", "value", "records"])
    columns = [
        text_column("What", "what"),
        text_column("Value", "value"),
        number_column("Records", "records", "{:,}".format),
    ]
    return Table(columns, frame)
