"""Digests of the contents of data files, of every byte.

Features can be gigabytes, and each plan asks for their digests. A digest is therefore kept in the cache folder under
the file's place, size, time of change and inode, and computed again if one of them differs.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from squeezebench.base.files import write_atomically
from squeezebench.base.places import cache_folder

SETTLED = 2.0  # seconds: a file that changed less long ago may change again within the resolution of its time


def digest_of_content(path: Path) -> str:
    """SHA-256 of the whole file, in hexadecimal."""
    stat = path.stat()
    key = f"{path.resolve()}\n{stat.st_size}\n{stat.st_mtime_ns}\n{stat.st_ctime_ns}\n{stat.st_ino}"
    place = cache_folder() / "contents" / hashlib.sha256(key.encode()).hexdigest()
    settled = time.time() - max(stat.st_mtime, stat.st_ctime) > SETTLED
    return kept_digest(place, lambda: sha256_of(path), settled)


def sha256_of(path: Path) -> str:
    """The same without the cache."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_digest(place: Path, compute: Callable[[], str], keep: bool = True) -> str:
    """The digest that is kept at `place`, a file of the cache; if there is none, what `compute` gives, kept there."""
    with contextlib.suppress(OSError, ValueError):
        text = place.read_text()
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    digest = compute()
    if keep:
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
            write_atomically(place, digest.encode())
    return digest


def digest_of_contents(root: Path, files: Iterable[Path]) -> str:
    """SHA-256 over the names below `root`, and the contents, of `files`."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root).as_posix()} {digest_of_content(path)}\n".encode())
    return digest.hexdigest()


def files_below(place: Path) -> list[Path]:
    """Every file of a folder, sorted; of a file, itself."""
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
