"""VGG-like networks for small videos, one or more convolutions a unit, with or without shortcuts between the units.

Sources: Malinowski et al. (CVPR 2021), supplementary, sections 2 and 3: "For VGG8, we put each layer of the network
into a single Skip-Sideways unit"; of VGG16 "we group two consecutive layers"; 3 x 3 convolutions, batch normalisation
just before ReLU. Widths, the places of the pooling and the head are chosen for frames of 16 to 32 pixels, not the
paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from squeezebench.base.errors import InputError
from squeezebench.nn.protocol import Structure
from squeezebench.nn.registry import register
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.norm import TickNorm
from squeezebench.nn.sideways.timetable import Flush, Timetable

Shortcut = Literal["none", "sum", "concat"]

FORMS = {  # name -> (widths of the units in multiples of the narrowest, units that end in pooling)
    "vgg_3": ((1, 2, 3), ()),
    "vgg_4": ((1, 1, 2, 4), (2, 3)),
    "vgg_8": ((1, 1, 1, 1, 2, 2, 2, 2), (1, 4, 6)),
}


class VGGUnit(nn.Module):
    """[shortcut in] -> `layers` x (3 x 3 convolution, batch norm, ReLU) -> [2 x 2 max pooling] -> [mean over space,
    linear].

    h (B, C, H, W), shortcut (B, C', H', W') of an earlier unit, averaged down to H x W
        `sum`: added, through a 1 x 1 convolution without bias if C' differs from C.
        `concat`: beside h as further input channels of the convolution.
    classes: the top unit's head, (B, classes) instead of (B, width, H, W).
    unshuffle: r > 1 turns h, the frame, into (B, r * r * C, H / r, W / r) first ("space-to-depth", section 4).
    """

    def __init__(
        self,
        channels: int,
        width: int,
        pool: bool = False,
        shortcut: Shortcut = "none",
        shortcut_channels: int = 0,
        classes: int | None = None,
        unshuffle: int = 1,
        layers: int = 1,
    ):
        super().__init__()
        self.shortcut, self.pool, self.unshuffle = shortcut, pool, unshuffle
        channels *= unshuffle**2
        reads = channels + (shortcut_channels if shortcut == "concat" else 0)
        self.convolution = nn.Conv2d(reads, width, 3, padding=1, bias=False)
        self.norm = TickNorm(width)
        self.further = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), TickNorm(width), nn.ReLU())
                for _ in range(layers - 1)
            )
        )
        differs = shortcut == "sum" and shortcut_channels != channels
        self.adapter = nn.Conv2d(shortcut_channels, channels, 1, bias=False) if differs else None
        self.head = None if classes is None else nn.Linear(width, classes)

    def forward(self, h: Tensor, shortcut: Tensor | None = None) -> Tensor:
        if shortcut is not None:
            if shortcut.shape[-2:] != h.shape[-2:]:
                shortcut = functional.adaptive_avg_pool2d(shortcut, h.shape[-2:])
            if self.adapter is not None:
                shortcut = self.adapter(shortcut)
            h = h + shortcut if self.shortcut == "sum" else torch.cat([h, shortcut], 1)
        if self.unshuffle > 1:
            h = functional.pixel_unshuffle(h, self.unshuffle)
        h = self.further(functional.relu(self.norm(self.convolution(h))))
        if self.pool:
            h = functional.max_pool2d(h, 2)
        return h if self.head is None else self.head(h.mean((-2, -1)))


@register
class VideoVGG(SidewaysNet):
    """A VGG of D = len(widths) units on frames (C, H, W); unit l has widths[l - 1] channels.

    pools: the units (from 1) that end in 2 x 2 pooling. layers: convolutions of a unit. unshuffle: the first unit's
    space-to-depth. shortcut, span: see SidewaysNet; span matters only if there are shortcuts. The top unit ends in the
    mean over space and a linear layer.
    Raises InputError if the frame is too small for so many poolings.
    """

    def __init__(
        self,
        frame: Sequence[int],
        classes: int,
        widths: Sequence[int],
        pools: Sequence[int] = (),
        shortcut: Shortcut = "none",
        span: int = 3,
        flush: Flush = "hold",
        unshuffle: int = 1,
        layers: int = 1,
    ):
        if len(frame) != 3:
            raise InputError(f"a frame is (channels, height, width), not {tuple(frame)}")
        if any(side % unshuffle for side in frame[1:]):
            raise InputError(f"frames of {frame[1]} x {frame[2]} pixels do not divide into patches of {unshuffle}")
        if min(frame[1:]) < unshuffle * 2 ** len(pools):
            raise InputError(
                f"frames of {frame[1]} x {frame[2]} pixels are too small for patches of {unshuffle} "
                f"and {len(pools)} poolings"
            )
        table = Timetable(len(widths), len(widths), flush, None if shortcut == "none" else span)
        channels = [frame[0], *widths]
        units = []
        for number, width in enumerate(widths, 1):
            direct, *others = table.sources(number)
            units.append(
                VGGUnit(
                    channels[direct], width, number in pools,
                    shortcut if others else "none", channels[others[0]] if others else 0,
                    classes if number == len(widths) else None, unshuffle if number == 1 else 1, layers,
                )
            )  # fmt: skip
        super().__init__(units, frame, table.span, flush)
        self._spec = {"frame": list(frame), "classes": classes, "widths": list(widths), "pools": list(pools),
                      "shortcut": shortcut, "span": span, "unshuffle": unshuffle,
                      "layers": layers}  # fmt: skip

    @property
    def inputs(self) -> int:
        """D, numbers of a frame."""
        return prod(self.shape)

    def structure(self) -> Structure:
        """The widths of the units."""
        return Structure(widths=list(self._spec["widths"]))

    def counts(self) -> dict[str, int]:
        """The weights of its convolutions and of its linear layer."""
        return {"weights": sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear))}

    def macs(self, steps: int) -> int:
        """Multiply-accumulates of a clip of `steps` frames: each layer's weights times the positions of its map."""
        height, width = (side // self._spec["unshuffle"] for side in self.shape[1:])
        total = 0
        for unit in self.units:
            convolutions = (module for module in unit.modules() if isinstance(module, nn.Conv2d))
            total += height * width * sum(convolution.weight.numel() for convolution in convolutions)
            height, width = (side // 2 if unit.pool else side for side in (height, width))
        return steps * (total + unit.head.weight.numel())

    def spec(self) -> dict[str, Any]:
        """The arguments of the constructor, for `nn.registry.module_from_spec` (JSON)."""
        return {"class": "VideoVGG", **self._spec, "flush": self.flush}


def video_vgg(
    name: str, frame: Sequence[int], classes: int, width: int = 16, shortcut: Shortcut = "none", span: int = 3,
    flush: Flush = "hold", unshuffle: int = 1, layers: int = 1,
) -> VideoVGG:  # fmt: skip
    """One of FORMS for frames (C, H, W), its narrowest units of `width` channels."""
    widths, pools = FORMS[name]
    return VideoVGG(frame, classes, [width * factor for factor in widths], pools, shortcut, span, flush, unshuffle,
                    layers)  # fmt: skip


@cache
def video_vgg_weights(
    name: str, frame: tuple[int, int, int], classes: int, width: int, shortcut: Shortcut, span: int,
    unshuffle: int = 1, layers: int = 1,
) -> int:  # fmt: skip
    """Weights of its convolutions and its linear layer, neither biases nor norms, without making their values."""
    with torch.device("meta"):
        network = video_vgg(name, frame, classes, width, shortcut, span, unshuffle=unshuffle, layers=layers)
    return network.counts()["weights"]
