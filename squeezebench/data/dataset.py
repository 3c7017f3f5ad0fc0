"""What a data source delivers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict


@dataclass(frozen=True)
class Dataset:
    """What a source delivers, before the split.

    `x` is raw (any integer, float or bool dtype); the feature is `x * scale` where `scale` is given. Steps
    of a sequence past its `length` are padding: their content is never read (they may even be NaN).
    """

    name: str  # how error messages call it: a file's path, an archive's name
    x: np.ndarray  # (N, T, D), may be np.memmap
    y: np.ndarray  # (N,) int64, 0..C-1
    classes: tuple[str, ...]  # C names
    length: np.ndarray | None = None  # (N,) int64, 1..T; None: every sequence has T steps
    group: np.ndarray | None = None  # (N,) integers or strings: sequences that must stay on one side of a split
    subset: np.ndarray | None = None  # (N,) "train", "validation", "test", or "" for unused
    scale: np.ndarray | None = None  # (D,) factor per feature
    origin: str = ""  # citation, address or file digest
    part_of: str = ""  # in words, if these are a part of a published data set: how much of it
    flipped: np.ndarray | None = None  # as x: the mirrored sequences; training draws one of the two, others read x
    frame: tuple[int, int, int] | None = None  # (C, H, W) if a step is an image, D = C * H * W

    @property
    def used(self) -> np.ndarray:
        """Which sequences belong to some part, bool (N,)."""
        return np.ones(len(self.y), bool) if self.subset is None else self.subset != ""

    def as_images(self, source: str, replaces: str) -> Dataset:
        """(N, H, W), images row by row -> (N, 1, H * W) with frame (1, H, W), a view.

        The name becomes `source` if it is that of the source `replaces`; a folder's path stays.
        """
        count, height, width = self.x.shape
        name = source if self.name == replaces else self.name
        return replace(self, name=name, x=self.x.reshape(count, 1, height * width), frame=(1, height, width))


@dataclass(frozen=True)
class Expected:
    """What a source will deliver, known without the data; None if only the data can tell. For cost estimates."""

    sequences: int | None  # N, of all parts together
    steps: int | None  # T, of the longest sequence
    inputs: int | None  # D
    classes: int | None  # C
    disk_bytes: int | None  # prepared arrays that stay on disk (the user's own files count nothing)
    download_bytes: int | None  # what is fetched on first use
    train: int | None = None  # sequences of an official training part, before validation is cut off
    frame: tuple[int, int, int] | None = None  # as in Dataset
    groups: bool | None = None  # whether the sequences have groups

    def as_images(self) -> Expected:
        """The sizes of `Dataset.as_images`."""
        return replace(self, steps=1, inputs=self.steps * self.inputs, frame=(1, self.steps, self.inputs))


class NoOptions(BaseModel):
    """This source has no options."""

    model_config = ConfigDict(extra="forbid")
