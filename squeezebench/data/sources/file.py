"""Your own features: an .npz, a folder of .npy files (memory-mapped, may exceed RAM), or a .parquet.

Arrays (those of a folder are x.npy, y.npy, ...):

| name | shape | what |
|---|---|---|
| `x` | (N, T, D) | features, any integer or float type |
| `y` | (N,) | labels: integers (0-based or not) or strings |
| `scale` | (D,), optional | the feature is `x * scale` (for features stored as integers) |
| `subset` | (N,), optional | 1 or "train", 2 or "test", "val" or "validation", 0 or "" for unused |
| `length` | (N,), optional | valid steps, 1..T; what is behind them is never read |
| `group` | (N,), optional | integers or strings; sequences of a group stay on one side of a split |
| `name` | (N,), optional | strings; if all have a `_gNN` part, as UCF clips do (`v_Archery_g08_c01`), |
| | | the name up to and including it is the group, unless there is a `group` |
| `classes` | (C,), optional | names of the classes (or `action`); without it, the labels themselves. If they are |
| | | the labels as text, they are looked up; otherwise they stand in the order of the labels |

A .parquet has a row for each step of each sequence: columns `sequence`, `step`, `y`, optionally `subset`,
`group` and `name`, and one for each feature. Default split: official if there is a `subset`, else
group-aware if there are groups, else stratified at random. Arrays of Python objects are refused, never
loaded.

Licence: yours.

Leak: if `group` or `name` says which sequences belong together, the default split keeps them on one side. Without
them nothing can be checked: near-copies on both sides make every accuracy too high.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from squeezebench.base.contents import digest_of_content
from squeezebench.base.errors import InputError
from squeezebench.base.files import stamp_of
from squeezebench.data.arrays import Arrays, peek, read_folder, read_npz
from squeezebench.data.checks import check_features, check_rows
from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.parquet import peek_parquet, read_parquet
from squeezebench.data.splits import GROUP_IN_NAME, NUMBERED, SUBSETS

DEFAULT_SPLIT = None  # by the arrays that are there
MAIN_OPTION = "path"

MARKS = {1: "train", 2: "test", 0: ""} | SUBSETS


class Options(BaseModel):
    """Where the features are."""

    model_config = ConfigDict(extra="forbid")
    path: str = Field(min_length=1, description=".npz, .parquet or folder of .npy; relative to the working directory")
    test_groups: list[int] | None = Field(
        default=None,
        min_length=1,
        description="the test part: groups whose names end in one of these numbers, whatever `subset` says "
        "(UCF101: 1 to 7, 8 to 14 and 15 to 21 are the official splits 1, 2 and 3)",
    )


def load(options: Options) -> Dataset:
    """Read the arrays and bring labels, subset and groups into one form."""
    path = Path(options.path).expanduser()
    return _dataset(options, _read(path), _origin(path))


def outline(options: Options) -> Dataset:
    """The data set without its features: x has their shape and takes no memory."""
    path = Path(options.path).expanduser()
    _files(path)
    x, small = peek_parquet(path) if path.suffix == ".parquet" else peek(path)
    return _dataset(options, {"x": x, **small}, "")


def _dataset(options: Options, arrays: Arrays, origin: str) -> Dataset:
    where = options.path
    check_features(where, arrays["x"])
    for name in ("y", "subset", "length", "group", "name"):
        if name in arrays:
            check_rows(where, name, arrays[name], len(arrays["x"]))
    subset = _subset(where, arrays["subset"]) if "subset" in arrays else None
    used = np.ones(len(arrays["y"]), bool) if subset is None else subset != ""
    y, classes = _labels(where, arrays, used)
    group = _group(where, arrays)
    if options.test_groups:
        subset = _by_group(where, group, options.test_groups, used)
    return Dataset(
        name=where,
        x=arrays["x"],
        y=y,
        classes=classes,
        length=_length(where, arrays.get("length")),
        group=group,
        subset=subset,
        scale=arrays.get("scale"),
        origin=origin,
    )


def expected(options: Options) -> Expected:
    """From the headers, the labels and the subset; the features are not read."""
    data = outline(options)
    used = data.used
    train = None if data.subset is None else int((data.subset == "train").sum())
    shape, classes = data.x.shape, len(np.unique(data.y[used]))
    groups = data.group is not None
    return Expected(int(used.sum()), shape[1], shape[2], classes, 0, 0, train=train, groups=groups)


def stamp(options: Options) -> str:
    """Changes whenever a file behind the path is written."""
    return stamp_of(_files(options.path))


def _files(path: str | Path) -> list[Path]:
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; an .npz, a .parquet or a folder of .npy files is needed")
    return sorted(path.glob("*.npy")) if path.is_dir() else [path]


def _read(path: Path) -> Arrays:
    _files(path)
    if path.is_dir():
        return read_folder(path)
    return read_parquet(path) if path.suffix == ".parquet" else read_npz(path)


def _origin(path: Path) -> str:
    """Content, not place: the same file elsewhere is the same data."""
    digests = [f"{file.name} sha256:{digest_of_content(file)}" for file in _files(path)]
    return "; ".join(digests)


def _text(where: str, name: str, array: np.ndarray) -> np.ndarray:
    """Bytes as text. Raises InputError if they are none."""
    try:
        return np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
    except ValueError as error:
        raise InputError(f"{where}: {name} holds what is no text in UTF-8 ({error})") from None


def _labels(where: str, arrays: Arrays, used: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """(y int64 0..C-1, class names). Labels of unused sequences count for nothing and become 0."""
    y = _text(where, "y", arrays["y"])
    if y.dtype.kind not in "biuU":
        raise InputError(f"{where}: y has dtype {y.dtype}; labels must be integers or strings")
    if not used.any():
        raise InputError(f"{where}: subset marks every sequence as unused; use 1 or train, 2 or test")
    values, codes = np.unique(y[used], return_inverse=True)
    names = _class_names(where, arrays, len(values))
    if names is None:
        names = tuple(map(str, values))
    elif y.dtype.kind == "U" or set(map(str, values)) <= set(names):
        codes = _look_up(where, y, used, names)
    elif all(name.strip().lstrip("+-").isdigit() for name in names):
        raise InputError(
            f"{where}: classes are {', '.join(names)[:80]}, y has {', '.join(map(str, values))[:80]}; give the labels "
            "themselves as classes, or names that are no numbers"
        )
    elif values[0] >= 0 and values[-1] < len(names):
        codes = y[used]
    elif len(values) != len(names):  # otherwise: not 0-based, the names belong to the labels in rising order
        row = np.flatnonzero(used & ((y < 0) | (y >= len(names))))[0]
        raise InputError(f"{where}: y[{row}] is {y[row]}, outside the {len(names)} classes (0..{len(names) - 1})")
    labels = np.zeros(len(y), np.int64)
    labels[used] = codes
    return labels, names


def _class_names(where: str, arrays: Arrays, count: int) -> tuple[str, ...] | None:
    """`classes`, or `action` where it is such a list (some files have it once per clip instead)."""
    names = arrays.get("classes")
    if names is None and "action" in arrays and arrays["action"].shape == (count,):
        names = arrays["action"]
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind not in "iuUS":
        raise InputError(f"{where}: classes has shape {names.shape} and dtype {names.dtype}; it must be (C,) strings")
    return tuple(map(str, _text(where, "classes", names)))


def _look_up(where: str, y: np.ndarray, used: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    index = {name: code for code, name in enumerate(names)}
    for row in np.flatnonzero(used):
        if str(y[row]) not in index:
            raise InputError(f"{where}: y[{row}] is {str(y[row])!r}, which is not one of the {len(names)} classes")
    return np.array([index[str(label)] for label in y[used]])


def _subset(where: str, values: np.ndarray) -> np.ndarray:
    """(N,) strings "train", "validation", "test" or "" (unused)."""
    values = _text(where, "subset", values)
    out = np.empty(len(values), dtype="U10")
    plain = [value.lower() if isinstance(value, str) else value for value in values.tolist()]
    for row, value in enumerate(plain):
        if isinstance(value, bool) or value not in MARKS:
            raise InputError(f"{where}: subset[{row}] is {values[row]!s}; use 1 or train, 2 or test, val, 0 for unused")
        out[row] = MARKS[value]
    return out


def _length(where: str, length: np.ndarray | None) -> np.ndarray | None:
    if length is None:
        return None
    if length.dtype.kind not in "iu":
        raise InputError(f"{where}: length has dtype {length.dtype}; it must be integer, 1..T")
    return length.astype(np.int64)


def _group(where: str, arrays: Arrays) -> np.ndarray | None:
    group = arrays.get("group")
    if group is None:
        group = _group_from_names(where, arrays.get("name"))
    if group is None:
        return None
    group = _text(where, "group", group)
    if group.dtype.kind not in "iuU":
        raise InputError(f"{where}: group has dtype {group.dtype}; it must be integers or strings")
    return group


def _by_group(where: str, group: np.ndarray | None, numbers: list[int], used: np.ndarray) -> np.ndarray:
    """(N,) "test" for the groups of these numbers, "train" for the others, "" for unused sequences."""
    matches = [NUMBERED.match(name) for name in group.astype(str).tolist()] if group is not None else [None]
    if not all(matches):
        raise InputError(f"{where}: test_groups needs groups whose names end in a number, as v_Archery_g08 does")
    number = np.array([int(match[1]) for match in matches])
    if missing := sorted(set(numbers) - set(number[used].tolist())):
        raise InputError(f"{where}: test_groups: no group has the number {missing[0]}")
    return np.where(used, np.where(np.isin(number, numbers), "test", "train"), "")


def _group_from_names(where: str, names: np.ndarray | None) -> np.ndarray | None:
    if names is None or names.dtype.kind not in "US":
        return None
    matches = [GROUP_IN_NAME.match(name) for name in _text(where, "name", names).tolist()]
    return np.array([match[1] for match in matches if match]) if matches and all(matches) else None
