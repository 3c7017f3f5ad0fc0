"""What differs: a value of a record and the measured one, and two folders of results."""

from __future__ import annotations

from typing import Any

from pydantic.dataclasses import dataclass

from squeezebench.schema.stored import Part


@dataclass(frozen=True)
class Difference:
    """One value of a record, and what was measured instead."""

    what: str
    recorded: Any
    measured: Any


class Interval(Part):
    """A mean (or ratio) with its 95 % interval; without one if there are too few seeds."""

    value: float
    low: float | None = None
    high: float | None = None


class GroupDifference(Part):
    """One run group in two folders, A and B."""

    key: dict[str, str]  # task, protocol, method, settings as in A
    label: str  # the varied settings
    seeds: list[int]  # finished in both
    verdict: str
    changed: list[str]  # what is beyond noise: accuracy, size, status
    accuracy: tuple[float, float] | None  # mean test accuracy in A, in B
    difference: Interval | None  # of test accuracy, B - A
    p_holm: float | None
    size: tuple[float, float] | None  # means by the task's rule (sizes.py); of the whole model without an LSTM
    sizes_differ: dict[str, int]  # column -> number of seeds whose whole numbers differ
    times: dict[str, Interval]  # B / A
    notes: list[str]


class FolderDifferences(Part):
    """All that tells folder B from folder A."""

    folders: tuple[str, str]
    only: tuple[list[dict[str, Any]], list[dict[str, Any]]]  # runs that the other folder does not have
    groups: list[GroupDifference]
    damaged: tuple[int, int]  # records that cannot be trusted, left out
    left_out: tuple[int, int] = (0, 0)  # records that do not count in their folder, see report/inputs.py
    overall: Interval | None  # mean difference of test accuracy over the groups that are not identical
    times: dict[str, Interval]  # over all groups
    origins: dict[str, tuple[list[str], list[str]]]  # what could explain a change

    @property
    def unchanged(self) -> bool:
        """False also if no group is in both folders: then nothing was shown."""
        return bool(self.groups) and not any(group.changed for group in self.groups)
