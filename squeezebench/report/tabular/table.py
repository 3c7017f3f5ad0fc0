"""A table three ways: cells for the page, CSV with every digit, LaTeX for a paper."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from squeezebench.base.files import write_atomically
from squeezebench.report import formats
from squeezebench.report.rows import rows_of

Row = dict[str, Any]
_TEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "×": r"$\times$", "±": r"$\pm$", "≥": r"$\geq$", "\n": " ",
    formats.MINUS: "$-$", formats.NBSP: "~", formats.NONE: "--",
}  # fmt: skip


def tex(text: str) -> str:
    """`text` escaped for LaTeX."""
    return "".join(_TEX.get(character, character) for character in text)


@dataclass(frozen=True)
class Cell:
    """One cell of the page: its text, the number it sorts by, small marks and a second line. `chip`: the text stands
    in a coloured frame of this class. `link`: an address that the text leads to. `anchor`: the name by which another
    page leads to this cell."""

    text: str
    sort: float | None = None
    marks: tuple[str, ...] = ()
    note: str = ""
    chip: str = ""
    link: str = ""
    anchor: str = ""

    @property
    def value(self) -> float | None:
        """What the page sorts by: an infinite ratio (no LSTM) is no number, it goes last like a missing one."""
        return self.sort if self.sort is not None and math.isfinite(self.sort) else None


@dataclass(frozen=True)
class Column:
    """A column: `cell` makes the cell from a row. `tex` columns go into LaTeX (paper is narrow). Neighbours of one
    `group` share a heading above their own. `detail`: the page folds the column until a reader asks for all of them."""

    title: str
    cell: Callable[[Row], Cell]
    hint: str = ""
    numeric: bool = False
    tex: bool = True
    group: str = ""
    detail: bool = False


def text_cell(text: str, note: str = "", marks: tuple[str, ...] = ()) -> Cell:
    """A cell of text from anywhere; a dash in the place of nothing."""
    return Cell(formats.clean(text) or formats.NONE, marks=marks, note=formats.clean(note))


def number_cell(value: float | None, show: Callable[[float], str], note: str = "", **more) -> Cell:
    """A number as `show` writes it. A missing one is a dash without a note."""
    if formats.absent(value):
        return Cell(formats.NONE)
    return Cell(show(value), float(value), note=formats.clean(note), **more)


def text_column(title: str, key: str, **more) -> Column:
    return Column(title, lambda row: Cell(formats.clean(str(row[key]))), **more)


def number_column(title: str, key: str, show: Callable[[float], str], **more) -> Column:
    return Column(title, lambda row: number_cell(row[key], show), numeric=True, **more)


def numeric(title: str, cell: Callable[[Row], Cell], **more) -> Column:
    """A column of numbers whose cells need more than their number."""
    return Column(title, cell, numeric=True, **more)


@dataclass(frozen=True)
class Table:
    """`frame` has one row per line of the table; `raw` maps its columns to the names they have in the CSV (None: all of
    them to their own). `name` and `caption` come from the declaration and from captions.yaml, if they are not given.
    `choices`: values of one column, which the page offers as a filter and counts."""

    columns: list[Column]
    frame: pd.DataFrame
    raw: dict[str, str] | None = None
    caption: str = ""
    name: str = ""
    choices: tuple[str, tuple[str, ...]] = ("", ())  # title of the column, values
    filters: tuple[str, ...] = ("Task", "Method")  # titles of further columns whose values the page offers

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many rows have each of `choices`."""
        title, values = self.choices
        number = Counter(self.frame[title.lower()]) if title else Counter()
        return [(value, number[value]) for value in values]

    def groups(self, columns: list[Column] | None = None) -> list[tuple[str, int]]:
        """The headings above the columns, each with how many it spans; empty where no column has one."""
        columns = self.columns if columns is None else columns
        spans = [(name, len(list(block))) for name, block in itertools.groupby(columns, lambda column: column.group)]
        return spans if any(name for name, _ in spans) else []

    def rows(self) -> list[list[Cell]]:
        """The cells of the page."""
        return [[column.cell(row) for column in self.columns] for row in rows_of(self.frame)]

    def csv(self) -> str:
        frame = self.frame if self.raw is None else self.frame[list(self.raw)].rename(columns=self.raw)
        return formats.clean(frame.to_csv(index=False, lineterminator="\n"))

    def tex(self) -> str:
        """A booktabs table; a longtable where it would not fit one page."""
        chosen = [column for column in self.columns if column.tex]
        spec = "".join("r" if column.numeric else "l" for column in chosen)
        lines = [" & ".join(tex(_flat(column.cell(row))) for column in chosen) + r" \\"
                 for row in rows_of(self.frame)]  # fmt: skip
        head = " & ".join(tex(column.title) for column in chosen) + r" \\"
        if spans := self.groups(chosen):
            head = _tex_groups(spans) + "\n" + head
        if len(lines) > 40:
            top = [rf"\begin{{longtable}}{{{spec}}}", rf"\caption{{{tex(self.caption)}}}\\", r"\toprule",
                   head, r"\midrule", r"\endhead"]  # fmt: skip
            return "\n".join(["% needs: booktabs, longtable", *top, *lines, r"\bottomrule", r"\end{longtable}", ""])
        top = [r"\begin{table}", r"\centering", rf"\caption{{{tex(self.caption)}}}",
               rf"\begin{{tabular}}{{{spec}}}", r"\toprule", head, r"\midrule"]  # fmt: skip
        end = [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
        return "\n".join(["% needs: booktabs", *top, *lines, *end])

    def write(self, folder: Path, suffixes: tuple[str, ...] = ("csv", "tex")) -> None:
        for suffix in suffixes:
            text = self.csv() if suffix == "csv" else self.tex()
            write_atomically(folder / f"{self.name}.{suffix}", text.encode())


def _tex_groups(spans: list[tuple[str, int]]) -> str:
    """The line of headings above the columns' own, with a rule below each."""
    cells = " & ".join(rf"\multicolumn{{{size}}}{{c}}{{{tex(name)}}}" for name, size in spans)
    rules, start = [], 1
    for name, size in spans:
        rules += [rf"\cmidrule(lr){{{start}-{start + size - 1}}}"] if name else []
        start += size
    return cells + r" \\" + "\n" + " ".join(rules)


def _flat(cell: Cell) -> str:
    """A cell in one line, for print."""
    return cell.text + (f" ({', '.join(cell.marks)})" if cell.marks else "")
