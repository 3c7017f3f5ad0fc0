"""Reading what others may have written: results that somebody sent, files that were damaged or altered.

A digest protects against damage, not against a person: whoever writes a file can write its digest too. So nothing here
believes a size, a depth or a path that a file claims.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from squeezebench.base.errors import InputError

LARGEST_JSON = 256 << 20  # bytes; the plan of 20,000 runs has about 40 MB
USUAL_JSON = 1 << 16  # more than any record has
DEEPEST = 64  # objects and lists inside each other; a record has 4
DIGITS = 18  # of a whole number: what fits 64 bits with its sign
_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ZEROS = bytes.maketrans(b"123456789eE", b"000000000ee")  # to search for digits: as patterns it takes ten times as long
_LONG = b"0" * (DIGITS + 1)
_VAST = (b"e000", b"e+000", b"0" * 200)  # every number too large for a float is written with one of them
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")  # of paths
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError (also where it is no regular file, or larger than any that is written
    here), or ValueError as `parse_json` does."""
    with regular(path).open("rb") as file:
        content = file.read(USUAL_JSON)
        if len(content) == USUAL_JSON:  # to ask for the largest at once would make room for it
            content += file.read(LARGEST_JSON + 1 - USUAL_JSON)
    if len(content) > LARGEST_JSON:
        raise OSError(errno.EFBIG, f"larger than {LARGEST_JSON >> 20} MiB", str(path))
    return parse_json(content)


def parse_json(content: bytes) -> Any:
    """Strict JSON in UTF-8: numbers are finite and whole ones fit 64 bits, a key is there once, text is text, nothing
    is nested deeper than `DEEPEST`. Raises ValueError."""
    text = content.decode("utf-8")
    _check_depth(content)
    digits = content.translate(_ZEROS)
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_whole if _LONG in digits else None,
            parse_float=_finite if any(part in digits for part in _VAST) else None,
            object_pairs_hook=_unique,
        )
    except RecursionError:  # brackets in texts have hidden it from `_check_depth`
        raise ValueError(f"nested deeper than {DEEPEST}") from None
    if _HALF.search(content):
        json.dumps(value, ensure_ascii=False).encode()  # half of a character: cannot be shown or written again
    return value


def regular(path: Path) -> Path:
    """`path`, where it is a file of content: a pipe would wait for ever, a device never end. Raises OSError."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path


def memory_bytes() -> int:
    """What this machine has in all."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(what: str, size: int) -> None:
    """Raises ValueError if something that a file describes (in bytes) cannot fit: said before it is tried, as a
    system that gives out more memory than it has would end the process instead."""
    if size > (there := memory_bytes()):
        raise ValueError(f"{what} needs {size / 1e9:,.1f} GB of memory; this machine has {there / 1e9:,.1f} GB")


def _check_depth(content: bytes) -> None:
    """Brackets in texts count too: more of them than `DEEPEST` that do not close stand in no file of ours."""
    depth = 0
    for bracket in content.translate(None, _BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _whole(text: str) -> int:
    if len(text.lstrip("-")) > DIGITS:
        raise ValueError(f"a whole number of more than {DIGITS} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return content


def planned_path(text: str) -> str:
    """A path of a plan, below the folder of its experiment. Raises ValueError if it could lead elsewhere."""
    if _PLAIN.fullmatch(text):  # as all that we write: a plan of 20,000 runs has 60,000, and each job reads them
        return text
    parts = text.split("/")
    if "" in parts or "." in parts or ".." in parts or not text.isprintable() or "\\" in text:
        raise ValueError(f"{text!r} is no path below the folder of results")
    if PurePosixPath(text).is_absolute() or PureWindowsPath(text).drive:
        raise ValueError(f"{text!r} is no path below the folder of results")
    return text


def results_folder(folder: Path) -> Path:
    """`folder`, if it is one. Raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of results")
    return folder


def inside(folder: Path, path: Path) -> Path:
    """`path`, where what is written there stays below `folder`, links followed. Raises InputError.

    The folder itself may be a link (results on another disk); a link inside it that leads out may not.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f"{path}: leads out of {folder} by a link; remove the link")
    return path


def without_link(path: Path) -> Path:
    """`path`, ready to be opened for writing: a link, or a pipe, of that name is removed, not followed."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()
    return path
