"""Sequences of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from squeezebench.base.errors import InputError


def pad(sequences: Sequence[ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    """N sequences (T_i, D) of numbers, or (T_i,) of one feature -> x (N, T, D), zero past the end, and length (N,).

    T is the longest length; x has the smallest type that holds the numbers of all sequences. The two are what a task of
    one's own needs: `np.savez("own.npz", x=x, length=length, y=y)`. Raises InputError if a sequence is empty, has
    another number of features than the first, or holds what is no number.
    """
    arrays = []
    for row, sequence in enumerate(sequences):
        try:
            array = np.asarray(sequence)
        except ValueError as error:
            raise InputError(f"sequence {row} is no array: {error}") from None
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "biuf":
            what = f"shape {array.shape} and dtype {array.dtype}"
            raise InputError(f"sequence {row} has {what}; it must be (T, D) or (T,) numbers, with at least one step")
        if arrays and array.shape[1] != arrays[0].shape[1]:
            first = arrays[0].shape[1]
            raise InputError(f"sequence {row} has {array.shape[1]} features, sequence 0 has {first}; all need the same")
        arrays.append(array)
    if not arrays:
        raise InputError("there are no sequences to pad")
    length = np.array([len(array) for array in arrays], np.int64)
    x = np.zeros((len(arrays), length.max(), arrays[0].shape[1]), np.result_type(*arrays))
    for row, array in enumerate(arrays):
        x[row, : len(array)] = array
    return x, length
