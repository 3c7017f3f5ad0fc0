"""The page: everything the report says in one self-contained HTML file, tables and figures beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from squeezebench.errors import InputError
from squeezebench.record import write_atomically
from squeezebench.report import formats, views
from squeezebench.report.accounts import KINDS, problems_table, provenance_table
from squeezebench.report.compare import compared, selected
from squeezebench.report.figures import Plot, accuracy_vs_size
from squeezebench.report.gather import Gathered, gather
from squeezebench.report.more_figures import difference_vs_ratio, per_class, training
from squeezebench.report.names import PAGE, table_suffixes
from squeezebench.report.palette import looks
from squeezebench.report.statistics import run_groups
from squeezebench.report.tables import Table
from squeezebench.report.verdicts import Headline, headlines
from squeezebench.report.words import asset, captions


@dataclass(frozen=True)
class TaskPart:
    """What the page shows of one task."""

    name: str
    anchor: str
    facts: str
    headlines: list[Headline]
    size: Plot
    classes: Plot
    training: Plot


def build(folder: Path, *, plan: Path | None = None) -> Path:
    """Gather, compute, write. Returns the path of the page."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results")
    template, script, css = asset("page.html.j2"), asset("page.js"), asset("style.css")
    gathered = gather(folder, plan)
    groups = compared(run_groups(gathered), gathered)
    chosen = selected(groups)
    look = looks(groups)

    tables = {
        table.name: table
        for table in (
            views.groups_table(groups),
            views.selected_table(chosen, groups),
            problems_table(gathered),
            views.flattery_table(gathered, groups),
            provenance_table(gathered),
            views.runs_table(gathered),
        )
    }
    difference = difference_vs_ratio(chosen, look)
    tasks = [
        TaskPart(
            name=formats.clean(task),
            anchor=f"task-{number}",
            facts=_task_facts(task, gathered),
            headlines=headlines(task, groups, chosen),
            size=accuracy_vs_size(task, groups, look),
            classes=per_class(task, groups, gathered),
            training=training(task, groups, gathered, look),
        )
        for number, task in enumerate(gathered.tasks, 1)
    ]
    _write_tables(folder / "tables", tables)
    _write_figures(folder / "figures", [difference, *(p for t in tasks for p in (t.size, t.classes, t.training))])

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    page = environment.from_string(template).render(
        title=formats.clean(_experiment(gathered)),
        overview=overview(gathered),
        plan=gathered.plan,
        config=json.dumps(gathered.plan.get("config") or {}, indent=2, ensure_ascii=False),
        protocols=_protocols(gathered),
        tasks=tasks,
        difference=difference,
        tables={name: table for name, table in tables.items() if table.columns},
        words=captions(),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        css=Markup(css),
        svg=_svg,
    )
    write_atomically(folder / PAGE, formats.clean(page).lstrip().encode())
    return folder / PAGE


def _svg(plot: Plot) -> Markup:
    """The SVG is made by matplotlib and svg.py, which escape every text in it."""
    return Markup(plot.svg)


def _experiment(gathered: Gathered) -> str:
    named = [name for name in gathered.runs["experiment"].unique() if name]
    return gathered.plan.get("experiment") or (named[0] if len(named) == 1 else gathered.folder.resolve().name)


def _protocols(gathered: Gathered) -> list[str]:
    """Protocols that were planned or ran, the sound one first."""
    planned = gathered.plan.get("protocol")
    names = {*gathered.runs["protocol"], *([planned] if isinstance(planned, str) else [])}
    return [name for name in ("sound", "as_released") if name in names]


def overview(gathered: Gathered) -> dict[str, Any]:
    """The first screen: counts of runs by what became of them, and what ran, where and when."""
    runs = gathered.runs
    status = runs["status"].value_counts()
    kinds = gathered.problems["kind"].value_counts()
    number = {"ok": int(status.get("ok", 0)), **{kind: int(kinds.get(kind, 0)) for kind in KINDS}}
    number["stale"] = int(runs["stale"].sum())
    unplanned = int((~runs["planned"]).sum()) if gathered.plan else 0
    methods = {run["method"] for run in gathered.plan.get("runs", [])} | set(runs["method"])
    seeds = {run["seed"] for run in gathered.plan.get("runs", [])} | set(runs["seed"])
    finished = runs.loc[runs["finished"] != "", "finished"]
    days = sorted({str(moment)[:10] for moment in finished})
    machines = sorted({str(name) for name in runs["machine"] if name})
    threads = sorted(set(runs["threads"]))
    return {
        "number": number,
        "planned": len(gathered.plan["runs"]) if gathered.plan else None,
        "records": len(runs),
        "unplanned": unplanned,
        "tasks": gathered.tasks,
        "methods": sorted(methods),
        "seeds": _seed_words(sorted(seeds)),
        "when": " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "not recorded",
        "machines": machines or ["not recorded"],
        "threads": ", ".join(map(str, threads)) or formats.NONE,
        "training": _duration(runs["train_seconds"].sum()),
        "description": formats.clean(str(gathered.plan.get("description") or "")),
    }


def _seed_words(seeds: list[int]) -> str:
    if not seeds:
        return formats.NONE
    listed = ", ".join(map(str, seeds)) if len(seeds) <= 5 else f"{seeds[0]} … {seeds[-1]}"
    return f"{len(seeds)} ({listed})"


def _duration(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length:
            return f"{formats.significant(seconds / length, 2)} {unit}"
    return f"{seconds:.0f} s"


def _task_facts(task: str, gathered: Gathered) -> str:
    """Size of the test set and what it means for one accuracy."""
    runs = gathered.runs[(gathered.runs["task"] == task) & (gathered.runs["status"] == "ok")]
    sizes = runs["test_size"].dropna().unique()
    if len(sizes) != 1 or not sizes[0]:
        return ""
    accuracy = runs["test"].median()
    error = (accuracy * (1 - accuracy) / sizes[0]) ** 0.5
    near = f" (one standard error of an accuracy near {formats.percent(accuracy)}: {100 * error:.1f} points)"
    return f"{sizes[0]:,.0f} test sequences" + ("" if pd.isna(accuracy) else near)


def _write_tables(folder: Path, tables: dict[str, Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write(folder, table_suffixes(name))


def _write_figures(folder: Path, plots: list[Plot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        (folder / f"{plot.name}.svg").write_text(plot.svg, encoding="utf-8", newline="")
        (folder / f"{plot.name}.csv").write_text(plot.csv(), encoding="utf-8", newline="")
