"""The official split lists of UCF101 and HMDB51: which clip is in which part.

UCF101 (`trainlistNN.txt`: "Class/clip.avi LABEL", `testlistNN.txt`: "Class/clip.avi", `classInd.txt`: "LABEL Class",
labels from 1) and HMDB51 (`CLASS_test_splitN.txt`: "clip.avi 0|1|2": unused, train, test). Names are compared without
regard to case: the lists say `v_HandStandPushups_...` in the folder `HandstandPushups`. A name that is not in the list
is compared without its special characters, if no other listed name is then the same: copies of HMDB51 have `@` or `_`
for `#`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.data.video.catalogue import video_set
from squeezebench.data.video.clips import ClipIndex, Problem, dataset_folder

TRAIN, TEST, UNUSED = "train", "test", ""  # as in squeezebench.data.dataset.Dataset.subset
HMDB51_PARTS = {"0": UNUSED, "1": TRAIN, "2": TEST}
LARGEST = 10_000_000  # bytes; the longest official list has 0.6 million


@dataclass(frozen=True)
class Split:
    """One official split of an index's clips."""

    subset: np.ndarray  # (N,) "train", "test" or "" (unused), in the order of `index.clips`
    skipped: tuple[Problem, ...]  # clips that the lists name and that are broken
    unlisted: int  # clips that no list names


def official_split(index: ClipIndex, number: int, folder: Path | None = None, subset: bool = False) -> Split:
    """Split `number` (from 1) of the index's data set, from the lists in or below `folder`.

    Default for `folder`: where `data fetch` puts them; else the folder that holds the lists, or one or two levels
    above it. Broken clips (see `ClipIndex.broken`) are skipped with their reason. Raises InputError if the set has no
    such split, a list is missing or not readable, a clip is named in two parts, or, unless `subset`, listed clips of
    the index's classes are absent.
    """
    entry = video_set(index.dataset)
    if not 1 <= number <= entry.splits:
        has = f"official splits 1 to {entry.splits}" if entry.splits else "no official split"
        raise InputError(f"split {number}: {entry.title} has {has}")
    folder = dataset_folder(index.dataset) if folder is None else folder
    read = _ucf101 if index.dataset == "ucf101" else _hmdb51
    parts, where = read(folder, number, index.classes)
    broken = {name: Problem(name, reason) for name, reason in index.broken.items()}
    own = {name.casefold() for name in index.classes}
    parts = {name: part for name, part in parts.items() if name.partition("/")[0].casefold() in own}
    listed = _listed([*(clip.name for clip in index.clips), *broken], parts)
    absent = sorted(set(parts) - set(listed.values()))
    if absent and not subset:
        raise InputError(
            f"{where}: names {len(absent)} clip{'s' * (len(absent) > 1)} that {'are' if len(absent) > 1 else 'is'} not "
            f"below {index.root}, the first is {absent[0]}; fetch the data set again, or read a part with subset: true"
        )
    rows = np.array([parts[listed[clip.name]] if clip.name in listed else UNUSED for clip in index.clips])
    if not {TRAIN, TEST} <= set(rows.tolist()):
        raise InputError(f"{where}: one of train and test has no clip of {index.root}")
    skipped = tuple(problem for name, problem in broken.items() if name in listed and parts[listed[name]])
    return Split(rows, skipped, sum(clip.name not in listed for clip in index.clips))


def _listed(names: list[str], parts: dict[str, str]) -> dict[str, str]:
    """The name in the list of each clip that has one."""
    exact = {name.casefold(): name for name in parts}
    plain: dict[str, list[str]] = {}
    for name in parts:
        plain.setdefault(_plain(name), []).append(name)
    listed = {name: exact[name.casefold()] for name in names if name.casefold() in exact}
    taken = set(listed.values())
    for name in names:
        near = [other for other in plain.get(_plain(name), []) if other not in taken]
        if name not in listed and len(near) == 1:
            listed[name] = near[0]
            taken.add(near[0])
    return listed


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9/]", "_", name.casefold())


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """The words of each line that has some, with its number from 1. Raises InputError if it is no text file."""
    lines = read_text(path, "split list", LARGEST).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [(number, words) for number, line in enumerate(lines, 1) if (words := line.split())]


def read_text(path: Path, what: str, most: int) -> str:
    """The text of a file of up to `most` bytes. Raises InputError if it is larger or no text; `what` it should be."""
    try:
        if path.stat().st_size > most:
            raise InputError(f"{path}: too large for a {what}")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None


def read_ucf101_classes(path: Path) -> dict[int, str]:
    """classInd.txt: class by its number from 1. Raises InputError with the line that is wrong."""
    classes: dict[int, str] = {}
    for number, words in read_lines(path):
        if len(words) != 2 or not _is_number(words[0]) or int(words[0]) in classes:
            raise InputError(f"{path}: line {number}: a new number and a class are expected, as in '1 ApplyEyeMakeup'")
        classes[int(words[0])] = words[1]
    return classes


def read_ucf101_list(path: Path, classes: dict[int, str]) -> list[str]:
    """Clip names "Class/v_Class_gNN_cNN" of one list. A number behind a name must be that of its class."""
    names, known = [], {name.casefold() for name in classes.values()}
    for number, words in read_lines(path):
        folder, slash, file = words[0].partition("/")
        if not slash or not file or "/" in file or len(words) > 2:
            raise InputError(f"{path}: line {number}: 'Class/clip.avi' is expected, with its label in a train list")
        if folder.casefold() not in known:
            raise InputError(f"{path}: line {number}: {folder!r} is no class of classInd.txt")
        for label in words[1:]:
            if not _is_number(label) or classes.get(int(label), "").casefold() != folder.casefold():
                raise InputError(f"{path}: line {number}: {label!r} is not the label of {folder} in classInd.txt")
        names.append(_without_suffix(words[0]))
    return names


def read_hmdb51_list(path: Path, name: str) -> dict[str, str]:
    """Part by clip name "class/clip" of one class's list."""
    parts: dict[str, str] = {}
    for number, words in read_lines(path):
        if len(words) != 2 or words[1] not in HMDB51_PARTS or "/" in words[0]:
            raise InputError(f"{path}: line {number}: 'clip.avi' and 0, 1 or 2 are expected")
        clip = f"{name}/{_without_suffix(words[0])}"
        _add(parts, clip, HMDB51_PARTS[words[1]], path, number)
    return parts


def _ucf101(folder: Path, number: int, names: tuple[str, ...]) -> tuple[dict[str, str], Path]:
    where = _holder(folder, "classInd.txt")
    classes = read_ucf101_classes(where / "classInd.txt")
    known = {name.casefold() for name in classes.values()}
    missing = [name for name in names if name.casefold() not in known]
    if missing:
        raise InputError(f"{where / 'classInd.txt'}: the class {missing[0]} is not in it")
    parts: dict[str, str] = {}
    for part in (TRAIN, TEST):
        path = where / f"{part}list{number:02}.txt"
        for place, clip in enumerate(read_ucf101_list(path, classes), 1):
            _add(parts, clip, part, path, place)
    return parts, where


def _hmdb51(folder: Path, number: int, names: tuple[str, ...]) -> tuple[dict[str, str], Path]:
    where = _holder(folder, f"{names[0]}_test_split{number}.txt")
    parts: dict[str, str] = {}
    for name in names:
        parts |= read_hmdb51_list(where / f"{name}_test_split{number}.txt", name)
    return parts, where


def _add(parts: dict[str, str], clip: str, part: str, path: Path, line: int) -> None:
    if parts.setdefault(clip, part) != part:
        raise InputError(f"{path}: clip {line}, {clip}, is already in the part {parts[clip] or 'unused'!r}")


def _holder(folder: Path, file: str) -> Path:
    """The folder of the lists: `folder`, or up to two levels below it."""
    for pattern in ("", "*/", "*/*/"):
        for path in sorted(folder.glob(f"{pattern}{file}")):
            return path.parent
    raise InputError(f"{folder}: no split lists here ({file}); get them with: squeezebench data fetch")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 10


def _without_suffix(name: str) -> str:
    stem, dot, _ = name.rpartition(".")
    return stem if dot else name
