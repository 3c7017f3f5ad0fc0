"""Human activity from a smartphone: 128 steps (2.56 s) of 9 signals, 6 classes, 7,352 train and 2,947 test; 61 MB.

"Human Activity Recognition Using Smartphones" of the UCI repository: 30 people at 50 Hz, windows with 50 % overlap;
body acceleration, angular velocity and total acceleration, x, y and z each (`Inertial Signals`, not the 561
hand-made features). The official split is by person; a person is a group, so that validation holds out whole
people too. Downloaded on first use, or read from `folder`: the unpacked `UCI HAR Dataset`, or where it or one of
the two nested archives lies. Source: Anguita, Ghio, Oneto, Parra and Reyes-Ortiz (2013), A Public Domain Dataset
for Human Activity Recognition Using Smartphones, ESANN; https://archive.ics.uci.edu/dataset/240,
https://doi.org/10.24432/C54S4K (CC BY 4.0).

Licence: CC BY 4.0.

Leak: neighbouring windows share half of their samples. The official split is by person, so that no window is in two
parts; `split: random` would divide such pairs.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.files import stamp_of
from squeezebench.data.cache import Arrays, cached_arrays
from squeezebench.data.dataset import Dataset, Expected

DEFAULT_SPLIT = "official"
MAIN_OPTION = "folder"

ADDRESS = "https://archive.ics.uci.edu/static/public/240/human+activity+recognition+using+smartphones.zip"
# UCI publishes no checksum. These are what independent users of the archive recorded: the outer one in their download
# scripts, the inner one also in Julia's DataDeps registration of the set under its former address (00240).
SHA256 = "c00b803081a5c797cd5e4b83700a9810b38d53d9d84e01917e090e1fdbc81031"
DOWNLOAD_BYTES = 61_005_872
OUTER, INNER, ROOT = ADDRESS.rpartition("/")[2], "UCI HAR Dataset.zip", "UCI HAR Dataset"
SIGNALS = tuple(f"{name}_{axis}" for name in ("body_acc", "body_gyro", "total_acc") for axis in "xyz")
STEPS = 128
PARTS = ("train", "test")
SIZES = (7352, 2947)
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


class Options(BaseModel):
    """Where the data are."""

    model_config = ConfigDict(extra="forbid")
    folder: str | None = Field(default=None, min_length=1, description="the unpacked data or archive; null: download")


def load(options: Options) -> Dataset:
    """x (10299, 128, 9) float32; body acceleration and total acceleration in g, angular velocity in rad/s."""
    if options.folder is None:
        where, arrays = "uci_har", cached_arrays("uci_har", "numpy", lambda: _build(_downloaded()))
    else:
        where, arrays = options.folder, _build(Path(options.folder).expanduser())
    return Dataset(
        name=where,
        x=arrays["x"],
        y=arrays["y"],
        classes=tuple(map(str, arrays["classes"])),
        group=arrays["group"],
        subset=arrays["subset"],
        origin=f"UCI https://doi.org/10.24432/C54S4K; windows sha256:{sha256(arrays['x'].tobytes()).hexdigest()}",
    )


def expected(options: Options) -> Expected:
    """The official sizes."""
    own = options.folder is None
    prepared = sum(SIZES) * (STEPS * len(SIGNALS) * 4 + 8 + 8) if own else 0
    fetched = DOWNLOAD_BYTES if own else 0
    kept = {"disk_bytes": prepared, "download_bytes": fetched}
    return Expected(sum(SIZES), STEPS, len(SIGNALS), 6, **kept, train=SIZES[0], groups=True)


def stamp(options: Options) -> str:
    """Changes whenever a file of the folder is written."""
    if options.folder is None:
        return ""
    return stamp_of(sorted(file for file in Path(options.folder).expanduser().rglob("*") if file.is_file()))


def _downloaded() -> Path:
    from squeezebench.base.places import data_folder
    from squeezebench.data.download import fetch

    return fetch(ADDRESS, data_folder() / "uci_har" / OUTER, f"sha256:{SHA256}")


def _build(place: Path) -> Arrays:
    """The arrays from an archive, or from a folder with the data or an archive."""
    if place.is_file():
        return _from_archive(place)
    if not place.is_dir():
        raise InputError(f"{place}: no such folder; the unpacked `{ROOT}` or its archive is needed")
    for folder in (place, place / ROOT):
        if (folder / "train").is_dir():
            return _arrays(folder)
    for name in (INNER, OUTER):
        if (place / name).is_file():
            return _from_archive(place / name)
    raise InputError(f"{place}: there is no train folder, no `{ROOT}`, no {INNER} and no {OUTER}")


def _from_archive(path: Path) -> Arrays:
    """From the repository's archive, or from the one that it holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            if INNER not in archive.namelist():
                return _arrays(zipfile.Path(archive, f"{ROOT}/"))
            with zipfile.ZipFile(io.BytesIO(archive.read(INNER))) as inner:
                inner.filename = f"{path}: {INNER}"  # for messages
                return _arrays(zipfile.Path(inner, f"{ROOT}/"))
    except DAMAGE as error:
        reason = first_line(error)
        raise InputError(f"{path}: truncated or damaged archive ({reason}); remove it and fetch it again") from None


def _read(root: Path | zipfile.Path, name: str) -> bytes:
    """The content of a file of the unpacked data or of the archive."""
    file = root / name
    try:
        return file.read_bytes()
    except (OSError, KeyError) as error:  # a member that is not there raises one or the other
        reason = getattr(error, "strerror", None) or "it is not there"
        raise InputError(f"{file}: cannot be read ({reason}); fetch or unpack the archive again") from None


def _arrays(root: Path | zipfile.Path) -> Arrays:
    """x (N, 128, 9) float32, y, group (person), subset, classes; train first."""
    where = str(root)
    names = _activities(where, _read(root, "activity_labels.txt"))
    x, y, group, subset = [], [], [], []
    for part in PARTS:
        labels = _table(root, f"{part}/y_{part}.txt", 1).astype(np.int64)[:, 0]
        people = _table(root, f"{part}/subject_{part}.txt", 1).astype(np.int64)[:, 0]
        signals = []
        for signal in SIGNALS:
            name = f"{part}/Inertial Signals/{signal}_{part}.txt"
            signals.append(_table(root, name, STEPS).astype(np.float32))
            if len(signals[-1]) != len(labels):
                raise InputError(f"{where}: {name} has {len(signals[-1])} windows, y_{part}.txt {len(labels)} labels")
        if len(people) != len(labels):
            raise InputError(f"{where}: subject_{part}.txt has {len(people)} rows, y_{part}.txt {len(labels)}")
        for row in np.flatnonzero((labels < 1) | (labels > len(names))):
            raise InputError(f"{where}: y_{part}.txt, row {row + 1}: label {labels[row]}; 1..{len(names)} are known")
        x.append(np.stack(signals, axis=2))
        y.append(labels - 1)
        group.append(people)
        subset += [part] * len(labels)
    return {
        "x": np.concatenate(x), "y": np.concatenate(y), "group": np.concatenate(group),
        "subset": np.array(subset), "classes": np.array(names),
    }  # fmt: skip


def _activities(where: str, content: bytes) -> list[str]:
    """`1 WALKING` and so on -> names in that order."""
    rows = [line.split() for line in content.decode("utf-8", "replace").splitlines() if line.strip()]
    numbers = [row[0] for row in rows]
    if numbers != [str(number) for number in range(1, len(rows) + 1)] or any(len(row) != 2 for row in rows):
        raise InputError(f"{where}: activity_labels.txt: lines `1 WALKING`, `2 ...` are needed")
    return [name.lower() for _, name in rows]


def _table(root: Path | zipfile.Path, name: str, columns: int) -> np.ndarray:
    """(rows, columns) float64 from text of numbers between blanks."""
    content = _read(root, name)
    if not content.strip():
        raise InputError(f"{root}: {name} is empty; fetch it again")
    try:
        table = np.loadtxt(io.BytesIO(content), ndmin=2)
    except ValueError as error:
        raise InputError(f"{root}: {name}: {(str(error).splitlines() or [''])[0]}") from None
    if table.shape[1] != columns:
        raise InputError(f"{root}: {name} has {table.shape[1]} numbers in a row; it must have {columns}")
    return table
