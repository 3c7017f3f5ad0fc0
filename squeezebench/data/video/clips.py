"""The clips of a data set, found in the official layout and checked by content.

`list_clips` goes by names alone. `checked` decodes the first frame of each clip: it counts when there is one, and every
other one is listed with its reason. The result is kept as JSON and used again as long as no file was added, removed or
changed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tqdm import tqdm

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import data_folder
from squeezebench.data.store import cores
from squeezebench.data.video.catalogue import VideoSet, video_set
from squeezebench.data.video.decode import ClipError, check_first_frame

FORMAT = 2  # raise it when what an index holds, or how it is found, changes


@dataclass(frozen=True)
class Clip:
    """One usable clip. `name` is its path below the root without suffix, with "/": unique in a data set."""

    path: Path
    label: int  # 0-based, in the order of `ClipIndex.classes`
    group: str  # clips of one group are near-copies and must stay on one side of a split; "": no groups
    name: str


@dataclass(frozen=True)
class Problem:
    """Something that is not as published. `name` is the clip's, or empty if the set or a class is meant."""

    name: str
    reason: str


@dataclass(frozen=True)
class ClipIndex:
    """What one folder holds of a data set; `clips` are in the order of their names."""

    dataset: str
    root: Path  # the folder of the class folders
    classes: tuple[str, ...]
    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...]
    digest: str  # of all file names, sizes and times below the root

    @property
    def broken(self) -> dict[str, str]:
        """Reason by name, of the clips that are there but cannot be used."""
        return {problem.name: problem.reason for problem in self.problems if problem.name}


def dataset_folder(dataset: str) -> Path:
    """Where the archives, clips and lists of a data set live unless the user says otherwise."""
    return data_folder() / dataset


def list_clips(
    dataset: str | VideoSet,
    folder: Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    subset: bool = False,
) -> ClipIndex:
    """The clips of `dataset` below `folder` (default: where `data fetch` puts them), without decoding any.

    `folder` is that of `data fetch`, or one with the class folders, or with the archive's own top folder. `classes`:
    expect these alone, in any number (synthetic clips); `subset`: expect those that are there. The published counts are
    then not compared. Raises InputError if class folders are missing.
    """
    entry = video_set(dataset) if isinstance(dataset, str) else dataset
    folder = dataset_folder(entry.name) if folder is None else folder
    root = _root(entry, folder, tuple(classes or entry.classes), subset)
    if subset:
        there = {path.name.casefold() for path in root.iterdir() if path.is_dir() and _videos(entry, path)}
        classes = [name for name in entry.classes if name.casefold() in there]
    expected = tuple(classes or entry.classes)
    clips, problems = [], list(_strays(entry, root, expected))
    files = _files(entry, root, expected)
    for path, label in files:
        name = _name(path.relative_to(root).as_posix())
        group = group_of(entry, expected[label], name.partition("/")[2])
        clips.append(Clip(path, label, group or "", name))
        if group is None:
            problems.append(Problem(name, "its name tells no group"))
    if classes is None:
        problems += _counts(entry, files)
    return indexed(entry.name, root, expected, clips, problems)


def indexed(
    dataset: str, root: Path, classes: tuple[str, ...], clips: Sequence[Clip], problems: Sequence[Problem]
) -> ClipIndex:
    """The index with its digest, of clips that need not be usable."""
    stats = [(clip, clip.path.stat()) for clip in clips]
    state = [(c.name, c.label, c.group, c.path.suffix, stat.st_size, stat.st_mtime_ns) for c, stat in stats]
    digest = digest_of([FORMAT, classes, state, [asdict(problem) for problem in problems]])
    return ClipIndex(dataset, root, classes, tuple(clips), tuple(problems), digest)


def checked(index: ClipIndex, progress: bool | None = None) -> ClipIndex:
    """The clips of `index` that can be used; the others are in `problems`. Raises InputError if there is none."""
    kept = _index_file(index)
    if (known := read_index(kept, index.root)) is not None and known.digest == index.digest:
        return known
    bar = tqdm(total=len(index.clips), unit="clip", desc=f"checking {index.dataset}", leave=False,
               disable=not (sys.stderr.isatty() if progress is None else progress))  # fmt: skip
    clips, problems, nameless = [], list(index.problems), index.broken
    with ThreadPoolExecutor(cores()) as pool, bar:
        for clip, reason in zip(index.clips, pool.map(why_broken, [c.path for c in index.clips]), strict=True):
            if reason is None and clip.name not in nameless:
                clips.append(clip)
            elif reason is not None:
                problems = [problem for problem in problems if problem.name != clip.name]
                problems.append(Problem(clip.name, reason))
            bar.update()
    if not clips:
        first = next((problem.reason for problem in problems if problem.name), "there are none")
        raise InputError(f"{index.root}: none of its {len(index.clips)} clips can be decoded; the first: {first}")
    index = replace(index, clips=tuple(clips), problems=tuple(problems))
    write_index(kept, index)
    return index


def write_index(path: Path, index: ClipIndex) -> None:
    """Write the index as JSON, whole or not at all; clip paths are kept relative to the root."""
    content = {
        "format": FORMAT,
        "dataset": index.dataset,
        "digest": index.digest,
        "classes": index.classes,
        "clips": [[c.path.relative_to(index.root).as_posix(), c.label, c.group] for c in index.clips],
        "problems": [asdict(problem) for problem in index.problems],
    }
    write_atomically(path, json.dumps(content, indent=0, ensure_ascii=True).encode())


def read_index(path: Path, root: Path) -> ClipIndex | None:
    """The index written at `path` for clips below `root`; None if there is none, or none that can be read."""
    try:
        content = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            return None
        clips = tuple(Clip(root / p, int(label), str(g), _name(p)) for p, label, g in content["clips"])
        problems = tuple(Problem(**problem) for problem in content["problems"])
        return ClipIndex(content["dataset"], root, tuple(content["classes"]), clips, problems, content["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _index_file(index: ClipIndex) -> Path:
    """In the data folder, not beside the clips: those may lie where nothing can be written."""
    place = hashlib.sha256(str(index.root.resolve()).encode()).hexdigest()[:12]
    return dataset_folder(index.dataset) / f"index-{place}.json"


def _root(entry: VideoSet, folder: Path, classes: tuple[str, ...], subset: bool) -> Path:
    """The folder whose folders are the classes. Raises InputError if all are missing; `subset`: some may be."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; get the clips with: squeezebench data fetch {entry.name}")
    places = [base / name for base in (folder / "clips", folder) for name in (*entry.roots, "")]
    best, missing = folder, list(classes)
    for place in places:
        there = {path.name.casefold() for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()
        absent = [name for name in classes if name.casefold() not in there]
        if len(absent) < len(missing):
            best, missing = place, absent
    if len(missing) == len(classes):
        raise InputError(
            f"{folder}: no class folder of {entry.title} in it (such as {classes[0]}); "
            f"get the clips with: squeezebench data fetch {entry.name}"
        )
    if missing and not subset:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"{best}: the class folder {missing[0]!r}{more} is missing; {entry.title} has {len(classes)}; "
            "subset: true reads a part of it"
        )
    return best


def _folders(root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int | None]]:
    """Folders of the root with their label, whatever the case of their letters; None: not a class."""
    labels = {name.casefold(): label for label, name in enumerate(classes)}
    return [(path, labels.get(path.name.casefold())) for path in sorted(root.iterdir()) if path.is_dir()]


def _videos(entry: VideoSet, folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in entry.suffixes and path.is_file())


def _files(entry: VideoSet, root: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Every video file of a class folder with its label, in the order of their names."""
    return [
        (path, label)
        for folder, label in _folders(root, classes)
        if label is not None
        for path in _videos(entry, folder)
    ]


def _strays(entry: VideoSet, root: Path, classes: tuple[str, ...]) -> list[Problem]:
    problems = []
    for folder, label in _folders(root, classes):
        if label is None and (count := len(_videos(entry, folder))):
            problems.append(
                Problem("", f"the folder {folder.name} with {count} videos is no class of the set: not used")
            )
    return problems


def _name(path: str) -> str:
    return path.rpartition(".")[0]


def why_broken(path: Path) -> str | None:
    """Why no first frame comes out of a clip, in words; None: one does."""
    try:
        check_first_frame(path)
    except ClipError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return None


def group_of(entry: VideoSet, name: str, clip: str) -> str | None:
    """The group "class/..." of a clip of class `name`, from its path below that folder; None if it tells none."""
    pattern = entry.group.replace("{name}", re.escape(name))
    match = re.fullmatch(pattern, clip, re.IGNORECASE)
    return None if match is None else f"{name}/{match[1]}"


def _counts(entry: VideoSet, files: list[tuple[Path, int]]) -> list[Problem]:
    """The classes that have another number of clips, broken clips included, than the published one."""
    present = Counter(label for _, label in files)
    problems = [
        Problem("", f"class {name}: {present[label]} clips, {count} are published")
        for label, (name, count) in enumerate(entry.counts.items())
        if count and present[label] != count
    ]
    if len(files) != entry.clips:
        problems.append(Problem("", f"{len(files):,} clips in all, {entry.clips:,} are published"))
    return problems
