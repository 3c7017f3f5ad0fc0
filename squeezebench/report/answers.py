"""Which test sequences the runs of a group classify correctly, and which of the sequences belong together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from squeezebench.schema.predictions import unpacked, unpacked_groups


class Answers(NamedTuple):
    """Of one run or of several on the same test part."""

    labels: np.ndarray  # (sequences,) true class
    right: np.ndarray  # (runs, sequences) classified correctly
    groups: np.ndarray | None = None  # (sequences,) int from 0 without gaps; None: no groups, or not known

    @classmethod
    def of(cls, predictions: str, confusion: Sequence[Sequence[int]], group_codes: str) -> Answers:
        """From the texts of a record. Raises ValueError if they are damaged."""
        labels, predicted = unpacked(predictions, confusion)
        return cls(labels, (labels == predicted)[None], _groups(group_codes, len(labels)) if group_codes else None)


_groups = lru_cache(maxsize=64)(unpacked_groups)  # all records of a task have one text


def same_test_part(several: Sequence[Answers | None]) -> bool:
    """Whether all are there and of one test part, by its classes and, of those that know them, its groups."""
    first = several[0]
    if first is None or not all(other and np.array_equal(first.labels, other.labels) for other in several):
        return False
    known = [answers.groups for answers in several if answers and answers.groups is not None]
    return all(np.array_equal(known[0], groups) for groups in known[1:])


def groups_of(several: Sequence[Answers | None]) -> np.ndarray | None:
    """The groups of their test part, which older records do not know."""
    return next((answers.groups for answers in several if answers and answers.groups is not None), None)
