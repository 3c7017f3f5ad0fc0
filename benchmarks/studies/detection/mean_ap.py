"""Mean average precision as PASCAL VOC defines it (Everingham et al., IJCV 2010): 11 points until 2009, then the area.

A detection is right if it overlaps a box of its class in its image by at least one half and no better detection has
taken that box; all others, duplicates included, are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.studies.detection.boxes import overlap

LEAST = 0.5  # overlap of a right detection


@dataclass(frozen=True)
class Found:
    """The detections in one image: boxes (N, 4), scores (N,), labels (N,)."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Truth:
    """The objects in one image: boxes (N, 4), labels (N,)."""

    boxes: Tensor
    labels: Tensor


def average_precision(recall: np.ndarray, precision: np.ndarray, eleven_points: bool) -> float:
    """Of a curve in the order of falling scores."""
    if eleven_points:
        points = np.arange(11) / 10
        return float(np.mean([precision[recall >= at - 1e-9].max(initial=0.0) for at in points]))
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def mean_ap(detected: Sequence[Found], truth: Sequence[Truth], classes: Sequence[int]) -> dict[str, float | list]:
    """`map_07`, `map_area`, and `per_class`: both for each class, None for a class without objects."""
    every = [_class_ap(detected, truth, label) for label in classes]
    known = np.array([pair for pair in every if pair is not None]).reshape(-1, 2)
    means = known.mean(0) if len(known) else np.full(2, np.nan)
    return {"map_07": float(means[0]), "map_area": float(means[1]), "per_class": every}


def _class_ap(detected: Sequence[Found], truth: Sequence[Truth], label: int) -> tuple[float, float] | None:
    objects = [scene.boxes[scene.labels == label] for scene in truth]
    total = sum(map(len, objects))
    if total == 0:
        return None
    lines = [
        (score, image, box)
        for image, scene in enumerate(detected)
        for score, box in zip(
            scene.scores[scene.labels == label].tolist(), scene.boxes[scene.labels == label], strict=True
        )
    ]  # fmt: skip
    lines.sort(key=lambda line: -line[0])
    taken, right = [torch.zeros(len(boxes), dtype=torch.bool) for boxes in objects], []
    for _, image, box in lines:
        overlaps = overlap(box[None], objects[image])[0] if len(objects[image]) else torch.zeros(0)
        best = int(overlaps.argmax()) if len(overlaps) else -1
        hit = best >= 0 and overlaps[best] >= LEAST and not taken[image][best]
        if hit:
            taken[image][best] = True
        right.append(hit)
    hits = np.cumsum(right, dtype=float) if right else np.zeros(0)
    recall, precision = hits / total, hits / np.arange(1, len(hits) + 1)
    return average_precision(recall, precision, True), average_precision(recall, precision, False)
