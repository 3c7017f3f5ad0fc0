"""Data sets of aeon: its collections (channels first, lists if lengths vary) become arrays (N, T, D) with lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from squeezebench.data.cache import Arrays, cached_arrays
from squeezebench.data.dataset import Dataset


def official_dataset(name: str, cached_as: str | None, build: Callable[[], Arrays], origin: str) -> Dataset:
    """The data set whose arrays `build` makes with `official_arrays`, with lengths if they vary.

    cached_as: the name of the arrays in the cache; None: they are built each time.
    """
    arrays = build() if cached_as is None else cached_arrays(cached_as, "aeon", build)
    varies = bool((arrays["length"] < arrays["x"].shape[1]).any())
    return Dataset(
        name=name,
        x=arrays["x"],
        y=arrays["y"],
        classes=tuple(map(str, arrays["classes"])),
        length=arrays["length"] if varies else None,
        subset=arrays["subset"],
        origin=origin,
    )


def official_arrays(
    train: tuple[Sequence[np.ndarray], np.ndarray], test: tuple[Sequence[np.ndarray], np.ndarray]
) -> Arrays:
    """(sequences (D, T_i), labels) of both parts -> x (N, T, D) zero-padded, y, classes, length, subset."""
    sequences = [np.asarray(sequence) for part in (train, test) for sequence in part[0]]
    labels = np.concatenate([np.asarray(part[1]).astype(str) for part in (train, test)])
    classes, y = np.unique(labels, return_inverse=True)
    length = np.array([sequence.shape[1] for sequence in sequences], dtype=np.int64)
    x = np.zeros((len(sequences), length.max(), sequences[0].shape[0]))
    for row, sequence in enumerate(sequences):
        x[row, : sequence.shape[1]] = sequence.T
    subset = np.array(["train"] * len(train[0]) + ["test"] * len(test[0]))
    return {"x": x, "y": y.astype(np.int64), "classes": classes, "length": length, "subset": subset}
