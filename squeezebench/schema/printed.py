"""The key `tables:` of an experiment: which of its runs stand beside which rows of a published table or figure.

Each printed table is one file of `report/reference/` (see `reference.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal

from pydantic import AliasChoices, Field, PositiveFloat, model_validator

from squeezebench.base.errors import InputError
from squeezebench.base.folds import task_of_fold
from squeezebench.base.places import PACKAGE
from squeezebench.base.plugins import FILES
from squeezebench.base.suggestions import near_matches
from squeezebench.schema.reference import Block, backbone_parameters, read_block, share
from squeezebench.schema.stored import Part

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
        """The tasks whose runs a row shows: one, two for `splits`; none if there are several and none is named."""
        if self.layout == "splits":
            return [self.left, self.right]
        named = row.task or self.task
        return [named] if named else list(tasks) if len(tasks) == 1 else []


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
            for name in table.rows:
                try:
                    block.row(name)
                except InputError as error:
                    raise InputError(f"{here}: rows: {error}") from None
        for name, row in {**table.rows, **table.also}.items():
            _check_row(table, row, methods, tasks, f"{here}: {name}")


def _check_block(table: PublishedTable, block: Block, here: str) -> None:
    """The printed figures have to be of the kind that the layout shows."""
    if any(share(line, "error_pct") is not None for line in block.lines):
        if table.layout not in ("networks", "size"):
            raise InputError(f"{here}: layout: {block.name} is of feed-forward networks; give networks or size")
    elif table.layout == "networks":
        raise InputError(f"{here}: printed: {block.name} holds no errors of feed-forward networks")
    elif all(share(line, "accuracy_pct") is None and block.size(line) is None for line in block.lines):
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
    folded = {task_of_fold(task) for task in tasks} if table.layout in ("table", "splits") else ()
    for task in shown:
        if task not in tasks and task not in folded:
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
