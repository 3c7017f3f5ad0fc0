"""A cache of prepared arrays, so that not every run pays for a parser's imports (about 1.5 s).

Files live in $SQUEEZEBENCH_CACHE, else $XDG_CACHE_HOME/squeezebench, else ~/.cache/squeezebench. A file is
`sha256 of the rest` + newline + an .npz, written atomically: many processes may fill it at once, and a
damaged or half-written file is built again. Where nothing can be written the arrays are simply built each
time.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from squeezebench.base.files import write_atomically
from squeezebench.base.places import cache_folder

FORMAT = 1  # raise it when what a source builds changes
DIGEST = 64  # hexadecimal digits
LARGEST = 1 << 30  # bytes; larger sets are parsed each time rather than kept twice on disk

Arrays = dict[str, np.ndarray]


def prepared_arrays(name: str, package: str) -> Arrays | None:
    """What an earlier `cached_arrays` kept, or None; builds nothing."""
    return _read(_path(name, package))


def cached_arrays(name: str, package: str, build: Callable[[], Arrays]) -> Arrays:
    """What `build()` makes with the installed `package`, from the cache if it is there and whole."""
    path = _path(name, package)
    arrays = _read(path)
    if arrays is None:
        arrays = build()
        if sum(array.nbytes for array in arrays.values()) <= LARGEST:
            with contextlib.suppress(OSError):  # read-only home, full disk: slower, not wrong
                _write(path, arrays)
    return arrays


def _path(name: str, package: str) -> Path:
    return cache_folder() / f"{name}-{package}-{version(package)}-{FORMAT}.cache"


def _read(path: Path) -> Arrays | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:DIGEST], content[DIGEST + 1 :]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    with np.load(io.BytesIO(body), allow_pickle=False) as file:
        return dict(file)


def _write(path: Path, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    body = buffer.getvalue()
    write_atomically(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
