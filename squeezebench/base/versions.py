"""The schema of what is written to disk: a file of a newer one is neither read nor replaced."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from squeezebench import __version__
from squeezebench.base.errors import InputError
from squeezebench.base.reading import read_json

SCHEMA_VERSION = 5  # of all files; raise it with every field that is added, and keep a record in tests/records


class NewerError(InputError):
    """A file that a newer version of squeezebench wrote. It is neither read nor replaced."""


def check_replaceable(path: Path) -> None:
    """Raises NewerError if the JSON file at `path`, which need not exist, is of a newer schema."""
    content = None
    with suppress(OSError, ValueError):
        content = read_json(path)
    refuse_newer(path, content)


def refuse_newer(path: Path, content: Any) -> None:
    """Raises NewerError if `content`, read from `path`, is of a newer schema."""
    schema = content.get("schema_version") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA_VERSION:
        raise NewerError(
            f"{path}: written by {writer_of(content)} in schema {schema}; this is squeezebench {__version__}, which "
            f"knows schemas up to {SCHEMA_VERSION}. Nothing was changed: use that version, or another folder of results"
        )


def writer_of(content: dict[str, Any]) -> str:
    """`squeezebench 0.1.0`, as far as the file says it."""
    provenance = content.get("provenance")
    version = (provenance if isinstance(provenance, dict) else content).get("squeezebench")
    return f"squeezebench {version}" if isinstance(version, str) and version else "another version of squeezebench"
