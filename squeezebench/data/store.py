"""Arrays on disk that grow row by row and survive being killed at any time.

    FOLDER/x.npy, ...     (N, ...) arrays, one row a sequence; written with plain writes (a full disk is then an
                          error, while a write through a memory map would kill the process)
    FOLDER/ledger.jsonl   one line for each clip that is done: {"clip", "length"} or {"clip", "skipped": reason}
    FOLDER/key.json       what the rows are made from; another key in the same folder is refused
    FOLDER/meta.json      written last: the store is complete; shapes, digests and what the writer adds

A row is flushed to disk before its line in the ledger, and opening a store cuts off what the ledger does not
know, so going on after a kill gives the same bytes as never having stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from squeezebench.base.contents import sha256_of
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import FULL, InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.locks import locked
from squeezebench.base.places import data_folder

Small = dict[str, np.ndarray]
Fill = Callable[["Store"], tuple[dict[str, Any], Small]]


class Store:
    """Rows of `arrays` (name -> (shape of a row, dtype)) in `folder`. Made by `opened`, which holds the lock."""

    def __init__(self, folder: Path, key: dict[str, Any], arrays: dict[str, tuple[tuple[int, ...], str]]) -> None:
        self.folder = folder
        self._arrays = arrays
        self._check_key(key)
        self.ledger = self._read_ledger()
        self._files = {name: self._open(name) for name in arrays}

    @property
    def rows(self) -> int:
        """How many sequences have their row."""
        return sum("length" in line for line in self.ledger)

    def add(self, clip: str, length: int, note: dict[str, Any] | None = None, **values: np.ndarray) -> None:
        """Append one row to every array, then the line."""
        rows = {name: value[None] for name, value in values.items()}
        self.extend([{"clip": clip, "length": length} | (note or {})], **rows)

    def extend(self, lines: list[dict[str, Any]], **values: np.ndarray) -> None:
        """Append many rows to every array, (rows, ...), then `lines`, as many of them with a `length` as there are
        rows; the disk is waited for once."""
        count = sum("length" in line for line in lines)
        for name, (shape, dtype) in self._arrays.items():
            value = np.ascontiguousarray(values[name], dtype=dtype)
            assert value.shape == (count, *shape), f"{name}: rows have shape {value.shape}, not {(count, *shape)}"
            file = self._files[name]
            file.write(value.tobytes())
            os.fsync(file.fileno())
        self._note(lines)

    def skip(self, clip: str, reason: str) -> None:
        """Note that the clip has no row, and why."""
        self._note([{"clip": clip, "skipped": reason}])

    def finish(self, meta: dict[str, Any], **more: np.ndarray) -> None:
        """Write the small arrays `more` and the final headers, then meta.json with a digest of each array."""
        for name, file in self._files.items():
            file.overwrite_start(self._header(name))
        for name, array in more.items():
            with (self.folder / f"{name}.npy").open("wb") as file:
                npy.write_array(file, array, allow_pickle=False)
        digests = {name: sha256_of(self.folder / f"{name}.npy") for name in (*self._arrays, *more)}
        content = {"rows": self.rows, "digests": digests} | meta
        write_atomically(self.folder / "meta.json", json.dumps(content, indent=1).encode() + b"\n")

    def close(self) -> None:
        for file in (*self._files.values(), self._ledger_file):
            file.close()

    def _check_key(self, key: dict[str, Any]) -> None:
        path, text = self.folder / "key.json", json.dumps(key, indent=1, sort_keys=True).encode() + b"\n"
        if not path.exists():
            write_atomically(path, text)
        elif path.read_bytes() != text:
            raise InputError(f"{self.folder}: holds features made from something else (see key.json); remove it")

    def _read_ledger(self) -> list[dict[str, Any]]:
        path = self.folder / "ledger.jsonl"
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]  # a line that was being written when the process died goes
        file = path.open("ab", buffering=0)
        file.truncate(len(whole))
        self._ledger_file = _Whole(file)
        return [json.loads(line) for line in whole.splitlines()]

    def _note(self, lines: list[dict[str, Any]]) -> None:
        self._ledger_file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        os.fsync(self._ledger_file.fileno())
        self.ledger += lines

    def _open(self, name: str):
        """The file, cut after the rows that the ledger knows, ready for the next row."""
        path = self.folder / f"{name}.npy"
        header = self._header(name)
        file = path.open("r+b" if path.exists() else "w+b", buffering=0)
        shape, dtype = self._arrays[name]
        end = len(header) + self.rows * prod(shape) * np.dtype(dtype).itemsize
        size = file.seek(0, os.SEEK_END)
        if self.rows and size < end:
            file.close()
            raise InputError(f"{path}: shorter than its ledger says (altered from outside?); remove {self.folder}")
        file.truncate(0 if self.rows == 0 else end)
        if self.rows == 0:
            file.seek(0)
            _write_all(file, header)
        file.seek(end)
        return _Whole(file)

    def _header(self, name: str) -> bytes:
        """The .npy header for the present number of rows; numpy pads it so that its size never depends on it."""
        shape, dtype = self._arrays[name]
        buffer = BytesIO()
        described = {"descr": npy.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": (self.rows, *shape)}
        npy.write_array_header_1_0(buffer, described)
        return buffer.getvalue()


class _Whole:
    """An unbuffered file whose `write` writes everything or raises."""

    def __init__(self, file) -> None:
        self._file = file
        self.fileno, self.close = file.fileno, file.close

    def write(self, data: bytes) -> None:
        _write_all(self._file, data)

    def overwrite_start(self, data: bytes) -> None:
        self._file.seek(0)
        self.write(data)
        os.fsync(self._file.fileno())
        self._file.seek(0, os.SEEK_END)


def _write_all(file, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) :]


@contextmanager
def opened(folder: Path, key: dict[str, Any], arrays: dict[str, tuple[tuple[int, ...], str]]) -> Iterator[Store]:
    """The store in `folder`, for one builder at a time: a second one waits until the first has ended.

    Raises InputError, in one line, if the disk is full; what is done is kept and the next call goes on.
    """
    store = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "lock"):
            store = Store(folder, key, arrays)
            try:
                yield store
            finally:
                store.close()
    except OSError as error:
        if error.errno not in FULL:
            raise
        done = len(store.ledger) if store else 0
        raise InputError(
            f"{folder}: the disk is full ({error.strerror}); the {done} clips that are done are kept: make room and "
            "give the same command again"
        ) from None


def complete(folder: Path) -> dict[str, Any] | None:
    """meta.json of a complete store, None if it is not (yet)."""
    try:
        return json.loads((folder / "meta.json").read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / 'meta.json'}: cannot be read ({error}); remove {folder}") from None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepared_images(source: str, key: dict[str, Any], inputs: int, fill: Fill) -> tuple[np.ndarray, Small, dict]:
    """(x (N, 1, inputs) uint8, mapped; small arrays; meta.json) of images that are brought into one form once.

    They lie below $SQUEEZEBENCH_DATA in a folder that is named by `key`, the JSON of all that decides them. The first
    run that needs them makes them with `fill`, which appends the rows that the store lacks and returns meta and small
    arrays; others wait for it. Raises InputError if they cannot be written, and what `fill` raises.
    """
    folder = data_folder() / "images" / f"{source}-{digest_of(key)[:12]}"
    try:
        meta = complete(folder)
        if meta is None:
            with opened(folder, key, {"x": ((1, inputs), "|u1")}) as store:
                if complete(folder) is None:  # otherwise another process made them while this one waited
                    about, small = fill(store)
                    store.finish(about, **small)
            meta = complete(folder)
        small = {name: _array(folder, name) for name in meta["digests"] if name != "x"}
        return _array(folder, "x", "r"), small, meta
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{error.filename or folder}: {reason}; prepared images are kept below $SQUEEZEBENCH_DATA: give a folder "
            "there that can be written"
        ) from None


def _array(folder: Path, name: str, mapped: str | None = None) -> np.ndarray:
    return np.load(folder / f"{name}.npy", mmap_mode=mapped, allow_pickle=False)
