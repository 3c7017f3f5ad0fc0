"""Videos put together from several clips of a batch: jumps that break the smoothness Sideways relies on."""

from __future__ import annotations

import torch
from torch import Tensor

from squeezebench.base.errors import InputError


def montage(x: Tensor, y: Tensor, clips: int, interleaved: bool = False) -> tuple[Tensor, Tensor]:
    """x (B, T, D), y (B,) -> videos (B, clips * T, D) and a label for each frame, (B, clips * T).

    Each video is a clip and the `clips - 1` that follow it in the batch (the first ones after the last), one after the
    other, or `interleaved`: the first frame of each, then the second of each, ... Source: Malinowski et al. (CVPR
    2021), supplementary, section 6, "montage shots". Raises InputError where the batch has fewer clips than a video.
    """
    if not 1 <= clips <= len(x):
        raise InputError(f"a montage of {clips} clips from a batch of {len(x)}: it must be 1..{len(x)}")
    batch, steps, inputs = x.shape
    axis = 2 if interleaved else 1
    videos = torch.stack([x.roll(-shift, 0) for shift in range(clips)], axis).reshape(batch, clips * steps, inputs)
    labels = torch.stack([y.roll(-shift, 0)[:, None].expand(-1, steps) for shift in range(clips)], axis)
    return videos, labels.reshape(batch, clips * steps)
