"""The tables of a board."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.board.entries import Entry
from squeezebench.report.board.numbers import AGAIN, AS_SUBMITTED
from squeezebench.report.names import slug
from squeezebench.report.rows import rows_of
from squeezebench.report.sizes import of_row
from squeezebench.report.tabular.table import Cell, Column, Row, Table, number_cell, numeric, text_cell, text_column
from squeezebench.schema.record import RECORD_NAME

BADGES = ("Badge", (AGAIN, AS_SUBMITTED))
HINTS = {
    "rank": "1 + the number of methods whose whole interval is above this one's",
    "least": "the network has to be at least so many times smaller than the dense network",
    "value": "test accuracy with its 95 % interval, of the setting that is best on validation; leads to its runs",
    "badge": "measured again: the saved network of every run was rebuilt and scored on the data by this board. as "
    "submitted: records agree with themselves and with their plan, and no network was measured",
}

SUBMISSION = ["submission", "finished", "tasks", "methods", "runs", "missing", "measured", "machines", "squeezebench",
              "digest"]  # fmt: skip


def task_page(key: tuple[str, int, str]) -> str:
    name, version, protocol = key
    more = f"-v{version}" if version > 1 else ""
    return f"task-{slug(name)}{more}{'' if protocol == 'sound' else f'-{protocol}'}.html"


def task_label(key: tuple[str, int, str]) -> str:
    name, version, protocol = key
    more = [f"version {version}"] * (version > 1) + [protocol.replace("_", " ")] * (protocol != "sound")
    return formats.clean(name + (f" ({', '.join(more)})" if more else ""))


def method_page(method: str) -> str:
    return f"method-{slug(method)}.html"


def key_of(row: Row) -> tuple[str, int, str]:
    return row["task"], row["version"], row["protocol"]


def interval(row: Row) -> str:
    """`95.1 % [94.0, 96.2]`"""
    low, high = (f"{100 * min(max(end, 0.0), 1.0):.1f}" for end in (row["low"], row["high"]))
    return f"{formats.percent(row['value'])} [{low}, {high}]"


TASK = Column("Task", lambda row: Cell(task_label(key_of(row)), link=task_page(key_of(row))))
SMALLER = numeric("Smaller", lambda row: number_cell(row["least"], formats.ratio_tick), hint=HINTS["least"])


def ranking_table(frame: pd.DataFrame, name: str, caption: str, whole: bool = False) -> Table:
    """One line a number. whole: of all tasks and sizes."""
    columns = [
        numeric("Rank", lambda row: Cell(f"{row['rank']:.0f}", row["rank"]), hint=HINTS["rank"]),
        Column("Method", _method),
        numeric("Test accuracy", _accuracy, hint=HINTS["value"]),
        numeric("Ratio", lambda row: number_cell(row["ratio"], of_row(row).ratio)),
        numeric("Parameters", lambda row: number_cell(row["size"], formats.count)),
        Column("Settings", lambda row: text_cell(row["settings_label"]), detail=True),
        numeric("Seeds", lambda row: Cell(str(row["seeds"]), row["seeds"]), detail=True),
        Column("Submission", lambda row: Cell(row["submission"], link="history.html")),
        Column("Badge", _badge, hint=HINTS["badge"]),
    ]
    filters = ("Task", "Smaller", "Method", "Submission")
    return Table([TASK, SMALLER] * whole + columns, frame, _raw(frame), caption, name, BADGES, filters)


def _raw(frame: pd.DataFrame) -> dict[str, str]:
    return {key: key for key in frame.columns if key not in ("paths", "anchor")}


def _method(row: Row) -> Cell:
    return Cell(formats.clean(row["method_label"]), marks=("control",) * bool(row["control"]),
                link=method_page(row["method"]))  # fmt: skip


def _accuracy(row: Row) -> Cell:
    return number_cell(row["value"], lambda _: interval(row), link=f"{method_page(row['method'])}#{row['anchor']}")


def _badge(row: Row) -> Cell:
    return Cell(row["badge"], chip="supported" if row["badge"] == AGAIN else "plain")


def runs_table(frame: pd.DataFrame, entries: Sequence[Entry]) -> Table:
    """One line for each run behind the numbers of one method, with its record."""
    by_id = {entry.id: entry for entry in entries}
    lines = []
    for row in rows_of(frame):
        runs = by_id[row["submission"]].results.gathered.runs.set_index("path")
        for place, path in enumerate(row["paths"]):
            run = runs.loc[path]
            again = AGAIN if path in by_id[row["submission"]].measured else AS_SUBMITTED
            anchor = "" if place else row["anchor"]  # the first line of a number is where its links lead
            lines.append(row | {"path": path, "seed": run["seed"], "test": run["test"], "own": run["count_size"],
                                "bytes": run["bytes"], "badge": again, "anchor": anchor})  # fmt: skip
    columns = [
        Column("Task", lambda row: Cell(task_label(key_of(row)), link=task_page(key_of(row)), anchor=row["anchor"])),
        SMALLER,
        Column("Settings", lambda row: text_cell(row["settings_label"])),
        numeric("Mean", lambda row: Cell(interval(row), row["value"])),
        numeric("Seed", lambda row: Cell(str(row["seed"]), row["seed"])),
        numeric("Test accuracy", _run),
        numeric("Parameters", lambda row: number_cell(row["own"], formats.count)),
        numeric("On disk", lambda row: number_cell(row["bytes"], formats.size)),
        text_column("Submission", "submission"),
        Column("Badge", _badge, hint=HINTS["badge"]),
    ]
    table = pd.DataFrame(lines, columns=[*frame.columns, "path", "seed", "test", "own", "bytes"])
    caption = "Every run behind the numbers of this method. Its test accuracy leads to its record."
    return Table(columns, table, _raw(table), caption, "runs", BADGES, ("Task", "Smaller", "Submission"))


def _run(row: Row) -> Cell:
    link = f"records/{row['submission']}/{row['path']}/{RECORD_NAME}"
    return number_cell(row["test"], formats.percent, link=link)


def submissions_table(entries: Sequence[Entry]) -> Table:
    """One line a submission, the newest last."""
    columns = [
        text_column("Submission", "submission"),
        text_column("Finished", "finished"),
        text_column("Tasks", "tasks"),
        *(numeric(title, lambda row, key=key: Cell(str(row[key]), row[key]))
          for title, key in (("Methods", "methods"), ("Runs", "runs"), ("Missing", "missing"),
                             ("Measured again", "measured"))),
        text_column("Machine", "machines", detail=True),
        text_column("squeezebench", "squeezebench", detail=True),
        Column("Digest", lambda row: Cell(formats.digest(row["digest"])), hint="SHA-256 over the digests of its files"),
    ]  # fmt: skip
    frame = pd.DataFrame([_submission(entry) for entry in entries], columns=SUBMISSION)
    frame = frame.sort_values(["finished", "submission"], kind="stable")
    caption = "What was sent, when its last run finished, and how many of its runs this board measured again."
    return Table(columns, frame, None, caption, "submissions")


def _submission(entry: Entry) -> Row:
    runs = entry.results.gathered.runs
    ok = runs[runs["status"] == "ok"]
    return {
        "submission": entry.id,
        "finished": entry.submission.finished[:10],
        "tasks": ", ".join(task_label(key) for key in entry.keys.values()),
        "methods": len(set(ok["method"])),
        "runs": len(ok),
        "missing": len(entry.submission.missing),
        "measured": len(entry.measured),
        "machines": "; ".join(sorted(set(ok["machine"]))),
        "squeezebench": entry.submission.squeezebench,
        "digest": entry.opened.digest,
    }


def progress_table(frame: pd.DataFrame) -> Table:
    columns = [
        Column("Finished", lambda row: Cell(row["finished"][:10] or formats.NONE)),
        TASK,
        SMALLER,
        Column("Method", _method),
        numeric("Test accuracy", _accuracy, hint=HINTS["value"]),
        text_column("Submission", "submission"),
    ]
    caption = "The highest test accuracy of each task and size, by the day on which its runs had finished."
    return Table(columns, frame, _raw(frame), caption, "progress", filters=("Task", "Smaller"))
