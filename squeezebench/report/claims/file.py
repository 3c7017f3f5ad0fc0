"""Claims of the VIB-LSTM paper as files: `report/claims/*.yaml`, one claim each, read and checked as a whole.

A claim names what the paper says, where it is printed, which lines of the audit do the figures again, on which tasks
it can be tested, and one or more comparisons, each of a form that `claim_forms.py` knows. Differences of accuracy are
in percentage points, sizes are ratios of LSTM parameters.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PositiveFloat, ValidationError, model_validator

from squeezebench.base.errors import InputError
from squeezebench.report.audit import audit
from squeezebench.report.audit.figure import Check as Audited
from squeezebench.report.words import ASSETS
from squeezebench.schema.printed import OurRow, read_block
from squeezebench.schema.stored import Part

CLAIMS = ASSETS / "claims"
COUNTS = Literal["mask_vectors", "input_to_hidden", "hidden_to_hidden", "bias", "lstm_total", "model_total"]


class Group(Part):
    """Which run groups are meant; where several are, one is picked on validation (see published.OurRow)."""

    method: str
    where: dict[str, Any] = {}  # resolved settings; of a list, one of them; null: none, or not a setting yet
    unlike: dict[str, Any] = {}  # resolved settings that must have another value
    at_least: PositiveFloat | None = None
    pick: Literal["best", "smallest"] = "best"

    def row(self) -> OurRow:
        """Without what `allows` looks at."""
        where = {key: value for key, value in self.where.items() if value is not None}
        return OurRow(**self.model_dump(exclude={"unlike", "where"}), where=where)

    def allows(self, settings: dict[str, Any]) -> bool:
        unset = all(settings.get(key) is None for key, value in self.where.items() if value is None)
        return unset and all(key in settings and settings[key] != value for key, value in self.unlike.items())


class _Check(Part):
    says: str  # what is compared, in words
    optional: bool = False  # a comparison without runs does not keep the others from deciding


class _Bounded(_Check):
    """The claim holds where the whole interval is within the bounds."""

    at_least: float | None = None
    at_most: float | None = None
    more_than: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self):
        bounds = (self.at_least, self.at_most, self.more_than)
        if all(bound is None for bound in bounds):
            raise ValueError("give a bound: at_least, at_most or more_than")
        if self.at_least is not None and self.more_than is not None:
            raise ValueError("give at_least or more_than, not both")
        return self


class About(Part):
    """A figure with its tolerance: from value / factor to value x factor."""

    value: PositiveFloat
    factor: float = Field(gt=1)


class RatioCheck(_Check):
    """Ratio of LSTM parameters of `of`, or that ratio over the ratio of `over`; bootstrap interval over seeds."""

    form: Literal["ratio"]
    of: Group
    over: Group | None = None
    at_least: PositiveFloat | None = None
    more_than: PositiveFloat | None = None
    about: About | None = None

    @model_validator(mode="after")
    def _has_one_bound(self):
        if sum(bound is not None for bound in (self.at_least, self.more_than, self.about)) != 1:
            raise ValueError("give one of at_least, more_than and about")
        return self


class DifferenceCheck(_Bounded):
    """Test accuracy of `of` minus that of `minus`, paired by seed, points; 95 % t interval."""

    form: Literal["difference"]
    of: Group
    minus: Group


class EqualCheck(_Check):
    """Settings that differ in one setting alone score the same: the mean difference over all such pairs, by seed."""

    form: Literal["equal"]
    of: Group
    to: Group
    setting: str  # the only one that differs
    within: PositiveFloat


class FallsCheck(_Bounded):
    """Mean test accuracy at all values of a setting from `start` on, minus that at the last value below it, points."""

    form: Literal["falls"]
    of: Group
    setting: str
    start: float


class MonotoneCheck(_Check):
    """The slope of log10 ratio (or of accuracy) against log10 of a setting, by seed, has one sign."""

    form: Literal["monotone"]
    of: Group
    setting: str
    quantity: Literal["ratio", "accuracy"]
    direction: Literal["rises", "falls"]


class EqualSizeCheck(_Bounded):
    """At each size of `against`: the setting of `of` that is best on validation among those that are no larger, but by
    a factor at most, minus it, paired by seed, points. Intervals cover all sizes together (Bonferroni)."""

    form: Literal["equal_size"]
    of: Group
    against: Group
    factor: float = Field(gt=1)


class StoredCheck(_Check):
    """Every compact module of `of` stores so many numbers of a kind."""

    form: Literal["stored"]
    of: Group
    count: COUNTS
    equals: int = Field(ge=0)


class SpeedCheck(_Bounded):
    """The largest time ratio of dense to compact in inference.json; between the quartiles of both."""

    form: Literal["speed"]
    of: Group
    against: Literal["same_runtime", "fastest_dense"]


Check = Annotated[
    RatioCheck | DifferenceCheck | EqualCheck | FallsCheck | MonotoneCheck | EqualSizeCheck | StoredCheck | SpeedCheck,
    Field(discriminator="form"),
]


class TaskPattern(Part):
    """Tasks of a source whose options have these values; null: not set."""

    source: str
    options: dict[str, Any] = {}

    def matches(self, spec: dict[str, Any]) -> bool:
        options = spec.get("options") or {}
        return spec.get("source") == self.source and all(options.get(k) == v for k, v in self.options.items())

    def words(self) -> str:
        set_ = ", ".join(f"{key} {value}" for key, value in self.options.items() if value is not None)
        return self.source + (f" ({set_})" if set_ else "")


class Printed(Part):
    """A figure of report/reference."""

    says: str
    block: str
    row: str
    column: str
    unit: str = ""

    def text(self) -> str:
        block = read_block(self.block)
        return f"{self.says}: {block.lines[block.keys.index(self.row)][self.column]}{self.unit}"


class Claim(Part):
    """One claim. `tasks` are those of the paper; `elsewhere`: it can be tested on any other task too."""

    title: str
    place: str  # where the paper says it
    quote: str = ""
    tasks: list[TaskPattern] = Field(min_length=1)
    elsewhere: bool = False
    printed: list[Printed] = []
    audit: list[str] = []  # ids of the audit's checks
    tests: list[Check] = Field(min_length=1)
    otherwise: str = ""  # why it cannot be tested where no run has the settings it needs
    name: str = ""  # of its file

    def audited(self) -> list[Audited]:
        return [audits()[id] for id in self.audit]


@cache
def audits() -> dict[str, Audited]:
    """The audit's checks by id."""
    return {check.id: check for check in audit()}


def read_claims(folder: Path = CLAIMS) -> list[Claim]:
    """Every claim of a folder, by file name. Raises InputError in one line for a file that is none, or that refers to
    a figure or a line of the audit that does not exist."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def _read(path: Path) -> Claim:
    here = f"{path.parent.name}/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise InputError(f"{here}: not YAML: {getattr(error, 'problem', None) or 'unreadable'}{line}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{here}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise InputError(f"{here}: not a claim (keys with values are expected)")
    try:
        claim = Claim.model_validate(content | {"name": path.stem})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        says = first["msg"].removeprefix("Value error, ").splitlines()[0]
        raise InputError(f"{here}: {place}: {says}") from None
    for number, figure in enumerate(claim.printed):
        _check_printed(figure, f"{here}: printed.{number}")
    for id in claim.audit:
        if id not in audits():
            raise InputError(f"{here}: audit: no check {id!r}; `squeezebench audit --json` lists them")
    return claim


def _check_printed(figure: Printed, here: str) -> None:
    try:
        block = read_block(figure.block)
    except InputError as error:
        raise InputError(f"{here}: {error}") from None
    if block.keys.count(figure.row) != 1:
        what = "several rows" if figure.row in block.keys else "no row"
        raise InputError(f"{here}: {figure.block} has {what} {figure.row!r}; rows: {', '.join(block.keys)}")
    if figure.column not in block.lines[0]:
        raise InputError(f"{here}: {figure.block} has no column {figure.column!r}; {', '.join(block.lines[0])}")
