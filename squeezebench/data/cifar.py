"""CIFAR in its binary version: records of label bytes and 3,072 pixels, 1,024 of each colour, row by row.

Python pickles, the other version that is published, can run code and are never read. The archive is read where it
lies, member by member: nothing is unpacked.
"""

from __future__ import annotations

import contextlib
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.files import write_atomically
from squeezebench.base.places import data_folder
from squeezebench.base.reading import regular
from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.store import Small, Store, prepared_images

FORMAT = 1  # raise it when the same files give other arrays
FRAME = (3, 32, 32)
PIXELS = 3 * 32 * 32
ADDRESS = "https://www.cs.toronto.edu/~kriz/"
PIECE = 1000  # records read at once
SYNTHETIC_SEED = 0


@dataclass(frozen=True)
class Cifar:
    """One of the two sets."""

    name: str  # of the source
    archive: str
    md5: str  # of the archive, as published
    size: int  # of the archive, bytes
    folder: str  # in the archive
    files: dict[str, tuple[str, ...]]  # part -> files, in their order
    names: str  # file of the class names
    classes: int
    labels: int  # bytes before the pixels; the last of them is the class

    @property
    def record(self) -> int:
        return self.labels + PIXELS


class Options(BaseModel):
    """Where the files are."""

    model_config = ConfigDict(extra="forbid")
    folder: str | None = Field(
        default=None, min_length=1, description="with the .bin files, or the .tar.gz itself; null: download"
    )
    synthetic: int | None = Field(
        default=None, ge=5, description="this many synthetic images a class instead of the real ones; for dry runs"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Options:
        if self.folder is not None and self.synthetic is not None:
            raise ValueError("give folder or synthetic, not both")
        return self


def load(facts: Cifar, options: Options) -> Dataset:
    """x (N, 1, 3072) uint8, mapped: red, green and blue, each row by row; scale 1/255; the published split."""
    place = _place(facts, options)
    key = {"format": FORMAT, "source": facts.name, "files": _state(facts, place)}
    x, small, meta = prepared_images(facts.name, key, PIXELS, lambda store: _fill(facts, place, store))
    return Dataset(
        name=facts.name if options.folder is None else options.folder,
        x=x,
        y=small["y"],
        classes=tuple(map(str, small["classes"])),
        subset=small["subset"],
        scale=np.full(PIXELS, 1 / 255),
        origin=f"{meta['origin']}; pixels sha256:{meta['digests']['x']}",
        frame=FRAME,
    )


def expected(facts: Cifar, options: Options) -> Expected:
    """The published sizes; those of a folder come from the sizes of its files."""
    sizes, fetched = {"train": 50_000, "test": 10_000}, facts.size
    if options.synthetic is not None:
        sizes, fetched = _synthetic_sizes(facts, options.synthetic), 0
    elif options.folder is not None:
        with _opened(facts, Path(options.folder).expanduser()) as files:
            sizes = {part: sum(_records(facts, files, name) for name in facts.files[part]) for part in facts.files}
        fetched = 0
    count = sum(sizes.values())
    disk = count * PIXELS + fetched
    return Expected(count, 1, PIXELS, facts.classes, disk, fetched, train=sizes["train"], frame=FRAME, groups=False)


def stamp(facts: Cifar, options: Options) -> str:
    """Changes whenever one of the user's files is written."""
    return "" if options.folder is None else ";".join(_state(facts, Path(options.folder).expanduser()))


# ---------------------------------------------------------------------- where the files are


def _place(facts: Cifar, options: Options) -> Path:
    from squeezebench.data.download import fetch

    if options.folder is not None:
        return Path(options.folder).expanduser()
    if options.synthetic is not None:
        return _make_synthetic(
            facts, data_folder() / "synthetic" / f"{facts.name}-{options.synthetic}", options.synthetic
        )
    return fetch(ADDRESS + facts.archive, data_folder() / facts.name / facts.archive, f"md5:{facts.md5}")


def _found(facts: Cifar, place: Path) -> Path:
    """The archive, or the folder with the .bin files, at `place` or below it."""
    if place.is_file():
        return place
    for path in (place, place / facts.folder):
        if (path / facts.files["test"][0]).is_file():
            return path
    if (place / facts.archive).is_file():
        return place / facts.archive
    reason = "no such file or folder" if not place.exists() else f"there is no {facts.files['test'][0]} in it"
    raise InputError(
        f"{place}: {reason}; {facts.name} needs its binary version: {facts.archive}, or the folder {facts.folder} of it"
    )


def _state(facts: Cifar, place: Path) -> list[str]:
    """Name, size and time of the files that are read; of a folder also where it is."""
    source = _found(facts, place)
    names = [name for part in facts.files.values() for name in part] + [facts.names]
    files = [source] if source.is_file() else [path for name in names if (path := source / name).is_file()]
    return [f"{source.resolve()}", *(f"{f.name},{f.stat().st_size},{f.stat().st_mtime_ns}" for f in files)]


# ---------------------------------------------------------------------- reading

Files = dict[str, tuple[int, Any]]  # name -> (size in bytes, how it is opened)


@contextlib.contextmanager
def _opened(facts: Cifar, place: Path) -> Iterator[Files]:
    """The files of a folder or an archive by name. Raises InputError if they cannot be listed."""
    source = _found(facts, place)
    with contextlib.ExitStack() as stack:
        with _readable(source):
            if source.is_dir():
                files = {f.name: (regular(f).stat().st_size, f.open) for f in sorted(source.iterdir()) if f.is_file()}
            else:
                archive = stack.enter_context(tarfile.open(regular(source), "r:*"))
                members = [member for member in archive.getmembers() if member.isfile()]
                files = {PurePosixPath(m.name).name: (m.size, lambda _, m=m: archive.extractfile(m)) for m in members}
        yield files


@contextlib.contextmanager
def _readable(what: Path | str) -> Iterator[None]:
    """Raises InputError for what a damaged archive or file makes its reader raise."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:  # BadGzipFile is an OSError
        raise InputError(
            f"{what}: truncated, damaged or no tar archive ({first_line(error)}); fetch it again"
        ) from None


def _records(facts: Cifar, files: Files, name: str) -> int:
    """How many records a file holds."""
    if name not in files:
        raise InputError(f"{facts.name}: there is no {name}; it has: {', '.join(files)[:200] or 'nothing'}")
    size = files[name][0]
    if size == 0 or size % facts.record:
        raise InputError(
            f"{facts.name}: {name} has {size:,} bytes; records of {facts.record:,} bytes are needed ({facts.labels} of "
            f"labels, {PIXELS:,} of pixels): is it truncated, or no binary version?"
        )
    return size // facts.record


def _fill(facts: Cifar, place: Path, store: Store) -> tuple[dict[str, Any], Small]:
    """Bring the store to the last record; the labels are read again from the first."""
    done, position = len(store.ledger), 0
    labels, subset = [], []
    with _opened(facts, place) as files:
        for part, names in facts.files.items():
            for name in names:
                count = _records(facts, files, name)
                subset += [part] * count
                for records in _pieces(facts, name, files, count):
                    labels.append(records[:, facts.labels - 1])
                    new = records[max(0, done - position) :, facts.labels :]
                    position += len(records)
                    if len(new):
                        store.extend([{"clip": name, "length": 1}] * len(new), x=new[:, None])
        classes = _class_names(facts, files)
    origin = f"{facts.name}, binary version: {', '.join(n for names in facts.files.values() for n in names)}"
    small = {"y": np.concatenate(labels).astype(np.int64), "subset": np.array(subset), "classes": np.array(classes)}
    return {"origin": origin}, small


def _pieces(facts: Cifar, name: str, files: Files, count: int) -> Iterator[np.ndarray]:
    """The records (n, bytes) of one file, some at a time. Raises InputError if it ends early or a label is none."""
    with contextlib.ExitStack() as stack:
        with _readable(name):
            file = stack.enter_context(files[name][1]("rb"))
        for start in range(0, count, PIECE):
            wanted = min(PIECE, count - start) * facts.record
            with _readable(name):
                content = file.read(wanted)
            if len(content) < wanted:
                end = start * facts.record + len(content)
                raise InputError(f"{facts.name}: {name} ends after {end:,} bytes: truncated")
            records = np.frombuffer(content, np.uint8).reshape(-1, facts.record)
            label = records[:, facts.labels - 1]
            for wrong in np.flatnonzero(label >= facts.classes):
                raise InputError(
                    f"{facts.name}: {name}: record {start + wrong} has label {label[wrong]}; 0..{facts.classes - 1} "
                    "are known"
                )
            yield records


def _class_names(facts: Cifar, files: Files) -> list[str]:
    """The class names, one per line of their file; numbers if there is no such file."""
    if facts.names not in files:
        return [str(number) for number in range(facts.classes)]
    with _readable(facts.names), files[facts.names][1]("rb") as file:
        names = file.read(1 << 16).decode("utf-8", "replace").split()
    if len(names) != facts.classes:
        raise InputError(f"{facts.name}: {facts.names} has {len(names)} names; {facts.classes} are needed, one a line")
    return names


# ---------------------------------------------------------------------- synthetic


def _synthetic_sizes(facts: Cifar, count: int) -> dict[str, int]:
    """By part, of `count` images a class: a fifth is test."""
    test = count // 5
    return {"train": (count - test) * facts.classes, "test": test * facts.classes}


def _make_synthetic(facts: Cifar, folder: Path, count: int) -> Path:
    """Files in the binary form: a soft pattern for each class, in noise. Written once; the same bytes everywhere."""
    if (folder / facts.names).exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SYNTHETIC_SEED)
    patterns = rng.normal(size=(facts.classes, 3, 4, 4)).repeat(8, 2).repeat(8, 3).reshape(facts.classes, PIXELS)
    for part, size in _synthetic_sizes(facts, count).items():
        y = np.arange(size) % facts.classes
        x = np.clip(128 + 40 * patterns[y] + 30 * rng.normal(size=(size, PIXELS)), 0, 255).astype(np.uint8)
        labels = np.stack([y // 5] * (facts.labels - 1) + [y], 1).astype(np.uint8)
        records = np.concatenate([labels, x], 1)
        for name, piece in zip(facts.files[part], np.array_split(records, len(facts.files[part])), strict=True):
            write_atomically(folder / name, piece.tobytes())
    names = "".join(f"{facts.name}_{number}\n" for number in range(facts.classes))
    write_atomically(folder / facts.names, names.encode())  # last: with it the folder is whole
    return folder
