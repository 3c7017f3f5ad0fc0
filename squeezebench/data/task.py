"""A task: sequences (N, T, D) with labels, lengths and a split, ready for training in batches.

    TaskSpec (an entry of an experiment's `tasks:`) -> Dataset (what a source delivers) -> Task (for the runs)

Arrays stay where they are: `Dataset.x` may be a memory map larger than RAM, and a `Task` reads from it
batch by batch unless the normalised float32 copy is small. Only numpy is used here; the engine turns
batches into tensors.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.data.checks import check_classes_in_train, check_dataset
from squeezebench.data.dataset import Dataset
from squeezebench.data.frames import choose_steps
from squeezebench.data.normalise import Affine, fit
from squeezebench.data.sources import source_module
from squeezebench.data.splits import Split, groups_across, known_sequences, make_split, untested
from squeezebench.schema.kind import Kind, kind_of
from squeezebench.schema.task import TaskSpec

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
CACHE_BYTES = 1 << 29  # a task whose normalised float32 arrays need at most this much is converted once


@dataclass(frozen=True)
class Batch:
    """Sequences ready for a model: zero past `length`, normalised."""

    x: np.ndarray  # (B, T, D) float32, C-contiguous
    length: np.ndarray | None  # (B,) int64, 1..T; None: all have T steps
    y: np.ndarray  # (B,) int64


class Task:
    """A data set with its split, frame choice and normalisation. Made by `load_task`."""

    def __init__(self, spec: TaskSpec, data: Dataset, split: Split, cache_bytes: int = CACHE_BYTES) -> None:
        self.name = spec.name
        self.classes = data.classes
        self.origin = data.origin
        self.part_of = data.part_of
        self.split_digest = split.digest
        self.groups_across = groups_across(data, split)
        self.known_sequences = known_sequences(data, split)
        self.untested = "" if spec.fold is not None else untested(data, split)
        self.inputs = data.x.shape[2]
        self.steps = spec.frames or data.x.shape[1]
        self.frame = data.frame
        self.kind: Kind = kind_of(data.frame, self.steps)
        self._data = data
        self._rows = {part: split.part(part) for part in PARTS}
        self._random = spec.sampling == "random"
        self._frames = spec.frames
        self._length = np.full(len(data.y), data.x.shape[1]) if data.length is None else data.length
        used = np.concatenate([self._rows[part] for part in PARTS])
        self.has_lengths = bool((self._length[used] < self.steps).any())
        frames = None if self._random else spec.frames
        self.affine: Affine = fit(spec.normalise, data, self._rows["train"], frames)  # raw -> what models read
        self._keep_in_memory = self._float32_bytes() <= cache_bytes
        self._cache: dict[str, np.ndarray] = {}  # by part; `flipped`: the training part mirrored

    def size(self, part: Part) -> int:
        """How many sequences `part` has."""
        return len(self._rows[part])

    @property
    def background(self) -> np.ndarray | None:
        """The raw value 0 as normalised, (C,) float32. None if the steps are no images, or if the pixels of a
        channel are normalised differently: such images cannot be moved without changing them."""
        return None if self.frame is None else self.affine.zero(self.frame[0])

    def labels(self, part: Part) -> np.ndarray:
        """Class indices (n,) int64 of `part`, in the order that `batch` positions count in."""
        return self._data.y[self._rows[part]]

    def groups(self, part: Part) -> np.ndarray | None:
        """The group (n,) of each sequence of `part`, an integer or a string; None if the data set has no groups."""
        return None if self._data.group is None else self._data.group[self._rows[part]]

    def batch(self, part: Part, positions: Any, generator: np.random.Generator | None = None) -> Batch:
        """Sequences at `positions` (0..size-1) of `part`.

        With a `generator` the steps of the training part are drawn if the spec says `sampling: random`, and
        each of its sequences is mirrored or not where the data set has mirrored ones; without one, and in the
        other parts, the steps are always the uniform choice of the sequences as they are.
        Raises IndexError for positions outside the part.
        """
        positions = np.asarray(positions, dtype=np.int64).reshape(-1)
        rows = self._rows[part][positions]
        drawing = generator if self._all_steps(part) else None
        steps, length = choose_steps(self._length[rows], self.steps, self._frames, drawing)
        x = self._steps(part, positions, steps, flipped=False)
        if generator is not None and part == "train" and self._data.flipped is not None:
            mirrored = np.flatnonzero(generator.random(len(rows)) < 0.5)
            x[mirrored] = self._steps(part, positions[mirrored], steps[mirrored], flipped=True)
        _clear_padding(x, length)
        return Batch(x, length if self.has_lengths else None, self._data.y[rows])

    def raw(self, part: Part, positions: Any) -> Batch:
        """What `batch` gives in evaluation, before normalisation: the stored numbers as float32."""
        rows = self._rows[part][np.asarray(positions, dtype=np.int64).reshape(-1)]
        steps, length = choose_steps(self._length[rows], self.steps, self._frames, None)
        x = self._data.x[rows[:, None], steps].astype(np.float32)
        _clear_padding(x, length)
        return Batch(x, length if self.has_lengths else None, self._data.y[rows])

    def _steps(self, part: Part, positions: np.ndarray, steps: np.ndarray, flipped: bool) -> np.ndarray:
        """(B,), (B, F) -> (B, F, D) normalised, a new array; from memory if the part is kept there."""
        if not self._keep_in_memory:
            return self._read(self._rows[part][positions], steps, flipped)
        if self._all_steps(part):
            return self._cached(part, flipped)[positions[:, None], steps]
        return self._cached(part, flipped)[positions]

    def _all_steps(self, part: Part) -> bool:
        """Training with random steps needs every step in memory; everything else only the chosen ones."""
        return self._random and part == "train"

    def _cached(self, part: Part, flipped: bool) -> np.ndarray:
        """The normalised part in memory, (n, steps or T, D) float32, converted in pieces on first use."""
        name = "flipped" if flipped else part
        if name not in self._cache:
            rows = self._rows[part]
            if self._all_steps(part):
                steps = np.broadcast_to(np.arange(self._data.x.shape[1]), (len(rows), self._data.x.shape[1]))
            else:
                steps, _ = choose_steps(self._length[rows], self.steps, self._frames, None)
            out = np.empty((*steps.shape, self.inputs), np.float32)
            piece = max(1, (16 << 20) // (4 * max(1, steps.shape[1] * self.inputs)))
            for start in range(0, len(rows), piece):
                piece_rows = slice(start, start + piece)
                out[piece_rows] = self._read(rows[piece_rows], steps[piece_rows], flipped)
            self._cache[name] = out
        return self._cache[name]

    def _read(self, rows: np.ndarray, steps: np.ndarray, flipped: bool) -> np.ndarray:
        """(B,), (B, F) -> (B, F, D): only the chosen steps are touched on disk."""
        raw = (self._data.flipped if flipped else self._data.x)[rows[:, None], steps]
        return self.affine.apply(np.ascontiguousarray(raw))

    def _float32_bytes(self) -> int:
        steps = sum(
            self.size(part)
            * (self._data.x.shape[1] if self._all_steps(part) else self.steps)
            * (2 if part == "train" and self._data.flipped is not None else 1)
            for part in PARTS
        )
        return 4 * self.inputs * steps


def _clear_padding(x: np.ndarray, length: np.ndarray) -> None:
    """Zero past the end in place (an assignment, so that NaN in the padding goes as well)."""
    steps = x.shape[1]
    if (length < steps).any():
        x[np.arange(steps)[None, :] >= length[:, None]] = 0.0


def load_task(
    spec: TaskSpec, seed: int = 0, cache_bytes: int = CACHE_BYTES, plugins: Iterable[str | Path] = ()
) -> Task:
    """Load, check, split and normalise.

    seed: the run's; it rotates the validation part and nothing else. plugins: where the source is looked for, beside
    those of squeezebench.

    Raises InputError, in one line, for everything that can be wrong with the data or the spec.
    """
    if seed < 0:
        raise InputError(f"task {spec.name}: seed is {seed}; seeds are 0 or more")
    data = dataset_of(spec, plugins)
    check_frames(spec, data.name, data.x.shape[1])
    split = split_of(spec, data, source_module(spec.source, plugins).DEFAULT_SPLIT, seed)
    check_classes_in_train(data, split)
    return Task(spec, data, split, cache_bytes)


def dataset_of(spec: TaskSpec, plugins: Iterable[str | Path] = ()) -> Dataset:
    """The checked data of a task, which this process and those that it forks load once. Raises InputError."""
    module = source_module(spec.source, plugins)
    options = parse_options(spec, plugins)
    stamp = module.stamp(options) if hasattr(module, "stamp") else ""
    return _dataset(spec.source, module, options.model_dump_json(), stamp)


def check_frames(spec: TaskSpec, where: str, steps: int) -> None:
    """Raises InputError if more frames are asked for than `where` has steps."""
    if spec.frames is not None and spec.frames > steps:
        raise InputError(f"task {spec.name}: frames is {spec.frames}, but {where} has {steps} steps")


def split_of(spec: TaskSpec, data: Dataset, default: str | None, seed: int) -> Split:
    """The split of a run with this seed. default: the rule of the data's source. Raises InputError."""
    return make_split(
        data, spec.split or default, test_share=spec.test_share, validation_share=spec.validation_share,
        split_seed=spec.split_seed, seed=seed, fold=spec.fold, folds=spec.folds,
    )  # fmt: skip


def parse_options(spec: TaskSpec, plugins: Iterable[str | Path] = ()) -> BaseModel:
    """The spec's options as its source's own `Options`. Raises InputError naming the wrong option."""
    model = source_module(spec.source, plugins).Options
    try:
        return model.model_validate(spec.options)
    except ValidationError as error:
        problem, known = first_problem(error), ", ".join(model.model_fields) or "none"
        which = f"option {problem.place}" if problem.path else "options"
        raise InputError(
            f"task {spec.name}: {which} of source {spec.source}: {problem.message} (its options: {known})"
        ) from None


@lru_cache(maxsize=1)
def _dataset(source: str, module: ModuleType, options: str, stamp: str) -> Dataset:
    """Load and check once per process: the seeds of a job share the data set. `stamp` is part of the key."""
    try:
        data = module.load(module.Options.model_validate_json(options))
    except MemoryError:
        raise InputError(
            f"{source}: the data do not fit in memory; a folder of .npy files (source: file) is memory-mapped"
        ) from None
    check_dataset(data)
    return data


def task_spec(text: str, plugins: Iterable[str | Path] = ()) -> TaskSpec:
    """The command line's short form: `digits`, `file:PATH`, `ucr:NAME` (main option after a colon)."""
    source, colon, value = text.partition(":")
    module = source_module(source, plugins)
    if not colon:
        return TaskSpec(name=source)
    main = getattr(module, "MAIN_OPTION", None)
    if main is None or not value:
        takes = f"takes its {main} after the colon" if main else "takes nothing after its name"
        raise InputError(f"task {text!r}: source {source} {takes}")
    stem = PurePath(value).stem if main in ("path", "folder") else value
    name = "".join(c if (c.isascii() and c.isalnum()) or c in "._-" else "-" for c in stem).strip("._-")
    return TaskSpec(name=name or source, source=source, options={main: value})
