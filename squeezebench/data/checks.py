"""What every data set must fulfil, whatever its source: one line says what, where, what would be right."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from squeezebench.base.errors import InputError

if TYPE_CHECKING:
    from squeezebench.data.dataset import Dataset
    from squeezebench.data.splits import Split

PIECE_BYTES = 16 << 20
LARGEST = float(np.finfo(np.float32).max)


def check_dataset(data: Dataset) -> None:
    """Raises InputError at the first thing that is wrong; features are read in pieces."""
    check_outline(data)
    _check_finite(data, data.x, "x")
    if data.flipped is not None:
        _check_finite(data, data.flipped, "flipped")


def check_outline(data: Dataset) -> None:
    """All of `check_dataset` that needs no feature."""
    _check_shapes(data)
    _check_labels(data)
    _check_length(data)
    _check_scale(data)
    _check_flipped(data)
    _check_frame(data)


def check_classes_in_train(data: Dataset, split: Split) -> None:
    """Every class must have a training example, otherwise it can never be predicted."""
    counts = np.bincount(data.y[split.train], minlength=len(data.classes))
    for label in np.flatnonzero(counts == 0):
        raise InputError(
            f"{data.name}: class {data.classes[label]!r} (index {label}) has no training example; "
            "every class needs at least one"
        )


def check_features(where: str, x: np.ndarray) -> None:
    """(N, T, D), none of them 0, of numbers."""
    shape = x.shape
    if len(shape) != 3:
        raise InputError(f"{where}: x has shape {shape}; it must be (N, T, D): sequences, steps, features")
    for axis, size in zip(("N (sequences)", "T (steps)", "D (features)"), shape, strict=True):
        if size == 0:
            raise InputError(f"{where}: x has shape {shape}: {axis} is 0; it must be at least 1")
    if x.dtype.kind not in "biuf":
        raise InputError(f"{where}: x has dtype {x.dtype}; it must be integer or float")


def _check_shapes(data: Dataset) -> None:
    check_features(data.name, data.x)
    for name in ("y", "length", "group", "subset"):
        array = getattr(data, name)
        if array is not None:
            check_rows(data.name, name, array, len(data.x))


def check_rows(where: str, name: str, array: np.ndarray, sequences: int) -> None:
    """One value for each sequence."""
    if array.shape != (sequences,):
        raise InputError(f"{where}: {name} has shape {array.shape}, but x has {sequences} sequences; one value each")


def _check_labels(data: Dataset) -> None:
    if len(data.classes) < 2:
        raise InputError(f"{data.name}: y has {len(data.classes)} class; a classification task needs at least 2")
    if len(set(data.classes)) < len(data.classes):
        raise InputError(f"{data.name}: classes has a name twice; every class needs its own")
    outside = (data.y < 0) | (data.y >= len(data.classes))
    for row in np.flatnonzero(outside):
        raise InputError(
            f"{data.name}: y[{row}] is {data.y[row]}, outside the {len(data.classes)} classes "
            f"(0..{len(data.classes) - 1})"
        )


def _check_length(data: Dataset) -> None:
    if data.length is None:
        return
    steps = data.x.shape[1]
    for row in np.flatnonzero((data.length < 1) | (data.length > steps)):
        raise InputError(f"{data.name}: length[{row}] is {data.length[row]}; it must be in 1..{steps}, the T of x")


def _check_scale(data: Dataset) -> None:
    if data.scale is None:
        return
    inputs = data.x.shape[2]
    if data.scale.shape != (inputs,):
        raise InputError(f"{data.name}: scale has shape {data.scale.shape}; it must be ({inputs},), one per feature")
    if data.scale.dtype.kind not in "biuf":
        raise InputError(f"{data.name}: scale has dtype {data.scale.dtype}; it must be integer or float")
    for column in np.flatnonzero(~np.isfinite(data.scale)):
        raise InputError(f"{data.name}: scale[{column}] is {data.scale[column]}; it must be a finite number")


def _check_flipped(data: Dataset) -> None:
    """The mirrored sequences replace their originals one for one."""
    if data.flipped is not None and (data.flipped.shape, data.flipped.dtype) != (data.x.shape, data.x.dtype):
        raise InputError(
            f"{data.name}: flipped has shape {data.flipped.shape} and dtype {data.flipped.dtype}; it must be as x: "
            f"{data.x.shape}, {data.x.dtype}"
        )


def _check_frame(data: Dataset) -> None:
    """A step is an image of C x H x W numbers."""
    inputs = data.x.shape[2]
    if data.frame is not None and (len(data.frame) != 3 or min(data.frame) < 1 or prod(data.frame) != inputs):
        raise InputError(
            f"{data.name}: frame is {data.frame}, but a step has {inputs} features; it must be (C, H, W) with "
            "C * H * W of them"
        )


def _check_finite(data: Dataset, x: np.ndarray, name: str) -> None:
    """Every number of a used sequence's valid steps is finite and fits float32."""
    if x.dtype.kind != "f":
        return
    steps = x.shape[1]
    rows = np.flatnonzero(data.used)
    piece = max(1, PIECE_BYTES // max(1, x[:1].nbytes))
    for start in range(0, len(rows), piece):
        piece_rows = rows[start : start + piece]
        numbers = np.asarray(x[piece_rows])
        bad = ~np.isfinite(numbers)
        if numbers.dtype.itemsize > 4:
            bad |= np.abs(numbers) > LARGEST
        if data.length is not None:
            bad &= (np.arange(steps) < data.length[piece_rows][:, None])[:, :, None]
        if bad.any():
            row, step, column = np.unravel_index(int(bad.argmax()), bad.shape)
            value = numbers[row, step, column]
            raise InputError(
                f"{data.name}: {name}[{piece_rows[row]}, {step}, {column}] is {value}; features must be finite numbers "
                "that fit float32"
            )
