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


@dataclass(frozen=True)
class Ranked:
    """What was detected of one class, in the order of falling scores: the image of each and whether it is right, both
    (N,); and the objects of the class in each image, (images,)."""

    image: np.ndarray
    right: np.ndarray
    objects: np.ndarray

    def precision(self, drawn: np.ndarray | None = None) -> tuple[float, float] | None:
        """Average precision by 11 points and by area; None if there are no objects. drawn: how often each image counts,
        (images,), once by default."""
        weight = np.ones(len(self.objects)) if drawn is None else drawn
        total = (weight * self.objects).sum()
        if total == 0:
            return None
        each = weight[self.image]
        hits = np.cumsum(each * self.right)
        recall, precision = hits / total, hits / np.maximum(np.cumsum(each), 1)
        return average_precision(recall, precision, True), average_precision(recall, precision, False)


def ranked(detected: Sequence[Found], truth: Sequence[Truth], label: int) -> Ranked:
    """The detections of one class in all images."""
    objects = [scene.boxes[scene.labels == label] for scene in truth]
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
        hit = best >= 0 and bool(overlaps[best] >= LEAST) and not taken[image][best]
        if hit:
            taken[image][best] = True
        right.append(hit)
    places = np.array([image for _, image, _ in lines], dtype=np.int32)
    return Ranked(places, np.array(right, dtype=bool), np.array([len(boxes) for boxes in objects], dtype=np.int32))


def mean_ap(classes: Sequence[Ranked], drawn: np.ndarray | None = None) -> dict[str, float | list]:
    """`map_07`, `map_area`, and `per_class`: both for each class, None for a class without objects."""
    every = [entry.precision(drawn) for entry in classes]
    known = np.array([pair for pair in every if pair is not None]).reshape(-1, 2)
    means = known.mean(0) if len(known) else np.full(2, np.nan)
    return {"map_07": float(means[0]), "map_area": float(means[1]), "per_class": every}
