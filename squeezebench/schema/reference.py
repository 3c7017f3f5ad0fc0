"""The figures that the papers print: `report/reference/*.csv`, one file a table, every figure as it is printed.

Every cell is text ("33.57M", "2052", "-"), because how a figure is printed decides what it may round to. A file that
`sources.csv` names is a published table (a block); the others hold what is known besides. report/reference/README.md
explains the columns. Nothing heavy is imported: plans are checked with this module.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal

from squeezebench.base.errors import InputError
from squeezebench.base.places import ASSETS
from squeezebench.base.suggestions import near_matches

REFERENCE = ASSETS / "reference"
SOURCES, BACKBONES = "sources", "backbones"  # the blocks with their papers; parameters of CNNs
NAMES = ("method", "model", "network", "variant", "claim")  # columns that name a row, the first one that a file has
APART = ("group", "source", "devices", "part")  # columns that tell rows of one name apart
SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_FIGURE = re.compile(r"\s*(\d*)(?:\.(\d*))?([MkG]?)(.*)", re.DOTALL)
_UNIT = re.compile(r"_([MG])(?:_printed)?$")  # lstm_params_M, lstm_params_M_printed, flops_G


@dataclass(frozen=True)
class Figure:
    """A printed figure: its text, its exact value, the value of one unit of its last digit, and what follows it (a
    misprint, as in 3.14M4)."""

    text: str
    value: Fraction
    step: Fraction
    stray: str = ""

    @classmethod
    def parse(cls, text: str, unit: str = "") -> Figure | None:
        """The figure that `text` begins with; None if it begins with none. unit: of the column ("M"), for a figure that
        has none of its own."""
        whole, decimals, own, stray = _FIGURE.fullmatch(text).groups(default="")
        if not whole and not decimals:
            return None
        step = Fraction(SCALE[own or unit], 10 ** len(decimals))
        return cls(text.strip() + ("" if own else unit), int(whole + decimals) * step, step, stray.strip())

    def fit(self, value: Fraction | int) -> Literal["round", "cut"] | None:
        """How `value` gives this figure: rounded to its digits, cut off after them, or not at all."""
        if abs(value - self.value) * 2 <= self.step:
            return "round"
        return "cut" if self.value <= value < self.value + self.step else None


@dataclass(frozen=True)
class Block:
    """One file of printed figures. `lines` are its rows with every cell as printed; `source` is its line of
    sources.csv, empty for a file that is no published table."""

    name: str
    lines: tuple[dict[str, str], ...]
    source: dict[str, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> list[str]:
        """The name of each row: `2048 x 674` if rows are dimensions, else its first cell, with another one in brackets
        if several rows have that name: `VIBNet (2)`."""
        if not self.lines:
            return []
        columns = list(self.lines[0])
        if {"input", "hidden"} <= set(columns):
            return [f"{line['input']} x {line['hidden']}" for line in self.lines]
        named = next((name for name in NAMES if name in columns), columns[0])
        apart = next((name for name in APART if name in columns), None)
        every = [line[named] for line in self.lines]
        return [name if apart is None or every.count(name) == 1 else f"{name} ({line[apart]})"
                for name, line in zip(every, self.lines, strict=True)]  # fmt: skip

    def row(self, key: str) -> int:
        """Index of the one row of this name. Raises InputError if there is none, or several."""
        if self.keys.count(key) == 1:
            return self.keys.index(key)
        if key in self.keys:
            raise InputError(f"{self.name} has several rows {key!r}; give a name that tells them apart")
        raise InputError(f"{self.name} has no row {key!r}; {near_matches(key, self.keys)}")

    def column(self, name: str) -> str:
        """The column of this name, or the first one that begins with it (`lstm`). Raises InputError without one."""
        columns = list(self.lines[0]) if self.lines else []
        column = name if name in columns else next((other for other in columns if other.startswith(f"{name}_")), None)
        if column is None:
            raise InputError(f"{self.name} has no column {name!r}; it has {', '.join(columns)}")
        return column

    def figure(self, row: int, column: str) -> Figure | None:
        """The figure in one cell; None for a cell that holds none."""
        unit = _UNIT.search(column)
        return Figure.parse(self.lines[row][column], unit[1] if unit else "")

    def size(self, line: Mapping[str, str], what: Literal["lstm", "total"] = "lstm") -> float | None:
        """Printed parameters as a count."""
        figure = self._size(line, what)
        return float(figure.value) if figure else None

    def size_text(self, line: Mapping[str, str], what: Literal["lstm", "total"] = "lstm") -> str:
        """Printed parameters as printed: `33.57M`, `2052`; empty if the paper prints none."""
        figure = self._size(line, what)
        return figure.text if figure else ""

    def size_column(self, what: Literal["lstm", "total"]) -> str:
        """The column of printed parameters; empty if there is none."""
        return next((name for name in self.lines[0] if name.startswith(f"{what}_params")), "")

    def _size(self, line: Mapping[str, str], what: Literal["lstm", "total"]) -> Figure | None:
        column = self.size_column(what)
        return self.figure(self.lines.index(line), column) if column else None

    def ratio(self, line: Mapping[str, str]) -> float | None:
        """Printed compression; if none is printed, the largest LSTM of the block over this one."""
        if (value := plain_number(line.get("lstm_compression", ""))) is not None:
            return value
        own, sizes = self.size(line), [self.size(other) for other in self.lines]
        return max(size for size in sizes if size) / own if own else None


def plain_number(text: str) -> float | None:
    """The number that a printed cell begins with, in the unit of its column; None for `-` and nothing."""
    figure = Figure.parse(text)
    return float(figure.value) if figure else None


def share(line: Mapping[str, str], column: str) -> float | None:
    """A printed accuracy, error or share of the weights in per cent (`accuracy_pct`, `error_pct`, `r_W_pct`) as a
    fraction; None if none is printed."""
    figure = Figure.parse(line.get(column, ""))
    return float(figure.value / 100) if figure else None


def blocks(folder: Path = REFERENCE) -> list[str]:
    """Names of all published tables, in the order of the papers."""
    return [line["block"] for line in _lines(folder / f"{SOURCES}.csv")]


def read_block(name: str) -> Block:
    """A published table by name. Raises InputError if there is none."""
    if name not in (names := blocks()):
        raise InputError(f"unknown block {name!r} of printed figures; {near_matches(name, names)}")
    return read_file(name)


def read_file(name: str, folder: Path = REFERENCE) -> Block:
    """Any file of the folder. Raises InputError for one that cannot be read."""
    sources = {line["block"]: line for line in _lines(folder / f"{SOURCES}.csv")}
    return Block(name, tuple(_lines(folder / f"{name}.csv")), sources.get(name, {}))


def _lines(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV file; a cell that is not there is empty."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: value or "" for key, value in line.items()} for line in csv.DictReader(file)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run squeezebench from a checkout") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table ({error})") from None


def backbone_parameters(names: str) -> int:
    """Parameters of a backbone without its classifier if that is counted; `rgb + flow` networks joined by `+`.
    Raises InputError for one that reference/backbones.csv does not hold."""
    total, lines = 0, _lines(REFERENCE / f"{BACKBONES}.csv")
    for name in (part.strip() for part in names.split("+")):
        counted = [line for line in lines if line["backbone"] == name]
        if not counted:
            raise InputError(f"unknown backbone {name!r}; {near_matches(name, {line['backbone'] for line in lines})}")
        bare = [line for line in counted if line["part"].startswith("without")]
        total += int((bare or counted)[0]["parameters"])
    return total
