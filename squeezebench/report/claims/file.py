"""Claims of the VIB-LSTM paper as files: `report/claims/*.yaml`, one claim each, read and checked as a whole.

A claim names what the paper says, where it is printed, which checks of the audit recompute the figures, on which tasks
it can be tested, and one or more comparisons, each of a form that `forms.py` knows. What a comparison compares is a
family of `report/families.yaml`. Differences of accuracy are in percentage points, sizes are ratios of LSTM parameters.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, ValidationError, model_validator

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.base.suggestions import near_matches
from squeezebench.base.yaml_file import load_yaml
from squeezebench.report.audit import Check as Audited
from squeezebench.report.audit import audit
from squeezebench.report.words import ASSETS
from squeezebench.schema.printed import OurRow
from squeezebench.schema.reference import read_block
from squeezebench.schema.stored import Part

CLAIMS, FAMILIES = ASSETS / "claims", ASSETS / "families.yaml"


class Family(Part):
    """One method in one form."""

    method: str
    along: list[str] = []  # the settings in which its points may differ
    where: dict[str, Any] = {}  # resolved settings that its points share; null: none, or not a setting yet
    unlike: dict[str, Any] = {}  # resolved settings that must have another value


class Group(Part):
    """Points of a family; if one is meant and there are several, it is picked on validation (see printed.OurRow)."""

    family: str
    where: dict[str, Any] = {}  # further settings, or others than the family's
    at_least: PositiveFloat | None = None
    pick: Literal["best", "smallest"] = "best"

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given):
        return {"family": given} if isinstance(given, str) else given

    @property
    def of(self) -> Family:
        """The family with the settings of `where`. Raises InputError if there is none of this name."""
        if self.family not in families():
            raise InputError(f"no family {self.family!r} in {FAMILIES.name}; {near_matches(self.family, families())}")
        family = families()[self.family]
        return family.model_copy(update={"where": family.where | self.where})

    def row(self) -> OurRow:
        """The method and how one point is picked."""
        return OurRow(method=self.of.method, at_least=self.at_least, pick=self.pick)


class _Check(Part):
    says: str  # what is compared, in words


class _Bounded(_Check):
    """The claim holds if the whole interval is within the bounds."""

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

    @property
    def bounds(self) -> dict[str, float | None]:
        return {"at_least": self.at_least, "at_most": self.at_most, "more_than": self.more_than}


class About(Part):
    """A figure with its tolerance: from value / factor to value x factor."""

    value: PositiveFloat
    factor: float = Field(gt=1)


class RatioCheck(_Check):
    """Ratio of LSTM parameters of `of`, or that ratio over the ratio of `over`; t interval of its logarithm.

    paired: the mean over all pairs of points with the same settings, apart from those that tell the families apart.
    """

    form: Literal["ratio"]
    of: Group
    over: Group | None = None
    paired: bool = False
    at_least: PositiveFloat | None = None
    more_than: PositiveFloat | None = None
    about: About | None = None

    @model_validator(mode="after")
    def _has_one_bound(self):
        if sum(bound is not None for bound in (self.at_least, self.more_than, self.about)) != 1:
            raise ValueError("give one of at_least, more_than and about")
        if self.paired and self.over is None:
            raise ValueError("paired: give the family that is compared under `over`")
        return self


class DifferenceCheck(_Bounded):
    """Test accuracy of `of` minus that of `minus`, paired by seed and test sequence, points; 95 % t interval.

    paired: as of a ratio.
    """

    form: Literal["difference"]
    of: Group
    minus: Group
    paired: bool = False


class FallsCheck(_Bounded):
    """Mean test accuracy at all values of a setting from `start` on, minus that at the last value below it, points."""

    form: Literal["falls"]
    of: Group
    setting: str
    start: float


class ProportionalCheck(_Check):
    """The ratio is proportional to a setting: the slope of log ratio against log setting, by seed, is about 1."""

    form: Literal["proportional"]
    of: Group
    setting: str
    factor: float = Field(gt=1)  # of the slope, either way


class EqualSizeCheck(_Bounded):
    """At each size of `against`: the point of `of` that is best on validation among those that are no larger, but by
    a factor at most, minus it, points. The intervals hold for all sizes together (Bonferroni)."""

    form: Literal["equal_size"]
    of: Group
    against: Group
    factor: float = Field(gt=1)


class SpeedCheck(_Bounded):
    """The largest time ratio of dense to compact in inference.json; between the quartiles of both."""

    form: Literal["speed"]
    method: str
    against: Literal["same_runtime", "fastest_dense"]


class SplitCheck(_Bounded):
    """Test accuracy of `of` under the task's random split minus that with whole groups held out, points.

    The other task is the same but for its split. The two test parts differ, so nothing is paired.
    """

    form: Literal["split"]
    of: Group


Check = Annotated[
    RatioCheck | DifferenceCheck | FallsCheck | ProportionalCheck | EqualSizeCheck | SpeedCheck | SplitCheck,
    Field(discriminator="form"),
]


def groups_of(check: Check) -> list[Group]:
    """Every group that a comparison names."""
    return [value for _, value in check if isinstance(value, Group)]


class TaskPattern(Part):
    """Tasks of a source whose options have these values (null: not set) and, if `split` is given, with this split."""

    source: str
    options: dict[str, Any] = {}
    split: str | None = None

    def matches(self, spec: dict[str, Any]) -> bool:
        options = spec.get("options") or {}
        same = spec.get("source") == self.source and self.split in (None, spec.get("split"))
        return same and all(options.get(k) == v for k, v in self.options.items())

    def words(self) -> str:
        given = self.options | {"split": self.split}
        set_ = ", ".join(f"{key} {value}" for key, value in given.items() if value is not None)
        return self.source + (f" ({set_})" if set_ else "")


class Printed(Part):
    """A figure of report/reference."""

    says: str
    block: str
    row: str
    column: str
    unit: str = ""

    def text(self) -> str:
        """Raises InputError for a figure that does not exist."""
        block = read_block(self.block)
        return f"{self.says}: {block.lines[block.row(self.row)][block.column(self.column)]}{self.unit}"


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
    takes: str = ""  # what it takes to test it, if no run has what it needs
    name: str = ""  # of its file

    def audited(self) -> list[Audited]:
        return [audits()[id] for id in self.audit]


@cache
def audits() -> dict[str, Audited]:
    """The audit's checks by id."""
    return {check.id: check for check in audit()}


@cache
def families() -> dict[str, Family]:
    """The families by name. Raises InputError in one line for a malformed file."""
    return {name: _valid(Family, entry, f"{FAMILIES.name}: {name}") for name, entry in _content(FAMILIES).items()}


def read_claims(folder: Path = CLAIMS) -> list[Claim]:
    """Every claim of a folder, by file name. Raises InputError in one line for a file that is none, or that refers to
    a family, a printed figure or a check of the audit that does not exist."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def _read(path: Path) -> Claim:
    here = f"{path.parent.name}/{path.name}"
    claim = _valid(Claim, _content(path) | {"name": path.stem}, here)
    try:
        _ = [group.of for test in claim.tests for group in groups_of(test)]
        _ = [figure.text() for figure in claim.printed]
    except InputError as error:
        raise InputError(f"{here}: {error}") from None
    for id in claim.audit:
        if id not in audits():
            raise InputError(f"{here}: audit: no check {id!r}; {near_matches(id, audits())}")
    return claim


def _content(path: Path) -> dict[str, Any]:
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path.parent.name}/{path.name}: keys with values are expected")
    return content


def _valid(kind, content, here: str):
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{here}: {first_problem(error)}") from None
