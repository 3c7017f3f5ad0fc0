"""What every model that is written to disk shares, and files of one model with a digest over their content.

Files of every older schema stay readable, and a file of a newer one is never replaced: who reads it stops.
"""

from __future__ import annotations

import json
from functools import partial
from operator import eq
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.problems import first_problem
from squeezebench.base.reading import read_json
from squeezebench.base.versions import SCHEMA_VERSION as SCHEMA_VERSION
from squeezebench.base.versions import NewerError as NewerError
from squeezebench.base.versions import check_replaceable, refuse_newer, writer_of

Model = TypeVar("Model", bound=BaseModel)
SchemaVersion = Annotated[int, Field(ge=1, le=SCHEMA_VERSION)]


class StoredError(InputError):
    """A file that cannot be trusted; the message says why in one line.

    intact: nothing has damaged it, so that another version of squeezebench wrote it. It must not be replaced.
    """

    intact = False


class Part(BaseModel):
    """A model that refuses unknown keys and cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def joined_later(default: Any, **about: Any) -> Any:
    """A field of a model that had been written before it had the field: left out of what is written while it has its
    default, so that the files and digests of before stay as they are. about: as pydantic's Field."""
    return Field(default, exclude_if=partial(eq, default), **about)


def write_json(path: Path, content: object) -> None:
    """Write `content` with sorted keys, whole or not at all. Raises NewerError instead of replacing a newer file."""
    check_replaceable(path)
    write_atomically(path, in_json(content))


def in_json(content: object) -> bytes:
    """`content` as every file of ours holds it: with sorted keys."""
    return json.dumps(content, indent=1, sort_keys=True).encode() + b"\n"


def sealed(model: BaseModel) -> dict[str, Any]:
    """The content of `model` with a digest over it."""
    content = model.model_dump(mode="json")
    return content | {"digest": digest_of(content)}


def write_sealed(path: Path, model: BaseModel) -> Path:
    """Write `model` with a digest over its content, whole or not at all."""
    write_json(path, sealed(model))
    return path


def read_sealed(path: Path, kind: type[Model], noun: str, error: type[StoredError] = StoredError) -> Model:
    """The `kind` that `write_sealed` wrote.

    Raises `error`, in a line that names the file and calls it a `noun`: it is unreadable, truncated, altered, or not
    of this schema. Raises NewerError if its schema is newer.
    """
    try:
        content = read_json(path)
    except OSError as failure:
        raise error(f"{path}: cannot be read ({failure.strerror})") from None
    except ValueError as failure:
        raise error(f"{path}: not a complete JSON file (half written or damaged): {failure}") from None
    if not isinstance(content, dict):
        raise error(f"{path}: not a {noun} (a JSON object is expected)")
    if content.pop("digest", None) != digest_of(content):
        raise error(f"{path}: content does not match its digest (altered or damaged)")
    refuse_newer(path, content)
    try:
        return kind.model_validate(content)
    except ValidationError as failure:
        origin = f"it is undamaged and {writer_of(content)} wrote it: use that version, or move the file away"
        invalid = error(f"{path}: not a valid {noun}: {first_problem(failure)}; {origin}")
        invalid.intact = True
        raise invalid from None
