"""Layers that may have no channels at all, and the small parts that a compact network is made from.

A layer that a mask emptied is a layer of width 0. Torch refuses some operations on 0 channels; the classes below do
what the mathematics says (an empty sum is 0), so that an emptied network is still a plain network of its class.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv2d(nn.Conv2d):
    """A square convolution, (N, C, H, W) -> (N, O, H', W'), that may read or give 0 channels.

    depthwise: every channel by itself, which needs `inputs` == `outputs`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        depthwise: bool = False,
    ):
        if depthwise and inputs != outputs:
            raise ValueError(f"a depthwise convolution has as many outputs as inputs, got {inputs} and {outputs}")
        groups = max(1, inputs) if depthwise else 1
        super().__init__(max(1, inputs), max(1, outputs), kernel, stride, padding, groups=groups, bias=bias)
        self.depthwise = depthwise
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if bias:
            nn.init.zeros_(self.bias)
        if not inputs * outputs:
            self.assign(self.weight.detach()[:outputs, : 1 if depthwise else inputs], self.bias)

    def assign(self, weight: Tensor, bias: Tensor | None) -> None:
        """Take `weight` (O, C, K, K) and `bias` (O,) or None as they are; the widths follow."""
        self.out_channels = len(weight)
        self.in_channels = self.out_channels if self.depthwise else weight.shape[1]
        self.groups = max(1, self.in_channels) if self.depthwise else 1
        self.weight = nn.Parameter(weight.detach().clone())
        self.bias = None if bias is None else nn.Parameter(bias.detach()[: self.out_channels].clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.numel():
            return super().forward(x)
        kernel, stride, padding = self.kernel_size[0], self.stride[0], self.padding[0]
        size = [(side + 2 * padding - kernel) // stride + 1 for side in x.shape[2:]]
        y = x.new_zeros(len(x), self.out_channels, *size)
        return y if self.bias is None else y + self.bias[:, None, None]


class Linear(nn.Linear):
    """A linear layer that may read or give 0 features."""

    def reset_parameters(self) -> None:
        if self.weight.numel():
            super().reset_parameters()
        else:
            nn.init.zeros_(self.bias)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that passes 0 channels on."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if self.num_features else x


class MaxPool2d(nn.MaxPool2d):
    """Maximum pooling that passes 0 channels on at their new size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[1] else _shrunk(super().forward, x)


class AvgPool2d(nn.AvgPool2d):
    """Average pooling that passes 0 channels on at their new size."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.shape[1] else _shrunk(super().forward, x)


def _shrunk(pool, x: Tensor) -> Tensor:
    """The (N, 0, H', W') that `pool` would give."""
    return x.new_zeros(len(x), 0, *pool(x.new_zeros(1, 1, *x.shape[2:])).shape[2:])


class GlobalAverage(nn.Module):
    """(N, C, H, W) -> (N, C), the mean over the map."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Select(nn.Module):
    """(N, ...) -> (N, k): all elements in a row, of which a compact network reads only some.

    size: elements there are, F.  kept: how many of them are read; None: all.  The buffer `index` (k,) says which.
    """

    def __init__(self, size: int, kept: int | None = None):
        super().__init__()
        self.size = size
        self.register_buffer("index", None if kept is None else torch.zeros(kept, dtype=torch.int32))

    @property
    def kept(self) -> int:
        return self.size if self.index is None else self.index.numel()

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x if self.index is None else x.index_select(1, self.index)

    def extra_repr(self) -> str:
        return f"{self.size}, kept={self.kept}"


class PaddedShortcut(nn.Module):
    """Option A of He et al. (CVPR 2016): every `stride`-th pixel, and zeros for the channels that are new.

    front, back: how many channels of zeros go before and after the C that come in; (N, C, H, W) -> (N, C', H', W').
    """

    def __init__(self, front: int, back: int, stride: int):
        super().__init__()
        self.front, self.back, self.stride = front, back, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.front, self.back))

    def extra_repr(self) -> str:
        return f"{self.front}, {self.back}, stride={self.stride}"


class Shift(nn.Module):
    """A constant for each channel: what is left of a residual branch none of whose inner channels stays."""

    def __init__(self, channels: int):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]
