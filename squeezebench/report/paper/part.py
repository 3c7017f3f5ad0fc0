"""The part of the page that stands ours beside the papers': every published table and figure of the plan."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.drawing.plot import Plot
from squeezebench.report.gather import Gathered
from squeezebench.report.names import DRAWN
from squeezebench.report.paper.cells import counted_in
from squeezebench.report.paper.figures import FIGURES
from squeezebench.report.paper.match import tables_of, with_folds
from squeezebench.report.paper.networks import networks_table
from squeezebench.report.paper.splits import splits_table
from squeezebench.report.paper.table import paper_table
from squeezebench.report.sizes import rule_of
from squeezebench.report.tabular.table import Table
from squeezebench.report.words import captions
from squeezebench.schema.printed import PublishedTable
from squeezebench.schema.reference import read_block


@dataclass(frozen=True)
class PaperPart:
    """One published table or figure: what is printed where, what ours was measured on, and the table or figure."""

    title: str
    printed: str  # source of the printed figures; empty if none are shown
    measured: str
    differs: str
    said: bool  # whether a part above says the same of `differs`
    caption: str
    table: Table | None = None
    figure: Plot | None = None


def paper_parts(groups: pd.DataFrame, gathered: Gathered) -> list[PaperPart]:
    """Everything that the plan's `tables:` asks for, in its order. Call inside `style()`."""
    shown = with_folds(groups, gathered)
    tables = tables_of(gathered.plan)
    above = [{other.differs for other in tables[:number]} for number in range(len(tables))]
    return [_part(table, table.differs in said, shown, gathered) for table, said in zip(tables, above, strict=True)]


def _part(table: PublishedTable, said: bool, groups: pd.DataFrame, gathered: Gathered) -> PaperPart:
    drawn = table.layout in DRAWN
    make = {"splits": splits_table, "networks": networks_table}.get(table.layout, paper_table)
    return PaperPart(
        title=formats.clean(table.title),
        printed=_source(table),
        measured=_measured(table, groups, gathered),
        differs=formats.clean(table.differs),
        said=said,
        caption=captions()["paper"]["captions"].get(table.layout, ""),
        table=None if drawn else make(table, groups, gathered),
        figure=_figure(table, groups, gathered) if drawn else None,
    )


def _figure(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> Plot:
    drawing, kind = FIGURES[table.layout](table, groups, gathered), f"paper_{table.layout}"
    words = captions(drawing.rule.name)["figures"][kind]
    return Plot.finish(drawing, table.name, kind, words | {"title": table.title, "heading": words["title"]})


def _source(table: PublishedTable) -> str:
    if table.printed is None:
        return ""
    words, source = captions()["paper"], read_block(table.printed).source
    text = words["source"].format(paper=source["paper"], place=source["place"], block=table.printed)
    return text + (f" {words['held'][source['held']]}" if source["held"] in words["held"] else "")


def _measured(table: PublishedTable, groups: pd.DataFrame, gathered: Gathered) -> str:
    """On which data, by which protocol and with how many seeds ours were measured."""
    words = captions()["paper"]
    rows = [*table.rows.values(), *table.also.values()]
    tasks = dict.fromkeys(task for row in rows for task in table.tasks_of(row, gathered.tasks))
    here = groups[groups["task"].isin(list(tasks)) & (groups["ok"] > 0)]
    if here.empty:
        return words["unmeasured"].format(tasks=formats.clean(", ".join(tasks)))
    sizes = gathered.runs.dropna(subset="test_size").groupby("task")["test_size"].max()
    named = [f"{task} ({sizes[task]:,.0f} test {rule_of(here).example}s)" if task in sizes else task for task in tasks]
    return formats.clean(words["measured"].format(
        tasks=", ".join(named), protocol=" and ".join(words["protocols"][name] for name in here["protocol"].unique()),
        seeds=_counted(here),
        baselines=" or ".join(sorted({name for name in here["baseline"] if name})) or formats.NONE,
    ))  # fmt: skip


def _counted(groups: pd.DataFrame) -> str:
    """How many seeds, and how many folds, the accuracies are means of: `2 to 3 seeds and 5 folds`."""
    parts = []
    for unit, counts in groups["ok"].astype(int).groupby(groups.apply(counted_in, axis=1), sort=False):
        least, most = counts.min(), counts.max()
        parts.append(formats.plural(most, unit) if least == most else f"{least} to {most} {unit}s")
    return " and ".join(parts)
