"""The page: everything the report says in one self-contained HTML file, tables and figures beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.reading import inside
from squeezebench.report import formats, html
from squeezebench.report.audit.page import write_beside
from squeezebench.report.claims.judge import claims_table, judge_claims, summary_line
from squeezebench.report.figures.first_layer import first_layer
from squeezebench.report.figures.more import difference_vs_ratio, per_class, training
from squeezebench.report.figures.palette import looks
from squeezebench.report.figures.ranks import rank_diagram
from squeezebench.report.figures.scatter import Plot, accuracy_vs_size, glance, key
from squeezebench.report.figures.tuning import gather_tuning, tuning_curves, tuning_table
from squeezebench.report.gather import Gathered, gather
from squeezebench.report.names import AUDIT_PAGE, CLAIMED, PAGE, has_claims, table_suffixes
from squeezebench.report.paper.part import paper_parts
from squeezebench.report.sizes import rule_of
from squeezebench.report.statistics.compare import compared, selected
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.summary import summaries
from squeezebench.report.statistics.verdicts import Headline, headlines
from squeezebench.report.tables import views
from squeezebench.report.tables.accounts import KINDS, problems_table, provenance_table
from squeezebench.report.tables.cost import cost_table
from squeezebench.report.tables.inference import inference_table
from squeezebench.report.tables.summary import summary_table
from squeezebench.report.tables.table import Table
from squeezebench.report.tables.verified import verified
from squeezebench.report.words import captions


@dataclass(frozen=True)
class TaskPart:
    """What the page shows of one task."""

    name: str
    anchor: str
    facts: str
    headlines: list[Headline]
    glance: Markup  # the small picture of the first screen
    size: Plot
    classes: Plot
    training: Plot
    information: Plot | None  # where a history tells what the first layer does


def build(folder: Path, *, plan: Path | None = None) -> Path:
    """Gather, compute, write. Returns the path of the page."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results")
    template = html.template("page.html.j2")
    for part in ("tables", "figures"):
        inside(folder, folder / part)
    gathered = gather(folder, plan)
    groups = compared(run_groups(gathered), gathered)
    chosen = selected(groups)
    look = looks(groups)
    summary = summaries(groups, gathered)

    tables = {
        table.name: table
        for table in (
            views.groups_table(groups),
            views.selected_table(chosen, groups),
            summary_table(summary),
            cost_table(chosen, groups),
            problems_table(gathered),
            views.selection_bias_table(gathered, groups),
            provenance_table(gathered),
            views.runs_table(gathered),
        )
    }
    if (speed := inference_table(folder)) is not None:
        tables[speed.name] = speed
    tuned = gather_tuning(gathered)
    tuning = [tuning_curves(task, tuned, look, rule_of(groups[groups["task"] == task]))
              for task in sorted({one.task for one in tuned})]  # fmt: skip
    if tuned:
        tables["tuning"] = tuning_table(tuned, gathered)
    claims = None
    if has_claims(gathered.plan) or (gathered.runs["method"] == CLAIMED).any():
        claims = judge_claims(groups, gathered)
        tables["claims"] = claims_table(claims)
    difference, ranks = difference_vs_ratio(chosen, look), rank_diagram(summary, look)
    tasks = [
        TaskPart(
            name=formats.clean(task),
            anchor=f"task-{number}",
            facts=_task_facts(task, gathered),
            headlines=headlines(task, groups, chosen),
            glance=Markup(glance(task, groups, look)),
            size=accuracy_vs_size(task, groups, look),
            classes=per_class(task, groups, gathered),
            training=training(task, groups, gathered, look),
            information=first_layer(task, groups, gathered, look),
        )
        for number, task in enumerate(gathered.tasks, 1)
    ]
    papers = paper_parts(groups, gathered)
    beside = {part.table.name: part.table for part in papers if part.table}
    drawn = [part.figure for part in papers if part.figure] + [part.information for part in tasks if part.information]
    _write_tables(folder / "tables", tables | beside)
    plots = [difference, ranks, *(p for t in tasks for p in (t.size, t.classes, t.training)), *tuning, *drawn]
    _write_figures(folder / "figures", plots)

    page = html.page(
        template,
        title=formats.clean(_experiment(gathered)),
        overview=overview(gathered),
        plan=gathered.plan,
        config=json.dumps(gathered.plan.get("config") or {}, indent=2, ensure_ascii=False),
        protocols=_protocols(gathered),
        tasks=tasks,
        key=Markup(key(groups, look)),
        difference=difference,
        ranks=ranks,
        papers=papers,
        claims=[] if claims is None else summary_line(claims),
        audit={"page": AUDIT_PAGE, "summary": write_beside(folder, AUDIT_PAGE)} if papers else None,
        tuning=tuning,
        kinds={plot.kind for plot in (*tuning, *drawn)},
        tables={name: table for name, table in tables.items() if table.columns},
        verified=verified(folder),
        words=captions(rule_of(groups).name),
        svg=_svg,
    )
    write_atomically(folder / PAGE, page)
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
    return [name for name in ("sound", "paper", "as_released") if name in names]


def overview(gathered: Gathered) -> dict[str, Any]:
    """The first screen: counts of runs by what became of them, and what ran, where and when."""
    runs = gathered.runs
    ok = (runs["status"] == "ok") & (runs["planned"] | (not gathered.plan))
    kinds = gathered.problems["kind"].value_counts()
    number = {"ok": int(ok.sum()), **{kind: int(kinds.get(kind, 0)) for kind in KINDS}}
    number |= {"stale": int(runs["stale"].sum()), "older rule": int(runs["other_rule"].sum())}
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
    return f"{sizes[0]:,.0f} test {rule_of(runs).example}s" + ("" if pd.isna(accuracy) else near)


def _write_tables(folder: Path, tables: dict[str, Table]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.write(folder, table_suffixes(name))


def _write_figures(folder: Path, plots: list[Plot]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        write_atomically(folder / f"{plot.name}.svg", plot.svg.encode())
        write_atomically(folder / f"{plot.name}.csv", plot.csv().encode())
