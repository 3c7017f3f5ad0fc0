"""The small synthetic tasks on which the contract of methods is checked."""

from __future__ import annotations

import numpy as np

from squeezebench.data.dataset import Dataset
from squeezebench.data.splits import make_split
from squeezebench.data.task import Task
from squeezebench.schema.kind import Kind
from squeezebench.schema.task import TaskSpec

STEPS, CLASSES = 7, 3
_INPUTS, _SIDE = 6, 8  # features of a step; pixels of a side of an image


def tiny_task(kind: Kind = "sequence") -> Task:
    """Return a task of 60 examples in 3 classes.

    The classes of sequences (T <= 7, D = 6, of variable length) differ in the direction of a drift. Those of images
    (1, 8, 8) differ in the pixels that are bright. A video is 7 such images.
    """
    return _tiny_sequences() if kind == "sequence" else _tiny_images(1 if kind == "image" else STEPS)


def _tiny_images(steps: int) -> Task:
    rng = np.random.default_rng(0)
    y = np.arange(60) % CLASSES
    places = rng.normal(size=(CLASSES, _SIDE * _SIDE))
    x = (places[y] + rng.normal(size=(60, _SIDE * _SIDE)))[:, None] + 0.3 * rng.normal(size=(60, steps, _SIDE * _SIDE))
    return _split(Dataset("synthetic", x.astype(np.float32), y, ("a", "b", "c"), frame=(1, _SIDE, _SIDE)))


def _tiny_sequences() -> Task:
    rng = np.random.default_rng(0)
    y = np.arange(60) % CLASSES
    length = rng.integers(3, STEPS + 1, 60)
    directions = rng.normal(size=(CLASSES, _INPUTS))
    x = directions[y][:, None] * np.arange(1, STEPS + 1)[:, None] / STEPS + 0.3 * rng.normal(size=(60, STEPS, _INPUTS))
    return _split(Dataset("synthetic", x.astype(np.float32), y, ("a", "b", "c"), length=length))


def _split(data: Dataset) -> Task:
    spec = TaskSpec(name="contract", source="synthetic")
    return Task(spec, data, make_split(data, "random", test_share=0.3, validation_share=0.2, split_seed=0, seed=0))
