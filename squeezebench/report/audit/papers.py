"""The audit's view of `report/reference/`: single printed figures by block, row and column."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import pandas as pd

from squeezebench.base.errors import InputError
from squeezebench.report.audit.figure import Cell, Figure
from squeezebench.report.paper.reference import REFERENCE, printed, read, source

TEXT, FURTHER = "viblstm_text", "further"
_UNIT = re.compile(r"_([MG])(?:_printed)?$")  # lstm_params_M, lstm_params_M_printed, flops_G


class Papers:
    """Printed figures and the inputs that are known besides (`pairs`, `further`, `backbones`, ...)."""

    def __init__(self, folder: Path = REFERENCE):
        self.folder = folder
        self.table = lru_cache(None)(lambda name: read(name, folder))
        self.block = lru_cache(None)(lambda name: printed(name, folder))
        self.source = lru_cache(None)(lambda name: source(name, folder))

    def row(self, name: str, **where: str) -> int:
        """Index of the one row of block or file `name` in which the named columns read so."""
        table = self.table(name)
        unknown = [column for column in where if column not in table]
        if unknown:
            raise InputError(f"{self.folder / name}.csv: no column {unknown[0]!r}; it has {', '.join(table)}")
        match = pd.Series(True, index=table.index)
        for column, value in where.items():
            match &= table[column] == str(value)
        if match.sum() != 1:
            asked = ", ".join(f"{column} {value!r}" for column, value in where.items())
            raise InputError(f"{self.folder / name}.csv: {match.sum()} rows with {asked}; exactly one is expected")
        return int(table.index[match][0])

    def at(self, name: str, column: str, row: int) -> Figure | None:
        """The figure in one cell; None where the cell holds none."""
        table = self.table(name)
        if column not in table:
            raise InputError(f"{self.folder / name}.csv: no column {column!r}; it has {', '.join(table)}")
        unit = _UNIT.search(column)
        return Figure.parse(table.at[row, column], unit[1] if unit else "", (name, column, row))

    def figure(self, name: str, column: str, **where: str) -> Figure:
        """A figure that the audit cannot do without, by the content of its row."""
        row = self.row(name, **where)
        found = self.at(name, column, row)
        if found is None:
            text = self.table(name).at[row, column]
            raise InputError(f"{self.folder / name}.csv, line {row + 2}, {column}: {text!r} is not a figure")
        return found

    def claim(self, name: str) -> Figure:
        """A figure of the body text of the VIB-LSTM paper."""
        return self.figure(TEXT, "value", claim=name)

    def further(self, claim: str, **where: str) -> Figure:
        """A printed figure that no block holds: other papers, authors' code."""
        return self.figure(FURTHER, "value", claim=claim, **where)

    def backbone(self, name: str, part: str) -> int:
        return int(self.figure("backbones", "parameters", backbone=name, part=part).value)

    def size(self, text: str) -> int:
        """A size of `pairs.csv`: a number, or where it is printed (`claim:NAME`, `further:NAME`), or a printed
        percentage of a number (`claim:NAME % of N`), in whole units."""
        kind, _, name = text.partition(":")
        name, _, of = name.partition(" % of ")
        if not name:
            if not kind.isdigit():
                raise InputError(f"{self.folder}/pairs.csv: {text!r} is neither a number nor claim:NAME")
            return int(kind)
        figure = self.claim(name) if kind == "claim" else self.further(name)
        return round(figure.value * Fraction(of) / 100) if of else int(figure.value)

    def cell(self, text: str) -> Cell | None:
        """The printed figure that a size of `pairs.csv` names; None for a plain number or nothing."""
        kind, _, name = text.partition(":")
        if not name:
            return None
        figure = self.claim(name.partition(" % of ")[0]) if kind == "claim" else self.further(name)
        return figure.cell

    def name(self, name: str, cell: Cell | None = None) -> str:
        """The source in words: paper, year, table. `cell` picks the line of `further`."""
        if name == FURTHER:
            line = self.table(FURTHER).loc[cell[2]]
            return f"{line['paper']}, {line['place']}"
        found = self.source(name)
        return f"{found['paper']}, {found['place']}"
