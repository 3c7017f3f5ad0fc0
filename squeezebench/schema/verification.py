"""The file that `squeezebench report --verify` leaves beside the report."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel

from squeezebench.base.reading import regular
from squeezebench.schema.record import record_files
from squeezebench.schema.stored import SCHEMA_VERSION, SchemaVersion

VERIFICATION = "verification.json"


class Problem(BaseModel):
    """One value of one run that is not what it should be."""

    run: str  # path of its folder, below the experiment's
    field: str
    recorded: str
    measured: str


class Verification(BaseModel):
    """What was verified, and what was wrong."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    records: int = 0  # ok records
    measured: int = 0  # of them: measured again from their models
    scored: int = 0  # of those: on their data
    without_model: int = 0
    scored_runs: list[str] = []  # the runs measured again on their data: paths of their folders
    sample: int | None = None  # how many were to be measured again; None: all
    problems: list[Problem] = []
    not_measured: dict[str, int] = {}  # reason -> runs whose model could not be measured
    notes: list[str] = []
    records_digest: str = ""
    machine: str = ""
    engine_digest: str = ""
    finished: str = ""  # UTC, ISO 8601


def records_digest(folder: Path) -> str:
    """SHA-256 over every record file of `folder`: whether records have changed since they were verified."""
    digest = sha256()
    for path in record_files(folder):
        content = regular(path).read_bytes()
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + sha256(content).digest())
    return digest.hexdigest()
