"""Folders of results as somebody could have altered them."""

from __future__ import annotations

from pathlib import Path

from squeezebench.schema.record import Record, read_record, write_record


def alter(folder: Path, part: str | None = None, **changed) -> Record:
    """Write a record with other content, or with a part that has other content, and a digest that is right for it;
    the record as it was."""
    record = read_record(folder / "record.json")
    changed = {part: getattr(record, part).model_copy(update=changed)} if part else changed
    write_record(folder, record.model_copy(update=changed))
    return record


def without_models(folder: Path) -> None:
    """Removes every model file."""
    for path in folder.rglob("model.safetensors"):
        path.unlink()
