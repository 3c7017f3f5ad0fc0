"""The artifact appendix of a paper: one row a claim or table with its command, its minutes, what to expect and what
the results in a folder say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from squeezebench.base.errors import InputError
from squeezebench.report import formats
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline
from squeezebench.report.overview import overview, title
from squeezebench.report.paper.match import tables_of, with_folds
from squeezebench.report.paper.table import beside
from squeezebench.report.results import Results
from squeezebench.report.rows import rows_of
from squeezebench.report.tabular.table import Table, text_column
from squeezebench.report.verified import verified

COLUMNS = ["claim", "command", "minutes", "expected", "found"]
TITLES = ["Claim or table", "Command", "Minutes", "Expected", "Found"]
Form = Literal["markdown", "latex"]


def appendix(folder: Path, form: Form = "markdown") -> str:
    """The appendix of the experiment in `folder` as Markdown or LaTeX. Raises InputError if no run has finished."""
    results = Results(gather(folder))
    if not (results.gathered.runs["status"] == "ok").any():
        raise InputError(f"{folder}: no run has finished; an appendix says what was measured")
    frame = pd.DataFrame([*_rows(results, folder)], columns=COLUMNS)
    columns = [text_column(name, key) for name, key in zip(TITLES, COLUMNS, strict=True)]
    name, facts = title(results.gathered), overview(results.gathered)
    caption = (
        f"Artifact appendix of {name}. Minutes: of the computations on one core, added up over all runs concerned, on "
        f"{'; '.join(facts['machines'])}."
    )
    table = Table(columns, frame, caption=formats.clean(caption), name="appendix")
    return table.tex() if form == "latex" else _markdown(table, name)


def _rows(results: Results, folder: Path) -> Iterator[dict[str, str]]:
    """All runs, then every published table, claim and task."""
    report, number = f"squeezebench report {folder}", overview(results.gathered)["number"]
    planned = len(results.gathered.plan.get("runs", [])) or len(results.gathered.runs)
    kinds = ("ok", "failed", "skipped", "missing")
    yield {
        "claim": "All runs",
        "command": _snakemake(results),
        "minutes": _minutes(results, results.tasks),
        "expected": formats.plural(planned, "run"),
        "found": ", ".join(f"{number[kind]:,} {kind}" for kind in kinds if number[kind] or kind == "ok"),
    }
    checked = verified(folder)
    yield {
        "claim": "Records and saved networks agree",
        "command": f"{report} --verify",
        "minutes": formats.NONE,
        "expected": "no problem",
        "found": checked.line if checked else "not verified here",
    }
    yield from _tables(results, report)
    yield from _claims(results, report)
    for task in results.tasks:
        words = headline(task, results)
        yield {"claim": f"Task {task}, the comparison that was fixed in advance", "command": report,
               "minutes": _minutes(results, [task]), "expected": formats.NONE, "found": words}  # fmt: skip


def _snakemake(results: Results) -> str:
    files = results.gathered.plan.get("files") or []
    names = [str(PurePosixPath(*(part for part in PurePosixPath(str(file)).parts if part != ".."))) for file in files]
    return f"snakemake --cores all --configfile {' '.join(names) or 'EXPERIMENT.yaml'}"


def _minutes(results: Results, tasks: list[str]) -> str:
    runs = results.gathered.runs
    seconds = runs.loc[runs["task"].isin(tasks), "train_seconds"].sum()
    return formats.significant(max(seconds / 60, 0.01), 2)


def _tables(results: Results, report: str) -> Iterator[dict[str, str]]:
    """A row for each published table of accuracies, with its lines that were run."""
    shown = with_folds(results.groups, results.gathered)
    for table in tables_of(results.gathered.plan):
        if table.printed is None or table.layout not in ("table", "ladder"):
            continue
        lines = beside(table, shown, results.gathered)
        lines = rows_of(lines[(lines["kind"] == "run") & lines["printed_accuracy"].notna()])
        said = [(line["row"], formats.percent(line["printed_accuracy"]), _measured(line)) for line in lines]
        yield {
            "claim": table.title,
            "command": report,
            "minutes": _minutes(results, sorted({line["task"] for line in lines})),
            "expected": "; ".join(f"{row} {printed}" for row, printed, _ in said) or formats.NONE,
            "found": "; ".join(f"{row} {ours}" for row, _, ours in said) or "no line was run",
        }


def _measured(line: dict) -> str:
    return formats.percent_interval(line["test_accuracy_mean"], line["test_accuracy_half_width"])


def _claims(results: Results, report: str) -> Iterator[dict[str, str]]:
    """A row for each claim of the paper on each task that can test it."""
    claims = results.claims
    for row in claims[claims["task"] != ""].itertuples() if claims is not None else ():
        expected = "; ".join(filter(None, [row.printed, f"asked for {row.asked_for}" if row.asked_for else ""]))
        yield {
            "claim": f"{row.title} ({row.place}), task {row.task}",
            "command": report,
            "minutes": _minutes(results, [row.task]),
            "expected": expected or formats.NONE,
            "found": f"{row.verdict}: {row.ours or row.reason}",
        }


def _markdown(table: Table, name: str) -> str:
    """A table of GitHub's Markdown below a heading."""
    rows = [[cell.text for cell in row] for row in table.rows()]
    command = [column.title for column in table.columns].index("Command")
    for row in rows:
        row[command] = f"`{row[command]}`"
    lines = [[column.title for column in table.columns], ["---"] * len(table.columns), *rows]
    texts = ["| " + " | ".join(" ".join(text.replace("|", "\\|").split()) for text in line) + " |" for line in lines]
    return "\n".join([f"# Artifact appendix: {name}", "", table.caption, "", *texts, ""])
