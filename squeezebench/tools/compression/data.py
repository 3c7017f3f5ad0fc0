"""A user's arrays as a task: each part is (x, y) or (x, y, length), arrays or tensors as their network reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.data.checks import check_dataset
from squeezebench.data.dataset import Dataset
from squeezebench.data.splits import Split
from squeezebench.data.task import PARTS, Task, load_task, task_spec
from squeezebench.schema.task import TaskSpec

NAME = "own"
NEEDED = ("train", "validation")
ONE_CLASS = "compress() is for one class per sequence"
FORM = "give (x, y) or (x, y, length): sequences (N, T, ...), class numbers (N,), valid steps (N,)"


@dataclass(frozen=True)
class Part:
    """One part of the data: x (N, T, ...), y (N,) int64, length (N,) int64 or None (all steps are valid)."""

    x: np.ndarray
    y: np.ndarray
    length: np.ndarray | None

    @property
    def flat(self) -> np.ndarray:
        """x as (N, T, D)."""
        return self.x.reshape(*self.x.shape[:2], -1)


def parts_of(**given: Any) -> dict[str, Part]:
    """The parts by name; a test part that is None is left out. Raises InputError if they do not fit each other."""
    for name in NEEDED:
        if given.get(name) is None:
            raise InputError(f"{name}: is None; {FORM}")
    parts = {name: _part(name, value) for name, value in given.items() if value is not None}
    first = parts["train"]
    for name, part in parts.items():
        if part.x.shape[1:] != first.x.shape[1:]:
            raise InputError(  # either may be the wrong one
                f"train and {name}: x has shape {first.x.shape} in train and {part.x.shape} in {name}; give both as "
                "(N, T, ...), where only N may differ"
            )
        if (part.length is None) != (first.length is None):
            raise InputError(f"{name}: give lengths in every part, or in none")
    return parts


def _part(name: str, given: Any) -> Part:
    given = getattr(given, "tensors", given)  # of a torch.utils.data.TensorDataset
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise InputError(f"{name}: is a {type(given).__name__}; {FORM}")
    x, y, length = (*map(_array, given), None)[:3]
    if x.ndim < 2 or x.dtype.kind not in "biuf":
        raise InputError(f"{name}: x has shape {x.shape} and dtype {x.dtype}; {FORM}")
    if 0 in x.shape:
        raise InputError(f"{name}: x has shape {x.shape}, which holds nothing; give at least one sequence of one step")
    for what, array in (("y", y), ("length", length)):
        if array is not None and (array.shape != x.shape[:1] or array.dtype.kind not in "iu"):
            right = f"it must be ({len(x)},) integers{_instead(what, array, len(x))}"
            raise InputError(f"{name}: {what} has shape {array.shape} and dtype {array.dtype}; {right}")
    return Part(x, y.astype(np.int64), None if length is None else length.astype(np.int64))


def _instead(what: str, array: np.ndarray, sequences: int) -> str:
    """What to say of labels that are those of another kind of task."""
    if what != "y" or array.shape[:1] != (sequences,):
        return ""
    if array.ndim > 1 and array.shape[1:] != (1,):
        return f". {ONE_CLASS}, not for labels of each step or of several classes at once"
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        return f". {ONE_CLASS}, not for regression"
    return f", the class numbers; {ONE_CLASS}"


def _array(value: Any) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def task_of(parts: dict[str, Part], classes: int) -> Task:
    """The task of these parts; what is not given (the test part) is empty. The data are read as they are.

    Raises InputError for numbers that are not finite and for labels outside the classes.
    """
    names = tuple(map(str, range(classes)))
    for name, part in parts.items():
        check_dataset(Dataset(name, part.flat, part.y, names, part.length))
    first, each = parts["train"], list(parts.values())
    ends = np.cumsum([0, *(len(part.y) for part in each)])
    rows = {name: np.arange(*ends[place : place + 2]) for place, name in enumerate(parts)}
    data = Dataset(
        NAME,
        np.concatenate([part.flat for part in each]),
        np.concatenate([part.y for part in each]),
        names,
        None if first.length is None else np.concatenate([part.length for part in each]),
    )
    split = Split(*(rows.get(name, np.empty(0, np.int64)) for name in PARTS))
    return Task(TaskSpec(name=NAME, normalise="none"), data, split)


def arrays(task: str, seed: int = 0) -> dict[str, tuple[np.ndarray, ...]]:
    """A task of the benchmark (`digits`, `ucr:NAME`, `file:PATH`, ...) as arrays, for `compress(model, **arrays(...))`.

    train, validation and test -> (x, y), or (x, y, length) if sequences differ in length: x (N, T, D) float32,
    normalised by the training part and zero past the end. seed: rotates the validation part.
    """
    loaded = load_task(task_spec(task), seed)
    batches = {part: loaded.batch(part, np.arange(loaded.size(part))) for part in PARTS}
    return {part: (b.x, b.y) if b.length is None else (b.x, b.y, b.length) for part, b in batches.items()}


@dataclass(frozen=True)
class Call:
    """How a network of the user's is called with a batch of the task."""

    shape: tuple[int, ...]  # of a step: () of tokens, (D,) of features, (C, H, W) of images
    integers: bool  # whether x are class numbers, tokens and the like
    lengths: bool
    time_first: bool = False

    def __call__(self, network: Callable[..., Any], x: Tensor, length: Tensor | None) -> Any:
        """network(x) or network(x, length) of x (B, T, D) float32 and length (B,)."""
        x = x.reshape(*x.shape[:2], *self.shape)
        x = x.long() if self.integers else x
        x = x.transpose(0, 1) if self.time_first else x
        if not self.lengths:
            return network(x)
        full = x.shape[0 if self.time_first else 1]
        return network(x, torch.full((x.shape[1 if self.time_first else 0],), full) if length is None else length)


class Called(nn.Module):
    """A network of the user's behind the interface of the engine: (B, T, D), (B,) -> logits (B, classes)."""

    def __init__(self, network: nn.Module, call: Call):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        return self.call(self.network, x, length)
