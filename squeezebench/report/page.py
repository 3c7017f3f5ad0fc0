"""The page: everything the report says in one self-contained HTML file, tables and figures beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.reading import inside, results_folder
from squeezebench.base.suggestions import near_matches
from squeezebench.report import formats, html
from squeezebench.report.audit.page import write_beside
from squeezebench.report.declarations import HERE, Declaration, declared
from squeezebench.report.drawing.plot import Drawing, Plot
from squeezebench.report.drawing.svg import style
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline, on_training_part, validation_above_test
from squeezebench.report.names import AUDIT_PAGE, PAGE, file_name, page_of
from squeezebench.report.overview import missing, overview, protocols, task_facts, task_warnings, title
from squeezebench.report.paper.part import PaperPart, paper_parts
from squeezebench.report.ranking import Absent, ranking
from squeezebench.report.results import Results
from squeezebench.report.rules import rule_sentences
from squeezebench.report.statistics.verdicts import Headline, headlines
from squeezebench.report.tabular.table import Table
from squeezebench.report.verified import verified
from squeezebench.report.words import captions

BuiltTable = tuple[Declaration, Table]
DrawnFigure = tuple[Declaration, str, Plot]  # with its task, "" for a figure of the whole report


@dataclass(frozen=True)
class TaskPart:
    """What the first sections say of one task."""

    task: str
    name: str
    anchor: str
    facts: str
    warnings: list[str]
    headline: str
    absent: list[Absent] = field(default_factory=list)  # from the comparison at the registered ratio
    headlines: list[Headline] = field(default_factory=list)
    folds: list[TaskPart] = field(default_factory=list)  # of a task that is shown as the mean over them


@dataclass(frozen=True)
class Section:
    """One section of the page, with the figures and tables that declare it. `words`: see `sections` in
    captions.yaml."""

    name: str
    words: dict[str, str]
    tables: list[Table] = field(default_factory=list)
    figures: list[Plot] = field(default_factory=list)
    of_task: dict[str, list[Plot]] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        tables = [table for table in self.tables if self.words.get("nothing") or not table.frame.empty]
        return not (tables or self.figures or self.of_task)


def build(folder: Path, plugins: Iterable[str | Path] = ()) -> Path:
    """Gather, compute, write. Returns the path of the page."""
    results_folder(folder)
    template = html.template("page.html.j2")
    for part in ("tables", "figures"):
        inside(folder, folder / part)
    results = Results(gather(folder))
    words = captions(results.rule.name)
    with style():
        tables = build_tables(results, plugins)
        drawn = draw_figures(results, plugins)
        papers = paper_parts(results.groups, results.gathered)
    sections = _sections(tables, drawn, words["sections"])
    plots = [plot for _, _, plot in drawn] + [part.figure for part in papers if part.figure]
    _write(folder, tables, plots, papers)
    content = html.page(
        template,
        title=title(results.gathered),
        overview=overview(results.gathered),
        plan=results.gathered.plan,
        config=json.dumps(results.gathered.plan.get("config") or {}, indent=2, ensure_ascii=False),
        protocols=protocols(results.gathered),
        tasks=_tasks(results),
        missing=missing(results),
        papers=papers,
        audit={"page": AUDIT_PAGE, "summary": write_beside(folder, AUDIT_PAGE)} if papers else None,
        sections=sections,
        how={plot.kind: plot for plot in reversed(plots)},
        verified=verified(folder),
        words=words,
    )
    write_atomically(folder / PAGE, content)
    return folder / PAGE


def build_tables(results: Results, plugins: Iterable[str | Path] = ()) -> list[BuiltTable]:
    """Every declared table that has something to show or is promised to the workflow."""
    words = captions(results.rule.name)["tables"]
    tables = []
    for declaration in declared("tables", plugins, page_of(results.gathered.plan)):
        table = _made(declaration, declaration.function(), Table, results)
        if table is not None:
            caption = table.caption or words.get(declaration.name) or declaration.words["caption"]
            tables.append((declaration, replace(table, name=declaration.name, caption=caption)))
    return tables


def draw_figures(results: Results, plugins: Iterable[str | Path] = ()) -> list[DrawnFigure]:
    """Every declared figure, of each task if it is one for each. Call inside `style()`."""
    drawn = []
    for declaration in declared("figures", plugins, page_of(results.gathered.plan)):
        draw = declaration.function()
        of = results.whole if declaration.folds == "mean" else results
        for task in of.tasks if declaration.each == "task" else [""]:
            drawing = _made(declaration, draw, Drawing, of, *([task] if task else []))
            if drawing is not None:
                words = declaration.words | captions(drawing.rule.name)["figures"].get(declaration.name, {})
                heading = words["title"].removesuffix(", {task}")
                words = words | {"title": words["title"].replace("{task}", task), "heading": heading}
                name = file_name(declaration, task)
                plot = Plot.finish(drawing, name, declaration.name, words, declaration.wide)
                drawn.append((declaration, task, plot))
    return drawn


def _made(declaration: Declaration, function: Callable, kind: type, *arguments):
    """What a file's function returns. Raises InputError if it fails, if it returns neither a `kind` nor None, and if it
    returns None although the workflow waits for its files."""
    plugin = declaration.plugin
    try:
        result = function(*arguments)
    except Exception as error:
        if plugin.path and plugin.path.parent.parent == HERE:
            raise
        raise InputError(f"{plugin.where}: {type(error).__name__}: {error}") from error
    if isinstance(result, kind) or (result is None and declaration.when != "always"):
        return result
    optional = ', or set WHEN = "optional"' if result is None else ""
    raise InputError(f"{plugin.where}: returned {type(result).__name__}; return a {kind.__name__}{optional}")


def _tasks(results: Results) -> list[TaskPart]:
    if page_of(results.gathered.plan) == "rules":
        return _rule_tasks(results)
    parts = {task: _task(task, results, f"task-{number}") for number, task in enumerate(results.tasks, 1)}
    return [parts[task] if task in parts else _over_folds(task, results, parts) for task in results.whole.tasks]


def _task(task: str, results: Results, anchor: str) -> TaskPart:
    gathered = results.gathered
    return TaskPart(
        task=task,
        name=formats.clean(task),
        anchor=anchor,
        facts=task_facts(task, gathered),
        warnings=[*filter(None, [validation_above_test(task, results)]), *task_warnings(task, gathered)],
        headline=headline(task, results),
        absent=ranking(results, task).absent,
        headlines=[
            *headlines(task, results.groups, results.chosen),
            *(Headline("training", text) for text in [on_training_part(task, results)] if text),
        ],
    )


def _over_folds(task: str, results: Results, parts: dict[str, TaskPart]) -> TaskPart:
    """A task that holds out each of its groups in turn: what is said of it is said of the mean over its folds."""
    folds, whole = [parts[name] for name in results.gathered.parts(task)], results.whole
    warnings = dict.fromkeys(warning for name in results.gathered.parts(task)
                             for warning in task_warnings(name, results.gathered))  # fmt: skip
    return TaskPart(
        task=task, name=formats.clean(task), anchor=f"{folds[0].anchor}-folds",
        facts=captions()["folds"].format(folds=formats.plural(len(folds), "fold")), warnings=list(warnings),
        headline=headline(task, whole), absent=ranking(whole, task).absent, folds=folds,
    )  # fmt: skip


def _rule_tasks(results: Results) -> list[TaskPart]:
    """The same of an experiment with learning rules: nothing is compressed, so that no size is compared."""
    gathered, words = results.gathered, captions()["rules"]
    parts = []
    for number, task in enumerate(results.tasks, 1):
        said = [Headline("rule", text, settled=known) for text, known in rule_sentences(task, results.rules, words)]
        parts.append(TaskPart(
            task=task, name=formats.clean(task), anchor=f"task-{number}", facts=task_facts(task, gathered),
            warnings=task_warnings(task, gathered), headlines=said,
            headline=words["many"] if said else words["nothing"],
        ))  # fmt: skip
    return parts


def _sections(tables: list[BuiltTable], drawn: list[tuple], words: dict[str, dict[str, str]]) -> dict[str, Section]:
    """The sections by name, in their order, with what they show. Raises InputError for one that does not exist."""
    sections = {name: Section(name, texts) for name, texts in words.items()}
    for declaration, *_ in [*tables, *drawn]:
        if declaration.section not in {"", *sections}:
            near = near_matches(declaration.section, sections)
            raise InputError(f"{declaration.plugin.where}: no section {declaration.section!r}; {near}")
    for declaration, table in tables:
        if declaration.section:
            sections[declaration.section].tables.append(table)
    for declaration, task, plot in drawn:
        if declaration.section and task:
            sections[declaration.section].of_task.setdefault(task, []).append(plot)
        elif declaration.section:
            sections[declaration.section].figures.append(plot)
    return sections


def _write(folder: Path, tables: list[BuiltTable], plots: list[Plot], papers: list[PaperPart]) -> None:
    for part in ("tables", "figures"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for declaration, table in tables:
        table.write(folder / "tables", declaration.suffixes)
    for part in papers:
        if part.table:
            part.table.write(folder / "tables")
    for plot in plots:
        write_atomically(folder / "figures" / f"{plot.name}.svg", plot.svg.encode())
        write_atomically(folder / "figures" / f"{plot.name}.csv", plot.csv().encode())
