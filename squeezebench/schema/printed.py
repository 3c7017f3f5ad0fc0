"""Published tables and figures that an experiment is shown beside: the key `tables:`, and the printed figures.

Each printed table is one file of `report/reference/` (a block), its figures as printed. An entry of `tables:` says
which of our runs stand beside which of its rows. Nothing heavy is imported: plans are checked with it.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, PositiveFloat, model_validator

from squeezebench.base.errors import InputError
from squeezebench.base.places import ASSETS, PACKAGE
from squeezebench.base.plugins import FILES
from squeezebench.base.suggestions import near_matches
from squeezebench.schema.stored import Part

REFERENCE = ASSETS / "reference"
# A published table may not take the name of one of the report's own figures and tables.
RESERVED = (
    "verification",
    *(path.stem for kind in ("figures", "tables") for path in (PACKAGE / "report" / kind).glob(FILES)),
)


class OurRow(Part):
    """Which run groups stand beside one printed row. Where several match, one is picked on validation."""

    method: str
    task: str | None = None  # none: the table's task, or the experiment's only one
    where: dict[str, Any] = {}  # resolved settings that have to be equal; of a list, one of them
    label: str | None = None  # shown in place of the row's name, if ours is not quite what the printed row says
    at_least: PositiveFloat | None = None  # only settings with at least this ratio of LSTM parameters compete
    pick: Literal["best", "smallest"] = "best"  # smallest: the smallest within 1 point of the best on validation
    backbone: str | None = None  # of reference/backbones.csv, several joined by +; none: the table's, or the task's


class Mark(Part):
    """A value of the swept setting that the paper names, as a reference line."""

    at: float
    says: str


class PublishedTable(Part):
    """One published table or figure.

    `table`: a line for each printed row. `ladder`: the same for rows of input x hidden, with the shares kept.
    `splits`: one source under two splits. `sweep`: accuracy and ratio against a setting. `classes`: accuracy per class.
    `ratios`: printed and measured ratios. `size`: accuracy against size, every setting of each row. `networks`: error,
    r_W, r_N and FLOP of feed-forward networks, and whether each printed row is met; of a row's settings those that are
    as small as printed compete.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")  # of its files: tables/NAME.csv, figures/NAME.svg
    title: str
    layout: Literal["table", "ladder", "splits", "sweep", "classes", "ratios", "size", "networks"] = "table"
    printed: str | None = None  # a block of report/reference
    task: str | None = None
    rows: dict[str, OurRow] = {}  # printed row -> our runs; printed rows without an entry stand alone
    also: dict[str, OurRow] = {}  # rows that the paper does not have (controls, methods of one's own)
    differs: str = ""  # how our data and protocol differ from the paper's, for people
    backbone: str | None = None
    setting: str | None = Field(None, validation_alias=AliasChoices("setting", "knob"))  # sweep: what is on the axis
    mark: Mark | None = None  # sweep
    left: str | None = None  # splits: the task whose split leaks
    right: str | None = None  # splits: the task that it is compared with; its validation part picks the settings

    @model_validator(mode="after")
    def _has_what_its_layout_needs(self) -> PublishedTable:
        if self.name.startswith(RESERVED):
            raise ValueError(f"{self.name!r} would meet the report's own files; begin it with another word")
        needed = {"sweep": ["setting"], "splits": ["left", "right"]} | {
            layout: ["printed"] for layout in ("table", "ladder", "ratios", "networks")
        }
        needed = needed.get(self.layout, [])
        if lacking := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(f"layout {self.layout} needs the key {lacking[0]!r}")
        if not self.rows and not self.also:
            raise ValueError("give at least one row under `rows` or `also`")
        if twice := self.rows.keys() & self.also.keys():
            raise ValueError(f"row {min(twice)!r} is given under `rows` and under `also`")
        return self

    def tasks_of(self, row: OurRow, tasks: Collection[str]) -> list[str]:
        """The tasks whose runs a row shows: one, two for `splits`; none if it is left open and cannot be told."""
        if self.layout == "splits":
            return [self.left, self.right]
        named = row.task or self.task
        return [named] if named else list(tasks) if len(tasks) == 1 else []


@dataclass(frozen=True)
class Block:
    """One printed table. `lines` are its rows with every cell as printed; `source` is its line of sources.csv."""

    name: str
    lines: tuple[dict[str, str], ...]
    source: dict[str, str] = field(default_factory=dict)

    @cached_property
    def keys(self) -> list[str]:
        """The name of each row: `2048 x 674` where rows are dimensions, else its first cell that is not a group, with
        the group in brackets where several rows have it: `VIBNet (2)`."""
        if not self.lines:
            return []
        columns = list(self.lines[0])
        if {"input", "hidden"} <= set(columns):
            return [f"{line['input']} x {line['hidden']}" for line in self.lines]
        names = ("method", "model", "network", "variant", "claim")
        named = next((name for name in names if name in columns), columns[0])
        texts = [line[named] for line in self.lines]
        if "group" not in columns:
            return texts
        return [name if texts.count(name) == 1 else f"{name} ({line['group']})"
                for name, line in zip(texts, self.lines, strict=True)]  # fmt: skip

    def accuracy(self, line: Mapping[str, str]) -> float | None:
        """Printed accuracy as a fraction."""
        value = plain_number(line.get("accuracy_pct", ""))
        return None if value is None else round(value / 100, 9)  # 0.926, not 0.9259999999999999

    def error(self, line: Mapping[str, str]) -> float | None:
        """Printed error of a feed-forward network as a fraction."""
        value = plain_number(line.get("error_pct", ""))
        return None if value is None else round(value / 100, 9)

    def share(self, line: Mapping[str, str]) -> float | None:
        """Printed share of the dense network's weights, r_W, as a fraction."""
        value = plain_number(line.get("r_W_pct", ""))
        return None if value is None else round(value / 100, 9)

    def size(self, line: Mapping[str, str], what: Literal["lstm", "total"] = "lstm") -> float | None:
        """Printed parameters as a count."""
        column, text = self.size_cell(line, what)
        if (value := plain_number(text)) is None:
            return None
        millions = "_M" in column or re.match(r"[\d.]+M", text)
        return value * 1e6 if millions else value

    def size_text(self, line: Mapping[str, str], what: Literal["lstm", "total"] = "lstm") -> str:
        """Printed parameters as printed: `33.57M`, `2052`; empty if the paper prints none."""
        column, text = self.size_cell(line, what)
        return "" if plain_number(text) is None else text + ("M" if "_M" in column and "M" not in text else "")

    def size_cell(self, line: Mapping[str, str], what: str) -> tuple[str, str]:
        """(column, text) of the printed parameters."""
        column = next((name for name in line if name.startswith(f"{what}_params")), "")
        return column, line.get(column, "").strip()

    def ratio(self, line: Mapping[str, str]) -> float | None:
        """Printed compression; where none is printed, the largest LSTM of the block over this one."""
        if (value := plain_number(line.get("lstm_compression", ""))) is not None:
            return value
        own, sizes = self.size(line), [self.size(other) for other in self.lines]
        return max(size for size in sizes if size) / own if own else None


def plain_number(text: str) -> float | None:
    """The number that a printed cell begins with (`3.14M4` is a misprint of the appendix); None for `-` and nothing."""
    match = re.match(r"\s*(\d+(?:\.\d*)?|\.\d+)", text)
    return float(match[1]) if match else None


def read_block(name: str) -> Block:
    """A printed table by name. Raises InputError if there is none."""
    sources = {line["block"]: line for line in _lines(REFERENCE / "sources.csv")}
    if name not in sources:
        raise InputError(f"unknown block {name!r} of printed figures; {near_matches(name, sources)}")
    return Block(name, tuple(_lines(REFERENCE / f"{name}.csv")), sources[name])


def _lines(path: Path) -> list[dict[str, str]]:
    """Lines of a CSV file; a cell that is not there is empty."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: value or "" for key, value in line.items()} for line in csv.DictReader(file)]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run squeezebench from a checkout") from None


def backbone_parameters(names: str) -> int:
    """Parameters of a backbone without its classifier where that is counted; `rgb + flow` networks joined by `+`.
    Raises InputError for one that reference/backbones.csv does not hold."""
    total, lines = 0, _lines(REFERENCE / "backbones.csv")
    for name in (part.strip() for part in names.split("+")):
        counted = [line for line in lines if line["backbone"] == name]
        if not counted:
            raise InputError(f"unknown backbone {name!r}; {near_matches(name, {line['backbone'] for line in lines})}")
        bare = [line for line in counted if line["part"].startswith("without")]
        total += int((bare or counted)[0]["parameters"])
    return total


def check_tables(
    tables: Iterable[PublishedTable], methods: Mapping[str, Collection[str]], tasks: Collection[str], where: str
) -> None:
    """Raise InputError, in one line, for an entry that can show nothing.

    methods: the names of each method's settings; settings of a method without any are not checked.
    """
    names = set()
    for table in tables:
        here = f"{where}: tables: {table.name}"
        if table.name in names:
            raise InputError(f"{here}: the name is given twice")
        names.add(table.name)
        try:
            block = read_block(table.printed) if table.printed is not None else None
        except InputError as error:
            raise InputError(f"{here}: printed: {error}") from None
        if block is not None:
            _check_block(table, block, here)
        for name in table.rows if block else ():
            if block.keys.count(name) != 1:
                what = "has several rows" if name in block.keys else "has no row"
                near = "give a name that tells them apart" if name in block.keys else near_matches(name, block.keys)
                raise InputError(f"{here}: rows: {block.name} {what} {name!r}; {near}")
        for name, row in {**table.rows, **table.also}.items():
            _check_row(table, row, methods, tasks, f"{here}: {name}")


def _check_block(table: PublishedTable, block: Block, here: str) -> None:
    """The printed figures have to be of the kind that the layout shows."""
    if any(block.error(line) is not None for line in block.lines):
        if table.layout not in ("networks", "size"):
            raise InputError(f"{here}: layout: {block.name} is of feed-forward networks; give networks or size")
    elif table.layout == "networks":
        raise InputError(f"{here}: printed: {block.name} holds no errors of feed-forward networks")
    elif all(block.accuracy(line) is None and block.size(line) is None for line in block.lines):
        raise InputError(f"{here}: printed: {block.name} holds neither accuracies nor sizes of LSTMs")


def _check_row(
    table: PublishedTable, row: OurRow, methods: Mapping[str, Collection[str]], tasks: Collection[str], here: str
) -> None:
    if row.method not in methods:
        raise InputError(f"{here}: method {row.method!r} is not in the experiment; {near_matches(row.method, methods)}")
    shown = table.tasks_of(row, tasks)
    if not shown:
        several = ", ".join(sorted(tasks))
        raise InputError(f"{here}: the experiment has several tasks ({several}); say which with `task:`")
    for task in shown:
        if task not in tasks:
            raise InputError(f"{here}: task {task!r} is not in the experiment; {near_matches(task, tasks)}")
    if backbone := row.backbone or table.backbone:
        try:
            backbone_parameters(backbone)
        except InputError as error:
            raise InputError(f"{here}: backbone: {error}") from None
    setting_names = methods[row.method]
    for setting in [*row.where, *([table.setting] if table.setting else [])]:
        if setting_names and setting not in setting_names:
            raise InputError(f"{here}: {row.method} has no setting {setting!r}; {near_matches(setting, setting_names)}")
