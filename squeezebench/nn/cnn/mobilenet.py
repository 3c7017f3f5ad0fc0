"""MobileNetV2 at any widths, for 32 x 32 images.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018), Table 2. For CIFAR the
first convolution and the first block of the second stage keep the map's size, as is usual; the shortcuts are the
paper's own (only where neither size nor width changes).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.cnn.parts import BatchNorm2d, Conv2d, GlobalAverage, Linear, Shift
from squeezebench.nn.registry import register


class InvertedResidual(nn.Module):
    """project(depthwise(expand(x))) [+ x], (N, C, H, W) -> (N, out, H', W').

    inner: channels between; `expand` False: the depthwise convolution reads x itself and inner = C.
    inner 0 with a shortcut: nothing is left of the branch but a constant for each channel.
    """

    def __init__(self, inputs: int, inner: int, out: int, stride: int, residual: bool, expand: bool = True):
        super().__init__()
        self.stride, self.residual, self.expands, self.branch = stride, residual, expand, None
        if residual and not inner and expand:
            self.shift = Shift(out)
            return
        layers: list[nn.Module] = []
        if expand:
            layers += [Conv2d(inputs, inner, 1, bias=False), BatchNorm2d(inner), nn.ReLU6()]
        layers += [Conv2d(inner, inner, 3, stride, 1, bias=False, depthwise=True), BatchNorm2d(inner), nn.ReLU6()]
        self.branch = nn.Sequential(*layers, Conv2d(inner, out, 1, bias=False), BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        if self.branch is None:
            return self.shift(x)
        return x + self.branch(x) if self.residual else self.branch(x)

    @property
    def inner(self) -> int:
        return 0 if self.branch is None else self.branch[-2].in_channels

    @property
    def out(self) -> int:
        return self.shift.bias.numel() if self.branch is None else self.branch[-2].out_channels

    @torch.no_grad()
    def tidy(self) -> None:
        """An empty branch beside a shortcut becomes the constant that it gives. Exact at evaluation."""
        if self.branch is None or self.inner or not self.residual or not self.expands:
            return
        first = self.branch[0]
        left = self.branch.eval()(first.weight.new_zeros(1, first.in_channels, 1, 1)).flatten()
        self.branch, self.shift = None, Shift(len(left)).to(left)
        self.shift.bias.copy_(left)

    def spec(self) -> dict[str, Any]:
        return {
            "inner": self.inner,
            "out": self.out,
            "stride": self.stride,
            "residual": self.residual,
            "expand": self.expands,
        }


@register
class MobileNetV2(nn.Module):
    """(N, C, H, W) -> logits (N, classes); blocks: one spec for each block; last: channels before the mean.

    classes None: the mean of the last map is given, (N, last).
    """

    def __init__(
        self, stem: int, blocks: Sequence[dict[str, Any]], last: int, classes: int | None = 10, channels: int = 3
    ):
        super().__init__()
        self.stem = nn.Sequential(Conv2d(channels, stem, 3, 1, 1, bias=False), BatchNorm2d(stem), nn.ReLU6())
        built, width = [], stem
        for block in blocks:
            built.append(InvertedResidual(width, **block))
            width = block["out"]
        self.blocks = nn.Sequential(*built)
        self.last = nn.Sequential(Conv2d(width, last, 1, bias=False), BatchNorm2d(last), nn.ReLU6())
        self.avgpool = GlobalAverage()
        self.fc = None if classes is None else Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.last(self.blocks(self.stem(x))))
        return x if self.fc is None else self.fc(x)

    def widths(self) -> list[int]:
        """Stem, inner and outer width of each block, channels before the mean."""
        between = [w for block in self.blocks for w in (block.inner, block.out)]
        return [self.stem[0].out_channels, *between, self.last[0].out_channels]

    def spec(self) -> dict[str, Any]:
        return {
            "class": "MobileNetV2",
            "stem": self.stem[0].out_channels,
            "blocks": [block.spec() for block in self.blocks],
            "last": self.last[0].out_channels,
            "classes": None if self.fc is None else self.fc.out_features,
            "channels": self.stem[0].in_channels,
        }


# expansion, channels, blocks, stride of the first one (Table 2; the second stage strides by 1 on 32 x 32 images)
TABLE_2 = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def mobilenet_v2(
    classes: int | None = 10,
    rows: Sequence[tuple[int, int, int, int]] = TABLE_2,
    stem: int = 32,
    last: int = 1280,
    channels: int = 3,
) -> MobileNetV2:
    """The network of Table 2 for 32 x 32 images; smaller ones by other rows."""
    blocks, width = [], stem
    for expansion, out, count, first in rows:
        for n in range(count):
            stride = first if n == 0 else 1
            residual = stride == 1 and width == out
            inner = width * expansion
            blocks.append({"inner": inner, "out": out, "stride": stride, "residual": residual, "expand": expansion > 1})
            width = out
    return MobileNetV2(stem, blocks, last, classes, channels)
