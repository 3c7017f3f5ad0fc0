"""The user's own folder of videos: its classes, groups and parts, by folders or by a column file.

- `class/clip.avi`: no groups, unless all names have a part `_gNN` as UCF101's do; the name up to it is then the group.
- `class/group/clip.avi`: the clips of a folder are a group.
- a CSV file with the columns `clip` (path below the folder), `label`, and optionally `group` and `split` (train, test,
  val; empty: unused). Clips that it does not list are not used.

Other files, and folders without videos (annotations), are ignored.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.data.splits import GROUP_IN_NAME, SUBSETS
from squeezebench.data.video.clips import Clip, ClipIndex, indexed
from squeezebench.data.video.lists import read_text

SUFFIXES = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")
COLUMN_FILE = "clips.csv"  # in the folder, if no other is given
NEEDED, ALLOWED = ("clip", "label"), ("clip", "label", "group", "split")
LARGEST = 100_000_000  # bytes of a column file

Row = dict[str, str]


def list_own(folder: Path, labels: Path | None = None) -> tuple[ClipIndex, dict[str, str] | None]:
    """The clips of a folder, not decoded, and the part of each by its name, if the column file tells parts.

    Raises InputError if there is no video, or if the folders or the column file are not as described above.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder with class/clip.avi or class/group/clip.avi")
    columns = (labels or folder / COLUMN_FILE).expanduser()
    rows = _read_columns(columns, folder) if labels or columns.exists() else _by_folders(folder)
    classes = tuple(sorted({row["label"] for row in rows}))
    number = {name: label for label, name in enumerate(classes)}
    clips = [
        Clip(folder / row["clip"], number[row["label"]], row["group"], row["clip"].rpartition(".")[0])
        for row in sorted(rows, key=lambda row: row["clip"])
    ]
    seen: dict[str, Path] = {}
    for clip in clips:
        if (other := seen.setdefault(clip.name, clip.path)) != clip.path:
            raise InputError(f"{clip.path}: {other.name} differs in its ending alone; rename one of the two")
    parts = {row["clip"].rpartition(".")[0]: row["split"] for row in rows} if "split" in rows[0] else None
    return indexed("clips", folder, classes, clips, []), parts


def subset_of(index: ClipIndex, parts: dict[str, str] | None) -> np.ndarray | None:
    """(N,) the part of each clip of the index; None if none is told."""
    return None if parts is None else np.array([parts[clip.name] for clip in index.clips])


def _by_folders(folder: Path) -> list[Row]:
    rows, flat, deep = [], None, None
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.suffix.lower() not in SUFFIXES or any(part.startswith(".") for part in place.parts):
            continue
        if not path.is_file():
            continue
        if not 2 <= len(place.parts) <= 3:
            raise InputError(f"{path}: expected class/clip or class/group/clip below {folder}, or a file {COLUMN_FILE}")
        group = "/".join(place.parts[:2]) if len(place.parts) == 3 else ""
        flat, deep = flat or (place if not group else None), deep or (place if group else None)
        rows.append({"clip": place.as_posix(), "label": place.parts[0], "group": group})
    if not rows:
        raise InputError(f"{folder}: no videos in it ({', '.join(SUFFIXES)}); expected class/clip.avi")
    if flat and deep:
        raise InputError(
            f"{folder}: {deep} is in a folder of a group and {flat} is not; give every clip a group, or none"
        )
    matches = [GROUP_IN_NAME.match(Path(row["clip"]).stem) for row in rows]
    if flat and all(matches):
        for row, match in zip(rows, matches, strict=True):
            row["group"] = f"{row['label']}/{match[1]}"
    return rows


def _read_columns(path: Path, folder: Path) -> list[Row]:
    """The rows of a column file, checked. Raises InputError with the line that is wrong."""
    lines = read_text(path, "list of clips", LARGEST).splitlines()
    try:
        header, *body = csv.reader(lines)
    except (csv.Error, ValueError):
        raise InputError(f"{path}: not a CSV file with the columns {', '.join(ALLOWED)}") from None
    names = [name.strip().lower() for name in header]
    if not set(NEEDED) <= set(names) <= set(ALLOWED) or len(set(names)) < len(names):
        raise InputError(f"{path}: its columns are {', '.join(names)[:80]}; expected clip, label, and group or split")
    rows = [_row(f"{path}: line {n}", names, cells, folder) for n, cells in enumerate(body, 2) if cells]
    clips = [row["clip"] for row in rows]
    if len(set(clips)) < len(clips):
        raise InputError(f"{path}: {max(clips, key=clips.count)} is listed twice")
    if not rows:
        raise InputError(f"{path}: lists no clip")
    if len({row["group"] != "" for row in rows}) == 2:
        first = next(row["clip"] for row in rows if not row["group"])
        raise InputError(f"{path}: {first} has no group, others have one; give every clip a group, or none")
    return rows


def _row(where: str, names: list[str], cells: list[str], folder: Path) -> Row:
    if len(cells) != len(names):
        raise InputError(f"{where}: {len(cells)} columns, expected {len(names)}")
    row = {"group": ""} | {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    place = Path(row["clip"])
    if place.is_absolute() or ".." in place.parts or not row["clip"] or not (folder / place).is_file():
        raise InputError(f"{where}: {row['clip']!r} is no file below {folder}")
    if not row["label"]:
        raise InputError(f"{where}: the label is empty")
    if "split" in row:
        if row["split"].lower() not in SUBSETS:
            raise InputError(f"{where}: split is {row['split']!r}; expected train, test, val or nothing")
        row["split"] = SUBSETS[row["split"].lower()]
    return row | {"clip": place.as_posix()}
