"""Frames of real clips for the studies: those of J-HMDB, or of the user's part of HMDB51, as numbers in 0..1."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from squeezebench.data.task import Task, load_task
from squeezebench.data.video.prepare import prepare_local
from squeezebench.schema.task import TaskSpec

FRAMES = 32  # of a clip


def options(clips: str | None, lists: str | None, size: int, frames: int = FRAMES) -> dict[str, Any]:
    """Of the source hmdb51: the clips in these folders, or, for dry runs, four synthetic clips a class."""
    origin = {"synthetic": 4} if clips is None else {"folder": clips, "lists": lists, "subset": True}
    return {"features": "pixels", "planes": True, "size": size, "frames": frames} | origin


@cache
def _task(given: tuple[tuple[str, Any], ...]) -> Task:
    spec = TaskSpec(name="frames", source="hmdb51", options=dict(given), validation_share=0.15, normalise="none")
    prepare_local(spec)
    return load_task(spec)


def frame_shape(given: dict[str, Any]) -> tuple[int, int, int]:
    return _task(tuple(given.items())).frame


def classes(given: dict[str, Any]) -> int:
    return len(_task(tuple(given.items())).classes)


def _part(task: Task, part: str) -> tuple[Tensor, Tensor, Tensor]:
    """x (n, T, D), y (n,) and lengths (n,) of one part of the task."""
    x, lengths, labels = [], [], []
    for rows in np.array_split(np.arange(task.size(part)), -(-task.size(part) // 32)):
        batch = task.raw(part, rows)
        length = np.full(len(rows), batch.x.shape[1]) if batch.length is None else batch.length
        steps = np.minimum(np.arange(batch.x.shape[1]), length[:, None] - 1)
        held = np.take_along_axis(batch.x, steps[..., None], axis=1)
        x.append(torch.from_numpy(held / 255).half())
        lengths.append(torch.from_numpy(length))
        labels.append(torch.from_numpy(batch.y))
    return torch.cat(x), torch.cat(labels), torch.cat(lengths)


@cache
def _clips(given: tuple[tuple[str, Any], ...], part: str) -> tuple[Tensor, Tensor, Tensor]:
    parts = ("train", "validation") if part == "train" else (part,)
    return tuple(torch.cat(some) for some in zip(*(_part(_task(given), one) for one in parts), strict=True))


def clips_of(given: dict[str, Any], part: str, whole: bool = False) -> tuple[Tensor, Tensor]:
    """x (N, T, D) half precision in 0..1, y (N,), of the training part with its validation part ("train"), or of the
    test part ("test"). A clip that is shorter than T frames holds its last one; `whole` leaves such clips out."""
    x, y, length = _clips(tuple(given.items()), part)
    keep = length == x.shape[1]
    return (x[keep], y[keep]) if whole else (x, y)
