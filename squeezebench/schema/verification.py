"""The file that `squeezebench report --verify` leaves beside the report."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from squeezebench.base.reading import regular
from squeezebench.schema.record import RECORD_NAME

VERIFICATION = "verification.json"


def records_digest(folder: Path) -> str:
    """SHA-256 over every record file below `folder/runs`: whether records have changed since they were verified."""
    digest = sha256()
    for path in sorted((folder / "runs").rglob(RECORD_NAME)):
        content = regular(path).read_bytes()
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + sha256(content).digest())
    return digest.hexdigest()
