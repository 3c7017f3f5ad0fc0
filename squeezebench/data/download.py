"""Download one file: progress bar, resume, checksum; one clear line when something goes wrong.

Why not a library: of the downloaders kept up today, pooch, parfive and torch.hub cannot resume, and pypdl resumes but
brings an asynchronous stack (aiohttp). `requests`, `tqdm` and `filelock` are in this project's pins already, and what
is left to write is this page.

Beside `NAME` live: `NAME.part` (what has arrived), `NAME.part.tag` (which version of the file that is), `NAME.lock`,
and `NAME.sha256` where no checksum is published: the digest seen at first use, in the format of `sha256sum -c`.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import requests
import urllib3
from tqdm import tqdm

from squeezebench.base.errors import FULL, InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.locks import locked

CHUNK = 1 << 20  # bytes
TRIES = 5  # connections in a row that bring nothing new, before giving up
WAIT = 1.0  # seconds before the second connection; doubled each time
TIMEOUT = (20, 60)  # seconds to connect, seconds without a byte

log = logging.getLogger(__name__)


class _Broken(Exception):
    """The connection ended early: worth another try from where it stopped."""


def fetch(address: str, target: Path, digest: str | None = None, *, mirror: str | None = None) -> Path:
    """The file of `address`, at `target`; nothing is downloaded where `target` is there and has the right digest.

    `address` is http(s)://, file:// or a path; `mirror`, else $SQUEEZEBENCH_MIRROR (a folder or an address that ends
    before the file's name) replaces all of it but the name. `digest` is "sha256:..." or "md5:..."; a `NAME.sha256`
    beside the target comes first, so that a user can knowingly accept another version. Without either, the digest
    of what arrives is recorded there, with a warning. Safe for many processes at once.

    Raises InputError, one line each: no connection, refused, not found, cut short, disk full, wrong digest. What has
    arrived stays in `NAME.part`, and the next call goes on from there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(beside(target, ".lock")):
        expected = _recorded(target) or digest
        if not target.exists():
            _download_checked(mirrored(address, mirror), target, expected)
        elif expected is not None and not matches(target, expected):
            raise InputError(
                f"{target}: its content is not what is expected ({expected}); remove it to download it again, "
                f"or accept it: sha256sum {target.name} > {target.name}.sha256"
            )
        if expected is None:
            value = digest_of_file(target, "sha256")
            write_atomically(beside(target, ".sha256"), f"{value}  {target.name}\n".encode())
            log.warning(
                "%s: no checksum is published for this file; recorded sha256 %s... for later", target.name, value[:16]
            )
    return target


def _download_checked(source: str, target: Path, expected: str | None) -> None:
    """Download to `NAME.part`, which becomes `target` if its digest is `expected` and `NAME.bad` otherwise."""
    part = beside(target, ".part")
    _download(source, part)
    sound = expected is None or matches(part, expected)
    part.replace(target if sound else beside(target, ".bad"))
    beside(part, ".tag").unlink(missing_ok=True)
    if not sound:
        raise InputError(f"{source}: what arrived is not what is expected ({expected}); it was kept as {target}.bad")


def mirrored(address: str, mirror: str | None = None) -> str:
    """`address`, or the file of its name at the mirror."""
    mirror = mirror or os.environ.get("SQUEEZEBENCH_MIRROR")
    if not mirror:
        return address
    return f"{mirror.rstrip('/')}/{unquote(urlsplit(address).path).rsplit('/', 1)[-1]}"


def beside(target: Path, ending: str) -> Path:
    """`target` with `ending` after its whole name."""
    return target.with_name(target.name + ending)


def matches(path: Path, digest: str) -> bool:
    """Whether the content of `path` has `digest`, "sha256:..." or "md5:..."."""
    kind, _, value = digest.partition(":")
    if kind not in ("sha256", "md5") or not re.fullmatch(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{64}", value):
        raise InputError(f"checksum {digest!r}: write sha256:HEX or md5:HEX")
    return digest_of_file(path, kind) == value.lower()


def digest_of_file(path: Path, kind: str) -> str:
    """The hexadecimal digest of a file's content."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file, _bar(f"checking {path.name}", path.stat().st_size) as bar:
        while block := file.read(CHUNK):
            digest.update(block)
            bar.update(len(block))
    return digest.hexdigest()


def _recorded(target: Path) -> str | None:
    path = beside(target, ".sha256")
    if not path.exists():
        return None
    match = re.match(r"([0-9a-fA-F]{64})\b", path.read_text(errors="replace"))
    if match is None:
        raise InputError(f"{path}: not a line of sha256sum; remove it to record the digest again")
    return f"sha256:{match[1].lower()}"


def _bar(text: str, total: int | None, start: int = 0) -> tqdm:
    """Shown on a terminal alone."""
    return tqdm(desc=text, total=total, initial=start, unit="B", unit_scale=True, leave=False, disable=None, delay=0.5)


def _download(source: str, part: Path) -> None:
    """Fill `part` from where it ends to the end of the file at `source`."""
    kind = urlsplit(source).scheme
    connect = _from_web if kind in ("http", "https") else _from_disk
    failures = 0
    while True:
        start = part.stat().st_size if part.exists() else 0
        try:
            with connect(source, part, start) as (first, total, blocks):
                _check_room(part, first, total)
                _append(part, first, total, blocks)
            return
        except _Broken as error:
            came = part.stat().st_size if part.exists() else 0
            failures = 0 if came > start else failures + 1
            if failures >= TRIES:
                raise InputError(
                    f"{source}: {error}; {came:,} bytes are in {part}, call again to go on from there, "
                    f"or put the file there yourself as {part.with_suffix('')}"
                ) from None
            time.sleep(WAIT * 2**failures)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise InputError(
                f"{part}: the disk is full ({error.strerror}); make room and call again to go on from there"
            ) from None


def _append(part: Path, first: int, total: int | None, blocks: Iterator[bytes]) -> None:
    with part.open("r+b" if part.exists() else "xb") as file:
        file.truncate(first)
        file.seek(first)
        with _bar(part.stem, total, first) as bar:
            for block in blocks:
                file.write(block)
                bar.update(len(block))
        size = file.tell()
    if total is not None and size != total:
        raise _Broken(f"the transfer ended after {size:,} of {total:,} bytes")


def _check_room(part: Path, first: int, total: int | None) -> None:
    room = shutil.disk_usage(part.parent).free
    if total is not None and total - first > room:
        raise InputError(f"{part}: {total - first:,} more bytes are needed, {room:,} are free on this disk")


Opened = tuple[int, int | None, Iterator[bytes]]  # first byte that comes, size of the whole file, the bytes


@contextlib.contextmanager
def _from_disk(source: str, part: Path, start: int) -> Iterator[Opened]:
    """A file:// address or a path. Always copied from its first byte: a copy is quick."""
    path = Path(url2pathname(unquote(urlsplit(source).path))) if source.startswith("file:") else Path(source)
    if not path.is_file():
        raise InputError(f"{source}: no such file; give http(s)://, file:// or a path")
    with path.open("rb") as file:
        yield 0, path.stat().st_size, iter(lambda: file.read(CHUNK), b"")


@contextlib.contextmanager
def _from_web(source: str, part: Path, start: int) -> Iterator[Opened]:
    tag = beside(part, ".tag")
    known = tag.read_text() if tag.exists() else ""
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if known:  # the server then sends the whole file if it is another version now
            headers["If-Range"] = known
    with _broken_connections(source), requests.get(source, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        first, total = _where(answer, source, start)
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            if total == start:  # all of it was there already
                yield start, total, iter(())
                return
            part.unlink(missing_ok=True)
            tag.unlink(missing_ok=True)
            raise _Broken("the server's file is shorter than what was kept of it, which was dropped")
        _remember(tag, answer)
        # read1 hands over what has come; iter_content would drop the begun chunk when the connection breaks
        yield first, total, iter(lambda: answer.raw.read1(CHUNK), b"")


def _where(answer: requests.Response, source: str, start: int) -> tuple[int, int | None]:
    """The first byte and the whole size that an answer announces. Raises InputError if it is no answer to us."""
    span = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", ""))
    whole = int(span[2]) if span and span[2] != "*" else None
    if answer.status_code == requests.codes.partial_content and span and span[1]:
        if int(span[1]) != start:
            raise InputError(f"{source}: asked for the bytes from {start}, the server sent those from {span[1]}")
        return start, whole
    if answer.status_code == requests.codes.requested_range_not_satisfiable:
        return 0, whole
    if answer.status_code == requests.codes.ok:
        length = answer.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    problem = f"the server answers {answer.status_code} {answer.reason}"
    if answer.status_code >= 500 or answer.status_code == requests.codes.too_many_requests:
        raise _Broken(problem)
    raise InputError(f"{source}: {problem}; set SQUEEZEBENCH_MIRROR to a folder or address that has this file")


def _remember(tag: Path, answer: requests.Response) -> None:
    """Keep the version's mark; a weak ETag is no promise of equal bytes, so it does not count (RFC 9110, 13.1.5)."""
    mark = answer.headers.get("ETag", "")
    mark = answer.headers.get("Last-Modified", "") if not mark or mark.startswith("W/") else mark
    if mark:
        write_atomically(tag, mark.encode())
    else:
        tag.unlink(missing_ok=True)


@contextlib.contextmanager
def _broken_connections(source: str) -> Iterator[None]:
    """Turn what `requests` raises into an InputError (no use to try again) or `_Broken`."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise InputError(
            f"{source}: the server's certificate is not accepted ({_innermost(error)}); set REQUESTS_CA_BUNDLE, "
            "SQUEEZEBENCH_MIRROR, or put the file in place yourself"
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise InputError(f"{source}: {error}") from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Broken(f"the connection failed ({_innermost(error)})") from None


def _innermost(error: BaseException) -> str:
    """The system's words at the bottom of a chain of wrapped errors."""
    while True:
        below = getattr(error, "reason", None)
        below = below if isinstance(below, BaseException) else error.__cause__ or error.__context__
        if below is None:
            break
        error = below
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
