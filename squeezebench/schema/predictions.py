"""The predicted class and the group of every test sequence, as short texts in the record.

The sequences stand in the order of their true class, within a class in the order of the task's test part, which the
split (`provenance.split_digest`) fixes: all seeds and methods of a task share it. The true classes therefore follow
from the rows of the confusion matrix and are not stored. In this order a good classifier's predictions are long runs of
equal numbers, which compress well.

A group (speaker, scene, video) is a number without its name, counted from 0 in the order of the sequences. What is
stored are the differences of neighbours: most are 0 or 1.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np

LARGEST = 1 << 24  # test sequences that are unpacked: the record may be anybody's
KIND, DIFFERENCE = np.dtype("<u2"), np.dtype("<i4")


def packed(labels: np.ndarray, predicted: np.ndarray) -> str:
    """True and predicted class indices (n,) of the test part in its own order -> the text of a record: base64 of zlib
    of little-endian 16-bit numbers."""
    return _text(np.asarray(predicted)[np.argsort(labels, kind="stable")].astype(KIND))


def packed_groups(labels: np.ndarray, groups: np.ndarray | None) -> str | None:
    """True class indices and groups (n,), integers or strings, of the test part in its own order -> the text of a
    record; None if there are no groups."""
    if groups is None:
        return None
    return _text(np.diff(_counted(groups[np.argsort(labels, kind="stable")]), prepend=0).astype(DIFFERENCE))


def unpacked_groups(text: str, number: int) -> np.ndarray:
    """The groups (n,) int64 of `number` test sequences, from 0 without gaps. Raises ValueError, in words."""
    groups = np.cumsum(_numbers(text, "groups", DIFFERENCE))
    if len(groups) != number:
        raise ValueError(f"{len(groups):,} groups for {number:,} test sequences")
    if not np.array_equal(groups, _counted(groups)):
        raise ValueError("the groups are not counted in the order of the test sequences")
    return groups


def _counted(groups: np.ndarray) -> np.ndarray:
    """(n,) of any type -> int64, from 0 in the order of first appearance."""
    _, first, places = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[places]


def _text(numbers: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes(), 9)).decode("ascii")


def unpacked(text: str, confusion: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted class indices, both (n,) int64, from a record's text and its confusion matrix.

    Raises ValueError, in words, if the text is damaged or contradicts the matrix.
    """
    matrix = np.asarray(confusion)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.min(initial=0) < 0:
        raise ValueError("there is no confusion matrix that says what the true classes are")
    per_class = matrix.sum(axis=1)
    predicted = _numbers(text)
    if len(predicted) != per_class.sum():
        raise ValueError(f"{len(predicted):,} predictions for {per_class.sum():,} test sequences")
    labels = np.repeat(np.arange(len(matrix)), per_class)
    inside = predicted.max(initial=0) < len(matrix)
    if not inside or not np.array_equal(confusion_of(labels, predicted, len(matrix)), matrix):
        raise ValueError("the predictions do not add up to the confusion matrix")
    return labels, predicted


def _numbers(text: str, noun: str = "predictions", kind: np.dtype = KIND) -> np.ndarray:
    """(n,) int64. Raises ValueError: damaged, or more than LARGEST."""
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), kind.itemsize * LARGEST)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the {noun} are not base64 of a zlib stream ({error})") from None
    if len(content) % kind.itemsize or len(content) == kind.itemsize * LARGEST:
        raise ValueError(f"the {noun} are no list of {8 * kind.itemsize}-bit numbers, or too long a one")
    return np.frombuffer(content, kind).astype(np.int64)


def predictions_moved(text: str, other: str) -> int | None:
    """How many sequences two texts predict differently; None if they are not of one test part, or damaged."""
    try:
        first, second = _numbers(text), _numbers(other)
    except ValueError:
        return None
    return int((first != second).sum()) if len(first) == len(second) else None


def confusion_of(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts, a row for each true class."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
