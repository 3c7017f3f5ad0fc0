"""The predicted class of every test sequence, as a short text in the record.

The sequences stand in the order of their true class, within a class in the order of the task's test part, which the
split (`provenance.split_digest`) fixes: all seeds and methods of a task share it. The true classes therefore follow
from the rows of the confusion matrix and are not stored. In this order a good classifier's predictions are long runs of
equal numbers, which compress well.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Sequence

import numpy as np

LARGEST = 1 << 24  # test sequences that are unpacked: the record may be anybody's
KIND = np.dtype("<u2")


def packed(labels: np.ndarray, predicted: np.ndarray) -> str:
    """True and predicted class indices (n,) of the test part in its own order -> the text of a record: base64 of zlib
    of little-endian 16-bit numbers."""
    numbers = np.asarray(predicted)[np.argsort(labels, kind="stable")].astype(KIND)
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


def _numbers(text: str) -> np.ndarray:
    """(n,) int64. Raises ValueError: damaged, or more than LARGEST."""
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), KIND.itemsize * LARGEST)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"the predictions are not base64 of a zlib stream ({error})") from None
    if len(content) % KIND.itemsize or len(content) == KIND.itemsize * LARGEST:
        raise ValueError("the predictions are no list of 16-bit numbers, or too long a one")
    return np.frombuffer(content, KIND).astype(np.int64)


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
