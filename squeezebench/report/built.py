"""The declared figures and tables, built for one report."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.report.declarations import HERE, Declaration, declared
from squeezebench.report.drawing.plot import Drawing, Plot
from squeezebench.report.names import file_name, page_of
from squeezebench.report.results import Results
from squeezebench.report.tabular.table import Table
from squeezebench.report.words import captions

BuiltTable = tuple[Declaration, Table]
DrawnFigure = tuple[Declaration, str, Plot]  # with its task, "" for a figure of the whole report


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
