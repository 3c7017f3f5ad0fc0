"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, flush it to disk and rename it over `path`.

    Raises OSError that names `path` (a full disk); nothing is left of what was written then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes files that only their owner reads
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # which, from a full disk, names no file
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def clear_half_written(folder: Path, name: str = "*") -> None:
    """Remove what writers of `name` that were killed in `write_atomically` left. For who alone writes it now."""
    for path in folder.glob(f".{name}.{'?' * 8}"):  # as mkstemp names them
        path.unlink(missing_ok=True)


def stamp_of(files: Iterable[Path]) -> str:
    """Names, sizes and times of `files`: a text that changes whenever one of them is written."""
    stats = [(file.name, file.stat()) for file in files]
    return ";".join(f"{name},{stat.st_size},{stat.st_mtime_ns}" for name, stat in stats)
