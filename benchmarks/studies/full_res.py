"""The Full-Res network, which keeps the resolution of its frames through all units and predicts a later frame.

Source: Malinowski et al. (CVPR 2021), supplementary, section 3: eight blocks of two 3 x 3 convolutions, each followed
by batch normalisation and ReLU, and of 3 x 3 pooling, stride one everywhere; 64 channels in the first two blocks, then
32; the last convolution has the channels of a frame, a hard tanh and no pooling. Whether the pooling is of the maximum
is not said; here it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.norm import TickNorm
from squeezebench.nn.sideways.timetable import Timetable
from squeezebench.nn.sideways.vgg import Shortcut

BLOCKS, WIDTH = 8, 32  # the paper's


class FullResBlock(nn.Module):
    """[shortcut in] -> 2 x (convolution, batch norm, ReLU) -> pooling, (B, C, H, W) -> (B, width, H, W).

    frame_channels: of the last block alone, whose second convolution makes a frame in [-1, 1], without pooling.
    """

    def __init__(
        self, channels: int, width: int, shortcut: Shortcut = "none", beside: int = 0, frame_channels: int | None = None
    ):
        super().__init__()
        self.shortcut, self.last = shortcut, frame_channels is not None
        reads = channels + (beside if shortcut == "concat" else 0)
        self.first = nn.Conv2d(reads, width, 3, padding=1, bias=False)
        self.norm = TickNorm(width)
        self.second = nn.Conv2d(width, frame_channels or width, 3, padding=1, bias=self.last)
        self.second_norm = None if self.last else TickNorm(width)
        differs = shortcut == "sum" and beside != channels
        self.adapter = nn.Conv2d(beside, channels, 1, bias=False) if differs else None

    def forward(self, h: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if shortcut is not None:
            shortcut = shortcut if self.adapter is None else self.adapter(shortcut)
            h = h + shortcut if self.shortcut == "sum" else torch.cat([h, shortcut], 1)
        h = self.second(functional.relu(self.norm(self.first(h))))
        if self.last:
            return functional.hardtanh(h)
        return functional.max_pool2d(functional.relu(self.second_norm(h)), 3, stride=1, padding=1)


class FullRes(SidewaysNet):
    """A Full-Res network on frames (C, H, W) in [-1, 1]; `frame_logits` are the predicted frames, (B, T, C, H, W).

    width: channels from the third block on, 32 in the paper; the first two have twice as many.
    """

    def __init__(
        self, frame: Sequence[int], width: int = WIDTH, shortcut: Shortcut = "none", span: int = 3, blocks: int = BLOCKS
    ):
        table = Timetable(blocks, blocks, "hold", None if shortcut == "none" else span)
        widths = [2 * width if number <= 2 else width for number in range(1, blocks)] + [frame[0]]
        channels = [frame[0], *widths]
        units = []
        for number in range(1, blocks + 1):
            direct, *others = table.sources(number)
            last = number == blocks
            units.append(
                FullResBlock(
                    channels[direct], width if last else widths[number - 1], shortcut if others else "none",
                    channels[others[0]] if others else 0, frame[0] if last else None,
                )
            )  # fmt: skip
        super().__init__(units, frame, table.span, "hold")
