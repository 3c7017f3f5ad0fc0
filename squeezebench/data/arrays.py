"""Reading named arrays from an .npz or a folder of .npy, without ever loading a pickle.

Headers are read first: an array of Python objects is refused before any of its content is touched,
whichever name it has. Only the arrays that a data set can have are read, each once; the `x` of a folder is
memory-mapped.
"""

from __future__ import annotations

import difflib
import lzma
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.reading import check_memory, regular

REQUIRED = {"x": "(N, T, D) features", "y": "(N,) labels"}
OPTIONAL = ("scale", "subset", "length", "group", "name", "classes", "action")
DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, ValueError, TypeError, NotImplementedError,
    RuntimeError, MemoryError, OverflowError, SyntaxError, LookupError, struct.error,
)  # fmt: skip

Arrays = dict[str, np.ndarray]


def read_npz(path: Path) -> Arrays:
    """The known arrays of an .npz (compressed or not)."""
    with _opened(path) as (archive, members):
        for name, member in members.items():
            with archive.open(member) as file:
                _refuse_objects(path, name, file)
        return {name: _read_member(path, archive, name, members[name]) for name in _wanted(path, list(members))}


def peek(path: Path) -> tuple[np.ndarray, Arrays]:
    """(x as its header says, a view of one zero; the other arrays) of an .npz or a folder; x is not read."""
    if path.is_dir():
        arrays = read_folder(path)  # x is only mapped
        return arrays.pop("x"), arrays
    with _opened(path) as (archive, members):
        names = _wanted(path, list(members))
        for name, member in members.items():
            with archive.open(member) as file:
                size = archive.getinfo(member).file_size if name == "x" else None
                shape, dtype = _refuse_objects(path, name, file, size)
                if name == "x":
                    x = np.broadcast_to(np.zeros((), dtype), shape)
        return x, {name: _read_member(path, archive, name, members[name]) for name in names if name != "x"}


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, str]]]:
    """The archive, and its members by the names of their arrays. Raises InputError if the archive is damaged."""
    _check_is_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, {name[:-4]: name for name in archive.namelist() if name.endswith(".npy")}
    except InputError:
        raise
    except DAMAGE as error:
        raise InputError(f"{path}: {_why(error, '.npz')}") from None


def read_folder(path: Path) -> Arrays:
    """The known arrays of a folder of .npy files; `x` stays on disk (memory-mapped, read only)."""
    files = {file.stem: file for file in sorted(path.glob("*.npy")) if file.is_file()}
    if not files:
        raise InputError(f"{path}: no .npy file in this folder; x.npy and y.npy are required")
    arrays = {}
    for name in _wanted(path, list(files)):
        file = files[name]
        try:
            with file.open("rb") as opened:
                shape, _ = _refuse_objects(path, name, opened, file.stat().st_size)
            on_disk = name == "x" and 0 not in shape  # an empty array cannot be mapped
            arrays[name] = _checked_text(name, np.load(file, mmap_mode="r" if on_disk else None, allow_pickle=False))
        except InputError:
            raise
        except DAMAGE as error:
            raise InputError(f"{file}: {_why(error, '.npy')}") from None
    return arrays


def _check_is_zip(path: Path) -> None:
    try:
        with regular(path).open("rb") as file:
            start = file.read(6)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if start[:2] == b"PK":
        return
    if start == b"\x93NUMPY":
        problem = "is a single .npy array; an .npz with x and y, or a folder with x.npy and y.npy, is needed"
    elif start[:1] == b"\x80":
        problem = "is a pickle; pickles can run code and are never loaded; save with numpy.savez"
    elif not start:
        problem = "is empty; an .npz with x and y is needed"
    else:
        problem = "is not an .npz file; save with numpy.savez (or give a folder of .npy files, or a .parquet)"
    raise InputError(f"{path}: {problem}")


def _read_member(path: Path, archive: zipfile.ZipFile, name: str, member: str) -> np.ndarray:
    """One array, if it is as long as its header says and fits into memory: a few kilobytes of zip can claim, and
    even hold, terabytes."""
    size = archive.getinfo(member).file_size
    try:
        check_memory(f"array {name}", size)
    except ValueError as error:
        raise InputError(f"{path}: {error}; give a folder of .npy files, which are mapped") from None
    with archive.open(member) as file:
        _refuse_objects(path, name, file, size)
    with archive.open(member) as file:
        return _checked_text(name, npy.read_array(file, allow_pickle=False))


def _checked_text(name: str, array: np.ndarray) -> np.ndarray:
    """The array, if its texts are of characters that exist: numpy fails on others. Raises ValueError."""
    if array.dtype.kind == "U" and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(f"{array.dtype.str[0]}u4")
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
            raise ValueError(f"{name}: holds what is no text")
    return array


def _refuse_objects(
    path: Path, name: str, file: IO[bytes], size: int | None = None
) -> tuple[tuple[int, ...], np.dtype]:
    """Read the header only: (shape, type) of the array. size: bytes of the file, with which it has to agree."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{name}: .npy format version {version}")
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        plain = "save plain numbers or fixed-width strings"
        if name == "x":
            plain = "for sequences of different lengths save x, length = squeezebench.data.pad(list_of_arrays)"
        raise InputError(
            f"{path}: array {name} holds pickled Python objects, which can run code and are never loaded; {plain}"
        )
    if any(axis < 0 for axis in shape):
        raise ValueError(f"{name}: its header has the shape {shape}")
    if size is not None and (claimed := math.prod(shape) * dtype.itemsize) != (held := size - file.tell()):
        raise ValueError(f"{name}: its header says {claimed:,} bytes, the file has {held:,}")
    return shape, dtype


def _wanted(path: Path, names: list[str]) -> list[str]:
    """The known names among `names`. Raises InputError for a missing one and for a near miss."""
    for name, what in REQUIRED.items():
        if name not in names:
            raise InputError(f"{path}: there is no array {name}, {what}; it has: {', '.join(names)[:200] or 'nothing'}")
    known = [*REQUIRED, *OPTIONAL]
    for name in names:
        near = difflib.get_close_matches(name, [other for other in OPTIONAL if other not in names], n=1, cutoff=0.8)
        if name not in known and near:
            raise InputError(f"{path}: unknown array {name}; did you mean {near[0]}? (known: {', '.join(known)})")
    return [name for name in known if name in names]


def _why(error: BaseException, kind: str) -> str:
    """Why a file cannot be read: the machine has no room or gives no right, or the file is damaged."""
    if isinstance(error, MemoryError):
        return f"does not fit in memory ({first_line(error)}); a folder of .npy files is memory-mapped"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"truncated or damaged {kind} ({first_line(error)}); write it again"
