"""Modules that take their time without a core: what a pipeline of more devices than this machine has cores would do.

The file imports torch alone, because every process of a pipeline imports it.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


class Nap(torch.autograd.Function):
    """Takes `seconds` in the forward and twice as long in the backward pass, as arithmetic does."""

    @staticmethod
    def forward(context, h: Tensor, seconds: float) -> Tensor:
        context.seconds = seconds
        time.sleep(seconds)
        return h.clone()

    @staticmethod
    def backward(context, gradient: Tensor):
        time.sleep(2 * context.seconds)
        return gradient, None


class Sleeper(nn.Module):
    """A module that takes `seconds` for a frame of `clips` clips, in proportion for more of them, without a core."""

    def __init__(self, width: int, seconds: float, clips: int):
        super().__init__()
        self.scale, self.seconds = nn.Parameter(torch.ones(width)), seconds / clips

    def forward(self, h: Tensor) -> Tensor:
        return Nap.apply(h * self.scale, self.seconds * len(h))
