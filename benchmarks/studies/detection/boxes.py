"""Boxes (left, top, right, bottom): their overlap, and greedy suppression without a compiled operator."""

from __future__ import annotations

import torch
from torch import Tensor


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """(N, 4), (M, 4) -> (N, M): intersection over union, 0 if both are empty."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(2)
    area_a, area_b = ((box[:, 2:] - box[:, :2]).prod(1) for box in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    return torch.where(union > 0, shared / union, 0.0)


def suppressed(boxes: Tensor, scores: Tensor, labels: Tensor, most: float, count: int) -> Tensor:
    """Indices of the boxes that stay, best first, `count` at most: a box goes if a better one of its class that stays
    overlaps it by more than `most` (non-maximum suppression)."""
    order = scores.argsort(descending=True, stable=True)
    boxes, labels = boxes[order], labels[order]
    covers = (overlap(boxes, boxes) > most) & (labels[:, None] == labels[None])
    stays, kept = torch.ones(len(order), dtype=torch.bool), []
    for place, row in enumerate(covers.cpu()):
        if stays[place]:
            kept.append(place)
            if len(kept) == count:
                break
            stays &= ~row
    return order[torch.tensor(kept, dtype=torch.long, device=order.device)]
