"""Lines and cells that every published table has: a printed row, and the run group of ours beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from squeezebench.report import formats
from squeezebench.report.paper.match import Pick, told_apart
from squeezebench.report.tabular import cells
from squeezebench.report.tabular.table import Cell, Row, number_cell, text_cell
from squeezebench.report.words import captions
from squeezebench.schema.printed import OurRow, PublishedTable


def ours(pick: Pick, row: OurRow, task: str, groups: pd.DataFrame, names: list[str]) -> Row:
    """Our part of a line: the columns `names` of the picked run group, or why there is none."""
    named = {"row": row.label} if row.label else {}
    if pick.group is None:
        return {"kind": "not run", "picked": pick.words, "method": row.method, "task": task} | named
    label = told_apart(pick.group, groups)
    return named | {**{name: pick.group[name] for name in names}, "kind": "run", "picked": pick.words, "label": label}


def caption(table: PublishedTable) -> str:
    """Title of the table and how ours differs, for the page and for print."""
    words = captions()["paper"]
    differs = f" {words['differs'].format(differs=table.differs)}" if table.differs else ""
    return formats.clean(f"{table.title}. {words['captions'][table.layout]}{differs}")


def headings(table: PublishedTable) -> tuple[str, str]:
    """The headings above the printed columns and above ours."""
    return "Printed", "Ours, other data or protocol" if table.differs else "Ours"


def name(row: Row) -> Cell:
    """The printed name, what kind of row it is, and which setting of ours stands beside it."""
    shown, note = () if row["kind"] in ("run", "not run") else (row["kind"],), ""
    shown += ("not in the paper",) if row["also"] else ()
    if row["kind"] == "run":
        shown += tuple(mark for mark in cells.marks(row) if row["also"] or mark != "control")
        note = "; ".join(part for part in (row["label"], row["picked"]) if part)
    return text_cell(row["row"].replace(" x ", " × "), note, shown)


def printed(key: str, unit: str = "", note: Callable[[Row], str] = lambda row: "") -> Callable[[Row], Cell]:
    """A number as printed, digit by digit: the text is in the column `KEY_text`."""

    def cell(row: Row) -> Cell:
        def show(_: float) -> str:
            text = re.sub(r"(?<=\d)M$", f"{formats.NBSP}M", formats.clean(row[f"{key}_text"]))
            return text + unit.replace(" ", formats.NBSP)

        return Cell(formats.NONE) if formats.absent(row[key]) else number_cell(row[key], show, note(row))

    return cell


def if_run(show: Callable[[Row], Cell]) -> Callable[[Row], Cell]:
    """A cell of our run group; the number of seeds as its second line, or the words that say why there is none."""

    def cell(row: Row) -> Cell:
        if row["kind"] == "run":
            content = show(row)
            return content if content.note else replace(content, note=formats.plural(int(row["ok"]), counted_in(row)))
        if row["kind"] == "not run":
            return Cell("not run", note="" if row["picked"] == "not run" else row["picked"])
        return Cell(formats.NONE)

    return cell


def counted_in(row: Row | pd.Series) -> str:
    """What `ok` counts: seeds, or the folds of a mean over them."""
    return "seed" if formats.absent(row.get("folds")) else "fold"


def parameters(value: float) -> str:
    """Few parameters to the last one, many to four digits, as the papers print them."""
    if value < 100_000:
        return f"{value:,.0f}"
    size, unit = (1e6, "M") if value >= 1e6 else (1e3, "k")
    return f"{formats.significant(value / size, 4)}{formats.NBSP}{unit}"
