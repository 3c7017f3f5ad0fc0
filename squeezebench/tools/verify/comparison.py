"""The one comparison of recorded values with measured ones: `report --verify` and `reproduce` read the metric table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from squeezebench.schema.differences import Difference
from squeezebench.schema.metrics import BY_PATH
from squeezebench.schema.predictions import predictions_moved
from squeezebench.schema.record import Record

CELLS = 3  # of a confusion matrix that are shown
LONGEST = 120  # characters of a value


def differences(
    record: Record,
    measured: Mapping[str, Any],
    exact: bool = True,
    parts: Mapping[str, int] | None = None,
    notes: list[str] | None = None,
) -> Iterator[Difference]:
    """The values of `record` that are not the measured ones.

    measured: path in the metric table -> value. exact: whether the same machine measured both. Otherwise answers may
    differ by the table's tolerance, which `notes` then say; `parts` are the numbers of sequences of the task's parts.
    """
    for path, value in measured.items():
        metric = BY_PATH[path]
        recorded, value = metric.value(record), _plain(value)
        if recorded == value or (recorded is None and metric.optional):
            continue
        moved = sequences_moved(recorded, value, (parts or {}).get(metric.part, 0))
        if metric.compared == "near" and not exact and moved is not None and moved <= metric.tolerance:
            if moved and notes is not None:
                notes.append(f"{path}: one sequence is classified differently on this machine")
        else:
            yield Difference(path, recorded, value)


def sequences_moved(recorded: Any, measured: Any, size: int) -> int | None:
    """How many sequences are classified differently, by two confusion matrices, by two texts of predictions or by two
    shares of `size` sequences; None if the two are not of one kind."""
    if isinstance(recorded, str) and isinstance(measured, str):
        return predictions_moved(recorded, measured)
    if isinstance(recorded, list) and isinstance(measured, list) and np.shape(recorded) == np.shape(measured):
        return int(np.abs(np.array(recorded) - np.array(measured)).sum()) // 2
    if size and isinstance(recorded, float) and isinstance(measured, float):
        return round(abs(recorded - measured) * size)
    return None


def _plain(value: Any) -> Any:
    """`value` as a record holds it once it was written and read."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value.model_dump() if isinstance(value, BaseModel) else value


def fields(name: str, part: BaseModel | None) -> dict[str, Any]:
    """Path -> value for each field of one part of a record."""
    return {f"{name}.{field}": value for field, value in part or ()}


def in_words(difference: Difference) -> tuple[str, str]:
    """Both values as text: a digest by its first digits, of a confusion matrix the cells that differ."""
    recorded, measured = difference.recorded, difference.measured
    if difference.what == "predictions" and isinstance(recorded, str) and isinstance(measured, str):
        if " " in measured:  # already in words
            return recorded, measured
        moved = predictions_moved(recorded, measured)
        return "the class of each test sequence", "another text" if moved is None else f"{moved:,} of them differ"
    if difference.what == "confusion" and isinstance(recorded, list) and isinstance(measured, list):
        cells = [
            (f"[{i}][{j}] {a}", f"[{i}][{j}] {b}")
            for i, (row, other) in enumerate(zip(recorded, measured, strict=False))
            for j, (a, b) in enumerate(zip(row, other, strict=False))
            if a != b
        ][:CELLS]
        return ", ".join(a for a, _ in cells), ", ".join(b for _, b in cells)
    return _text(recorded), _text(measured)


def _text(value: object) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
