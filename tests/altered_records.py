"""Folders of results as somebody could have altered them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from squeezebench.base.digests import digest_of
from squeezebench.schema.record import Record, read_record, write_record


def alter(folder: Path, part: str | None = None, **changed) -> Record:
    """Write a record with other content, or with a part that has other content, and a digest that is right for it;
    the record as it was."""
    record = read_record(folder / "record.json")
    changed = {part: getattr(record, part).model_copy(update=changed)} if part else changed
    write_record(folder, record.model_copy(update=changed))
    return record


def signed(content: dict[str, Any]) -> bytes:
    """A file whose digest is right, whatever it holds and whoever wrote it."""
    content = {key: value for key, value in content.items() if key != "digest"}
    return json.dumps(content | {"digest": digest_of(content)}).encode()


def without_models(folder: Path) -> None:
    """Removes every model file."""
    for path in folder.rglob("model.safetensors"):
        path.unlink()
