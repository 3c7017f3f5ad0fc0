"""Submissions as a board reads them: opened without trusting them, and verified from their saved networks.

Nobody's code runs. A submission is JSON, CSV and safetensors; any other file in it is named and the submission is left
out. Networks are rebuilt from classes of squeezebench alone, and methods and data sources that squeezebench does not
have are not looked for: their runs stay as submitted.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from squeezebench.base.contents import sha256_of
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.reading import planned_path
from squeezebench.schema.record import MODEL_NAME, RecordError, record_files
from squeezebench.schema.stored import read_sealed
from squeezebench.schema.submission import FILES, SUBMISSION, Opened, Submission
from squeezebench.tools.recorded import other_data, plan_in, read_recorded
from squeezebench.tools.verify.saved import verify

LARGEST = 8 << 30  # bytes of a submission
MOST = 200_000  # files of a submission
CHUNK = 1 << 20
CODE = {b"\x80": "a pickle", b"PK": "an archive of pickles or of code", b"#!": "a script"}  # first bytes


def opened(places: Iterable[Path], work: Path, progress: bool = False) -> Iterator[Opened]:
    """Each of `places` (archives or folders) copied into `work` and verified there. What is wrong with a submission is
    in its `problems`; the others go on. Raises InputError if one of them is not there."""
    places = list(places)
    if gone := [place for place in places if not place.exists()]:
        raise InputError(f"{gone[0]}: no such submission; `squeezebench submit` makes one")
    for number, place in enumerate(tqdm(places, "submissions", disable=not progress, leave=False, file=sys.stderr)):
        yield _opened(place, work / str(number))


def _opened(place: Path, folder: Path) -> Opened:
    submission = None
    try:
        (_copy_folder if place.is_dir() else _copy_archive)(place, folder)
        submission = read_sealed(folder / SUBMISSION, Submission, "submission")
        _check_files(folder, submission)
        problems = tuple(_verified(folder))
        return Opened(place, folder, submission, digest_of(submission.files), problems)
    except (InputError, OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).replace(f"{folder}/", "").split())
        return Opened(place, folder, submission, problems=(reason,))


def _copy_folder(place: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    paths = sorted(path for path in place.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in paths:
        name = path.relative_to(place).as_posix()
        if path.is_symlink() or not path.is_file():
            raise InputError(f"{name}: is a link or no plain file")
    _check_names({path.relative_to(place).as_posix(): path.stat().st_size for path in paths})
    for path in paths:
        target = folder / path.relative_to(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _copy_archive(place: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    if not zipfile.is_zipfile(place):
        raise InputError(f"{place.name}: is no archive that `squeezebench submit` wrote")
    with zipfile.ZipFile(place) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if any(member.external_attr >> 28 not in (0, 8) for member in members):
            raise InputError(f"{place.name}: holds a link or no plain file")
        _check_names({member.filename: member.file_size for member in members})
        for member in members:
            target = folder / member.filename
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("xb") as file:
                _copy(source, file, member)


def _copy(source, file, member: zipfile.ZipInfo) -> None:
    """Write no more than the archive's listing says, whatever it unpacks to."""
    left = member.file_size
    while chunk := source.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise InputError(f"{member.filename}: unpacks to more than the archive says")
        file.write(chunk)


def _check_names(sizes: dict[str, int]) -> None:
    """Raises InputError for a file that does not belong into a submission, before any is written."""
    if len(sizes) > MOST or sum(sizes.values()) > LARGEST:
        raise InputError(f"{len(sizes):,} files of {sum(sizes.values()):,} bytes: more than a submission may have")
    for name in sizes:
        try:
            planned_path(name)
        except ValueError as error:
            raise InputError(error) from None
        if name != SUBMISSION and not FILES.fullmatch(name):
            raise InputError(f"{name}: no file of a submission, and may hold code (JSON, CSV and safetensors belong)")


def _is_safetensors(start: bytes, size: int) -> bool:
    """Whether a file of `size` bytes begins as one: the length of its header, which may begin like any other kind."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _check_files(folder: Path, submission: Submission) -> None:
    """Every file is there as submission.json says, and no network is a file that can hold code."""
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    there.pop(SUBMISSION)
    for name in sorted(there.keys() ^ submission.files.keys()):
        words = "is not listed in" if name in there else "is missing; it is listed in"
        raise InputError(f"{name}: {words} {SUBMISSION}")
    for name, path in sorted(there.items()):
        if path.name == MODEL_NAME:
            with path.open("rb") as file:
                start = file.read(9)
            kind = next((kind for magic, kind in CODE.items() if start.startswith(magic)), None)
            if kind and not _is_safetensors(start, path.stat().st_size):
                raise InputError(f"{name}: is {kind}, which can run code when it is read, and no safetensors file")
        if sha256_of(path) != submission.files[name]:
            raise InputError(f"{name}: is not the file that was submitted (its SHA-256 differs)")


def _verified(folder: Path) -> Iterator[str]:
    """Verify the copy, which leaves verification.json there; a line for each problem."""
    outcome = verify(folder)
    yield from _other_data(folder)
    for problem in outcome.problems:
        yield f"{problem.run}: {problem.field} is recorded as {problem.recorded}, and is {problem.measured}"


def _other_data(folder: Path) -> Iterator[str]:
    """A line for each task whose records were made from other data than those of this name that are here."""
    plan, seen = plan_in(folder), set()
    for path in record_files(folder):
        try:
            spec = read_recorded(path, plan).spec()
            key = digest_of([spec.task.model_dump(mode="json"), spec.fingerprint])
            if key not in seen and other_data(spec) is not None:
                yield f"{path.parent.relative_to(folder)}: task {spec.task.name}: was made from other data"
            seen.add(key)
        except (InputError, RecordError):  # the data are not here, or the record is a problem already
            continue
