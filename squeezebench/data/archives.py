"""Unpack an archive whole or not at all, and never outside of its folder.

libarchive (through libarchive-c) reads zip, tar and most RAR files; `unar` reads the RAR files that it cannot, solid
ones among them. Members are listed first: an absolute path, `..` or a link of any kind (no video data set holds one)
refuses the archive before a byte is written. The content goes to a folder beside the target, sizes are compared with
the listing, nested archives are unpacked, and only then one rename puts all of it in place.

Seen of libarchive 3.6.2: it does not compare the checksum of stored RAR members (unar does), so a damaged byte within
one is for the checksum of the whole archive to find, before it comes here.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from squeezebench.base.errors import FULL, InputError
from squeezebench.base.files import hidden_beside
from squeezebench.base.locks import locked

ENDINGS = (".rar", ".zip", ".tar", ".tar.gz", ".tgz")
DEEPEST = 2  # archives within archives: HMDB51 has one level
TOOLS = "Debian: apt install libarchive13 unar; conda: conda install -c conda-forge libarchive"


@dataclass(frozen=True)
class Member:
    """One member of an archive, as listed."""

    name: str
    size: int | None  # bytes; None if the archive does not say
    kind: str  # "file", "folder" or "other" (links, devices)


class _Unreadable(Exception):
    """This reader cannot read this archive; the message is its reason."""


def unpack(archive: Path, folder: Path, *, nested: bool = False) -> Path:
    """Unpack `archive` into `folder`, which is made whole by one rename; an existing `folder` is left as it is.

    With `nested`, archives inside are unpacked where they lie and removed. Raises InputError, one line: no tool that
    can read it, damaged or truncated, a member that would leave the folder, a full disk.
    """
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):
        if folder.exists():
            return folder
        temporary = hidden_beside(folder)
        temporary.mkdir()
        try:
            _unpack_into(archive, temporary, nested)
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise InputError(
                f"{archive}: the disk is full while unpacking to {folder}; make room and call again"
            ) from None
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _unpack_into(archive: Path, folder: Path, nested: bool, depth: int = 0) -> None:
    reasons = []
    for reader in (_Libarchive, _Unar):
        try:
            members = reader.members(archive)
            _check_names(archive, members)
            with tqdm(desc=f"unpacking {archive.name}", total=len(members), leave=False, disable=None) as bar:
                reader.extract(archive, folder, bar)
            _check_content(members, folder)
            break
        except _Unreadable as error:
            reasons.append(f"{reader.title}: {error}")
    else:
        raise InputError(f"{archive}: cannot be unpacked ({'; '.join(reasons)}); is it whole? {_advice()}")
    if nested:
        if depth >= DEEPEST:
            raise InputError(f"{archive}: more than {DEEPEST} archives within one another")
        for inner in sorted(path for path in folder.rglob("*") if path.name.lower().endswith(ENDINGS)):
            _unpack_into_place(inner, depth)


def _unpack_into_place(inner: Path, depth: int) -> None:
    """Unpack an archive that came out of another one, beside itself, and remove it."""
    with tempfile.TemporaryDirectory(dir=inner.parent) as content:
        _unpack_into(inner, Path(content), True, depth + 1)
        inner.unlink()
        for path in sorted(Path(content).rglob("*")):
            place = inner.parent / path.relative_to(content)
            if path.is_dir():
                place.mkdir(exist_ok=True)
            elif place.exists():
                raise InputError(f"{inner.name}: holds {place.name}, which another archive beside it holds, too")
            else:
                path.rename(place)


def _check_names(archive: Path, members: list[Member]) -> None:
    for member in members:
        name = member.name.replace("\\", "/")  # RAR files made on Windows
        path = PurePosixPath(name)
        leaves = path.is_absolute() or ".." in path.parts or name[1:2] == ":" or "\0" in name or not path.parts
        if leaves and name not in (".", "./"):
            raise InputError(f"{archive}: refused, its member {member.name!r} would be written outside of the folder")
        if member.kind == "other":
            raise InputError(f"{archive}: refused, its member {member.name!r} is a link or a device, not a file")


def _check_content(members: list[Member], folder: Path) -> None:
    """Compare what lies on disk with the listing: readers have been seen to end early without an error."""
    expected = {str(PurePosixPath(member.name)): member.size for member in members if member.kind == "file"}
    sizes = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            sizes[path.relative_to(folder).as_posix()] = status.st_size
        elif not stat.S_ISDIR(status.st_mode):
            raise _Unreadable(f"{path.name} came out as something else than a file")
    if not expected:
        raise _Unreadable("it holds no file")
    if len(expected) != sum(member.kind == "file" for member in members):
        raise _Unreadable("two of its members have one name")
    for name, size in expected.items():
        if name not in sizes:
            raise _Unreadable(f"{name} did not come out")
        if size is not None and sizes[name] != size:
            raise _Unreadable(f"of {name} came {sizes[name]:,} of {size:,} bytes")
    if extra := sorted(set(sizes) - set(expected)):
        raise _Unreadable(f"{extra[0]} came out, which is not listed")


def _advice() -> str:
    missing = [reader.title for reader in (_Libarchive, _Unar) if not reader.present()]
    return f"Not installed: {' and '.join(missing)} ({TOOLS})" if missing else "Remove it and fetch it again."


class _Libarchive:
    title = "libarchive"

    @staticmethod
    def present() -> bool:
        try:
            _libarchive()
        except _Unreadable:
            return False
        return True

    @staticmethod
    def members(archive: Path) -> list[Member]:
        with _entries(archive) as entries:
            return [_member(entry) for entry in entries]

    @staticmethod
    def extract(archive: Path, folder: Path, bar: tqdm) -> None:
        with _entries(archive) as entries:
            for entry in entries:
                member = _member(entry)
                _check_names(archive, [member])  # the file may have changed since it was listed
                place = folder / member.name
                if member.kind == "folder":
                    place.mkdir(parents=True, exist_ok=True)
                else:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with place.open("xb") as file:
                        for block in entry.get_blocks():
                            file.write(block)
                bar.update()


def _libarchive():
    """The binding. It loads the C library on import, so if that is missing it is the import that fails."""
    if "LIBARCHIVE" not in os.environ and ctypes.util.find_library("archive") is None:
        libraries = sorted(Path(sys.prefix, "lib").glob("libarchive.*"))  # conda's, which the loader does not list
        if not libraries:
            raise _Unreadable("not installed")
        os.environ["LIBARCHIVE"] = str(libraries[0])
    try:
        import libarchive
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise _Unreadable(f"cannot be loaded ({error})") from None
    return libarchive


@contextlib.contextmanager
def _entries(archive: Path) -> Iterator:
    libarchive = _libarchive()
    try:
        with libarchive.file_reader(str(archive)) as entries:
            yield entries
    except libarchive.ArchiveError as error:
        raise _Unreadable(str(error.msg or error)) from None
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _Unreadable(f"two members have one name ({Path(error.filename).name})") from None


def _member(entry) -> Member:
    if not entry.pathname:
        raise _Unreadable("a member has no readable name")
    kind = "file" if entry.isreg else "folder" if entry.isdir else "other"
    if entry.islnk or entry.issym:
        kind = "other"
    return Member(entry.pathname.replace("\\", "/"), entry.size if kind == "file" else None, kind)


class _Unar:
    title = "unar"

    @staticmethod
    def present() -> bool:
        return shutil.which("lsar") is not None and shutil.which("unar") is not None

    @staticmethod
    def members(archive: Path) -> list[Member]:
        if not _Unar.present():
            raise _Unreadable("not installed")
        listing = subprocess.run(["lsar", "-json", str(archive)], capture_output=True, stdin=subprocess.DEVNULL)
        try:
            content = json.loads(listing.stdout)
            problem = content.get("lsarError")
            entries = content["lsarContents"]
        except (ValueError, KeyError, AttributeError):
            raise _Unreadable("not an archive that it knows") from None
        if problem or listing.returncode:
            raise _Unreadable(f"the listing ends with error {problem or listing.returncode}")
        return [
            Member(
                entry["XADFileName"],
                entry.get("XADFileSize"),
                "folder" if entry.get("XADIsDirectory") else "other" if _special(entry) else "file",
            )
            for entry in entries
        ]

    @staticmethod
    def extract(archive: Path, folder: Path, bar: tqdm) -> None:
        shutil.rmtree(folder)  # what the first reader left
        folder.mkdir()
        command = ["unar", "-no-directory", "-force-overwrite", "-output-directory", str(folder), str(archive)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        ) as process:
            reason = b""
            for line in process.stdout:  # one line for each member
                bar.update()
                reason = line if b"Failed!" in line or not reason else reason
        if process.returncode:
            raise _Unreadable(" ".join(reason.decode(errors="replace").split()))


def _special(entry: dict) -> bool:
    kinds = ("XADIsLink", "XADIsHardLink", "XADIsCharacterDevice", "XADIsBlockDevice", "XADIsFIFO")
    return any(entry.get(kind) for kind in kinds)
