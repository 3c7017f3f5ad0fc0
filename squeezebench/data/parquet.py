"""Reading a data set from one .parquet in long format: a row is one step of one sequence.

Columns: `sequence` (its id, any integer or string), `step` (integer; only the order within a sequence
counts), `y`, optionally `subset`, `group` and `name` (the same in all rows of a sequence); all others are
features, in the file's order. Three kinds of columns would be features by accident and say what the label is: the
index that pandas saves is left out with a note, names that are nearly those above and usual names of labels, splits
and row numbers are refused. Sequences keep the order in which they first appear; shorter ones are padded
and get a length.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.reading import check_memory, regular
from squeezebench.data.arrays import Arrays

log = logging.getLogger("squeezebench")

KEYS = ("sequence", "step", "y")
PER_SEQUENCE = ("y", "subset", "group", "name")
KNOWN = (*KEYS, *PER_SEQUENCE[1:])
MEANT = {  # names that are taken for a feature by accident -> what they are meant to be
    "y": ("label", "labels", "target", "targets", "class", "classes", "category", "y_true", "ground_truth", "action"),
    "sequence": ("id", "seq", "seq_id", "sequence_id", "sample", "sample_id", "series_id", "clip", "clip_id"),
    "step": ("index", "row", "row_id", "row_number", "level_0", "level_1", "time_step", "timestep", "timestamp"),
    "subset": ("split", "fold", "part", "partition", "set", "is_train", "is_test", "train", "test"),
    "group": ("subject", "subject_id", "speaker", "speaker_id", "person", "participant", "user", "session"),
}


def read_parquet(path: Path) -> Arrays:
    """The arrays x, y and those of length, subset, group, name that apply."""
    with _one_line(path):
        return _read(path, _open(path)[0])


def _read(path: Path, table: Any) -> Arrays:
    import pandas as pd

    for name in KEYS:
        if name not in table.column_names:
            raise InputError(
                f"{path}: there is no column {name}; sequence, step, y and features are needed; "
                f"it has: {', '.join(table.column_names)[:200]}"
            )
    if table.num_rows == 0:
        raise InputError(f"{path}: has no rows; one row for each step of each sequence is needed")
    features = _features(path, table.column_names, table.schema)
    if not features:
        raise InputError(f"{path}: has no feature column (D is 0); every column besides the known names is a feature")
    step = _plain(path, table, "step")
    if step.dtype.kind not in "iu":
        raise InputError(f"{path}: column step has type {table.schema.field('step').type}; it must be integer")
    code, ids = pd.factorize(_plain(path, table, "sequence"), use_na_sentinel=False)  # in order of first appearance
    order = np.lexsort((step, code))
    code, step = code[order], step[order]
    for row in np.flatnonzero((code[1:] == code[:-1]) & (step[1:] == step[:-1])):
        raise InputError(f"{path}: sequence {ids[code[row]]} has step {step[row]} twice; a row is one step")
    length = np.bincount(code)
    starts = np.cumsum(length) - length
    position = np.arange(len(code)) - starts[code]
    columns = [_numbers(path, table, name) for name in features]
    kind = np.result_type(*columns)
    check_memory("x, padded to the longest sequence,", len(ids) * int(length.max()) * len(columns) * kind.itemsize)
    x = np.zeros((len(ids), length.max(), len(columns)), kind)
    for index, column in enumerate(columns):
        x[code, position, index] = column[order]
    arrays: Arrays = {"x": x, "length": length}
    for name in PER_SEQUENCE:
        if name in table.column_names:
            arrays[name] = _constant(path, name, _plain(path, table, name)[order], code, starts, ids)
    return arrays


def peek_parquet(path: Path) -> tuple[np.ndarray, Arrays]:
    """(x (N, T, D), a view of one zero; length, y, subset, group and name by sequence); no feature is read."""
    with _one_line(path):
        return _peek(path)


def _peek(path: Path) -> tuple[np.ndarray, Arrays]:
    table, names = _open(path, ("sequence", *PER_SEQUENCE))
    for name in ("sequence", "y"):
        if name not in names:
            raise InputError(f"{path}: there is no column {name}; sequence, step, y and features are needed")
    _, first, code = np.unique(_plain(path, table, "sequence"), return_index=True, return_inverse=True)
    seen = np.argsort(first)  # sequences keep the order in which they first appear
    arrays = {name: _plain(path, table, name)[first[seen]] for name in PER_SEQUENCE if name in names}
    arrays["length"] = np.bincount(code)[seen]
    inputs = len(_features(path, names, table.schema))
    shape = len(first), int(arrays["length"].max(initial=0)), inputs
    return np.broadcast_to(np.float32(0), shape), arrays


def _features(path: Path, names: list[str], schema: Any) -> list[str]:
    """The feature columns. Raises InputError for a name that is hardly meant as a feature."""
    index = [name for name in (schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)]
    index += [name for name in names if re.fullmatch(r"__index_level_\d+__", name)]
    features = [name for name in names if name not in KNOWN and name not in index]
    if left_out := sorted({name for name in index if name in names and name not in KNOWN}):
        log.warning("%s: column %s is the index that pandas saved; it is no feature", path, ", ".join(left_out))
    for name in features:
        plain = name.strip().lower().replace(" ", "_").replace("-", "_")
        meant = next((known for known, others in MEANT.items() if plain in others), None)
        near = difflib.get_close_matches(plain, KNOWN, n=1, cutoff=0.85)
        meant = meant or (near[0] if near else None) or ("step" if plain.startswith("unnamed:") else None)
        if meant:
            raise InputError(
                f"{path}: column {name!r} would be a feature; did you mean {meant}? Remove it, or rename it if it is "
                "a feature"
            )
    return features


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Whatever pyarrow makes of a damaged file (its reader raises nearly everything) becomes an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = first_line(error)
        if isinstance(error, MemoryError | ImportError) or (isinstance(error, OSError) and error.strerror):
            raise InputError(f"{path}: cannot be read ({reason})") from None
        raise InputError(f"{path}: not a readable .parquet file ({reason}); write it again") from None


def _open(path: Path, only: tuple[str, ...] = ()) -> tuple[Any, list[str]]:
    """(the table, or its columns `only`; the names of all). Refused before it is read if its metadata announce
    more than fits into memory: equal values cost next to nothing in the file."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(regular(path)) as file:
        names = list(file.schema_arrow.names)
        if twice := [name for name in names if names.count(name) > 1] if len(set(names)) < len(names) else []:
            raise InputError(f"{path}: two columns are called {twice[0]}; every column needs a name of its own")
        columns = [name for name in only if name in names] if only else names
        check_memory("its table", file.metadata.num_rows * len(columns) * 8)
        return file.read(columns=columns), names


def _plain(path: Path, table: Any, name: str) -> np.ndarray:
    """A column without gaps as integers, floats or strings."""
    import pyarrow as pa
    import pyarrow.compute as compute

    column = table.column(name)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise InputError(f"{path}: column {name} has no value in row {row}; every row needs one")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        longest = compute.max(compute.utf8_length(column)).as_py() or 1
        check_memory(f"column {name}", 4 * longest * len(column))
        return np.array(column.to_pylist(), dtype=str)
    if not _is_number(column.type):
        raise InputError(f"{path}: column {name} has type {column.type}; it must be integer or string")
    return column.to_numpy()


def _numbers(path: Path, table: Any, name: str) -> np.ndarray:
    """A feature column; missing values become NaN, which the checks refuse with their place."""
    if not _is_number(table.schema.field(name).type):
        raise InputError(f"{path}: feature column {name} has type {table.schema.field(name).type}; it must be numeric")
    column = table.column(name)
    return (column.cast("float64") if column.null_count else column).to_numpy()


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _constant(path: Path, name: str, column: np.ndarray, code, starts, ids) -> np.ndarray:
    """The one value of each sequence."""
    values = column[starts]
    for row in np.flatnonzero(column != values[code]):
        sequence = ids[code[row]]
        raise InputError(
            f"{path}: sequence {sequence} has two values of {name} ({values[code[row]]} and {column[row]})"
        )
    return values
