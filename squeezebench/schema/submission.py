"""A submission, the results of a finished experiment as its authors send them to a board; and the board."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from squeezebench.schema.experiment import NAME
from squeezebench.schema.record import RUN_FILES
from squeezebench.schema.stored import SCHEMA_VERSION, Part, SchemaVersion

SUBMISSION, BOARD = "submission.json", "board.json"
PLAN = "plan.json"
# The only files of a submission: JSON, CSV and safetensors. None of them can hold code that reading it would run.
FILES = re.compile(rf"{re.escape(PLAN)}|tuning/.+\.json|runs/.+/({'|'.join(map(re.escape, RUN_FILES))})")


class Submission(Part):
    """`submission.json`: who sends what."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    name: str = Field(pattern=NAME)  # of the person, group or method, as it is shown
    experiment: str = Field(pattern=NAME)
    squeezebench: str
    finished: str  # UTC, ISO 8601: of its last run
    environments: list[dict[str, Any]]  # each machine with its packages, and how many runs were made there
    files: dict[str, str]  # path -> SHA-256
    missing: list[str] = []  # planned runs without a record, which its authors say

    @property
    def id(self) -> str:
        """The name of its archive and of its folder on a board."""
        return f"{self.name}-{self.experiment}"


class Board(Part):
    """`board.json`: which submissions a site shows, and what it takes to build it again to the same bytes."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    version: str = ""  # under which it is frozen; "": it is not
    squeezebench: str  # that built it
    submissions: dict[str, str]  # name -> digest of its files, in the order of the board
    files: dict[str, str]  # of the site, beside this one: path -> SHA-256


@dataclass(frozen=True)
class Opened:
    """A submission as a board reads it: a copy of its files that is its own, beside what is wrong with it."""

    where: Path  # what was given: an archive or a folder
    folder: Path  # the copy, with verification.json
    submission: Submission | None  # None if it cannot be read
    digest: str = ""  # SHA-256 over the digests of all of its files
    problems: tuple[str, ...] = ()
