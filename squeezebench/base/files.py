"""Writing files whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def hidden_beside(path: Path) -> Path:
    """A hidden name beside `path` that nobody else uses, for what becomes `path` once it is whole.

    Files and folders that are made under it have the permissions that the umask leaves, unlike those of `tempfile`,
    which only their owner reads.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, flush it to disk and rename it over `path`.

    Raises OSError that names `path` (a full disk); nothing is left of what was written then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_beside(path)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):  # which names the hidden file or, from a full disk, none
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def clear_half_written(folder: Path, name: str = "*") -> None:
    """Remove what writers of `name` that were killed in `write_atomically` left. For who alone writes it now."""
    for path in folder.glob(f".{name}.{'?' * 8}"):  # as hidden_beside names them
        path.unlink(missing_ok=True)


def stamp_of(files: Iterable[Path]) -> str:
    """Names, sizes and times of `files`: a text that changes whenever one of them is written."""
    stats = [(file.name, file.stat()) for file in files]
    return ";".join(f"{name},{stat.st_size},{stat.st_mtime_ns}" for name, stat in stats)
