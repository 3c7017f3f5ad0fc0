"""ResNets at any widths: ResNet-56 and -110 for 32 x 32 images, ResNet-50 for ImageNet.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (CVPR 2016), Sections 3.3 and 4.2;
ResNet-50 strides in the 3x3 convolution and names its parts as torchvision does, so that torchvision's weights load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.cnn.parts import BatchNorm2d, Conv2d, GlobalAverage, Linear, MaxPool2d, PaddedShortcut, Shift
from squeezebench.nn.registry import register


class Block(nn.Module):
    """relu(shortcut(x) + branch(x)), (N, C, H, W) -> (N, out, H', W').

    inner: widths inside the branch: one (two 3x3 convolutions) or two (1x1, 3x3, 1x1); empty: no branch is left but
    a constant for each channel.  shortcut: None (x itself), "conv" (option B) or (front, back) zeros (option A).
    """

    def __init__(
        self, inputs: int, inner: Sequence[int], out: int, stride: int = 1, shortcut: str | Sequence[int] | None = None
    ):
        super().__init__()
        self.stride = stride
        kernels = {0: [], 1: [(3, stride), (3, 1)], 2: [(1, 1), (3, stride), (1, 1)]}[len(inner)]
        widths = [inputs, *inner, out]
        self.depth = len(kernels)
        for k, (kernel, step) in enumerate(kernels):
            conv = Conv2d(widths[k], widths[k + 1], kernel, step, kernel // 2, bias=False)
            self.add_module(f"conv{k + 1}", conv)
            self.add_module(f"bn{k + 1}", BatchNorm2d(widths[k + 1]))
            self.add_module(f"relu{k + 1}", nn.ReLU())
        if not kernels:
            self.shift, self.relu = Shift(out), nn.ReLU()
        self.downsample: nn.Module | None = None
        if shortcut == "conv":
            self.downsample = nn.Sequential(Conv2d(inputs, out, 1, stride, bias=False), BatchNorm2d(out))
        elif shortcut is not None:
            self.downsample = PaddedShortcut(*shortcut, stride)

    def _parts(self, k: int) -> tuple[nn.Module, nn.Module, nn.Module]:
        return getattr(self, f"conv{k}"), getattr(self, f"bn{k}"), getattr(self, f"relu{k}")

    def branch(self, x: Tensor) -> Tensor:
        for k in range(1, self.depth + 1):
            conv, norm, relu = self._parts(k)
            x = norm(conv(x))
            if k < self.depth:
                x = relu(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        if not self.depth:
            return self.relu(self.shift(short))
        return self._parts(self.depth)[2](short + self.branch(x))

    @property
    def inner(self) -> list[int]:
        return [self._parts(k)[0].out_channels for k in range(1, self.depth)]

    @torch.no_grad()
    def tidy(self) -> None:
        """A branch with an empty layer gives a constant: it becomes that constant. Exact at evaluation."""
        if not self.depth or all(self.inner):
            return
        first, training = self.conv1, self.training
        left = self.eval().branch(first.weight.new_zeros(1, first.in_channels, 1, 1)).flatten()
        for k in range(1, self.depth + 1):
            for name in (f"conv{k}", f"bn{k}", f"relu{k}"):
                delattr(self, name)
        self.depth, self.shift, self.relu = 0, Shift(len(left)).to(left), nn.ReLU()
        self.shift.bias.copy_(left)
        self.train(training)

    def spec(self) -> dict[str, Any]:
        short = self.downsample
        if isinstance(short, PaddedShortcut):
            form: Any = [short.front, short.back]
        else:
            form = None if short is None else "conv"
        return {"inner": self.inner, "stride": self.stride, "shortcut": form}


@register
class ResNet(nn.Module):
    """(N, C, H, W) -> logits (N, classes).

    stem: {"form": "cifar" (3x3) or "imagenet" (7x7, stride 2, pooling), "width": its channels}
    stages: one for each size of the map, {"out": channels of the stream, "blocks": [a block's spec, ...]}
    classes None: the mean of the last map is given, (N, features).
    """

    def __init__(
        self, stem: dict[str, Any], stages: Sequence[dict[str, Any]], classes: int | None = 10, channels: int = 3
    ):
        super().__init__()
        width, self.form = stem["width"], stem["form"]
        large = self.form == "imagenet"
        self.conv1 = Conv2d(channels, width, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False)
        self.bn1, self.relu = BatchNorm2d(width), nn.ReLU()
        self.maxpool = MaxPool2d(3, 2, 1) if large else None
        self.stages = len(stages)
        for k, stage in enumerate(stages, 1):
            blocks = []
            for block in stage["blocks"]:
                blocks.append(Block(width, block["inner"], stage["out"], block["stride"], block["shortcut"]))
                width = stage["out"]
            self.add_module(f"layer{k}", nn.Sequential(*blocks))
        self.avgpool = GlobalAverage()
        self.fc = None if classes is None else Linear(width, classes)

    def features(self, x: Tensor) -> list[Tensor]:
        """The map after each stage, from the largest to the smallest: what a detector reads."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = x if self.maxpool is None else self.maxpool(x)
        maps = []
        for k in range(1, self.stages + 1):
            x = getattr(self, f"layer{k}")(x)
            maps.append(x)
        return maps

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x)[-1])
        return x if self.fc is None else self.fc(x)

    def widths(self) -> list[int]:
        """Stem, then for each stage the inner widths of its blocks (0 of one that is gone), the stream's width."""
        widths = [self.conv1.out_channels]
        inner = [[block.inner for block in getattr(self, f"layer{k}")] for k in range(1, self.stages + 1)]
        gone = [0] * max([1, *(len(widths) for stage in inner for widths in stage)])
        for k, stage in enumerate(inner, 1):
            widths += [w for of_block in stage for w in of_block or gone] + [self.stream_width(k)]
        return widths

    def stream_width(self, k: int) -> int:
        """Channels of the map after stage k, from 1."""
        block = getattr(self, f"layer{k}")[-1]
        return block.shift.bias.numel() if not block.depth else block._parts(block.depth)[0].out_channels

    def spec(self) -> dict[str, Any]:
        return {
            "class": "ResNet",
            "stem": {"form": self.form, "width": self.conv1.out_channels},
            "stages": [
                {"out": self.stream_width(k), "blocks": [block.spec() for block in getattr(self, f"layer{k}")]}
                for k in range(1, self.stages + 1)
            ],
            "classes": None if self.fc is None else self.fc.out_features,
            "channels": self.conv1.in_channels,
        }


def cifar_resnet(
    depth: int = 56, classes: int | None = 10, shortcut: str = "A", width: int = 16, channels: int = 3
) -> ResNet:
    """He et al., Section 4.2: 6n + 2 layers, three stages of w, 2w and 4w channels; shortcuts of option A or B."""
    if depth < 8 or (depth - 2) % 6 or shortcut not in ("A", "B"):
        raise ValueError(f"depth must be 6n + 2 and the shortcut A or B, got {depth} and {shortcut!r}")
    stages = []
    for k in range(3):
        out, blocks = width * 2**k, []
        for n in range((depth - 2) // 6):
            new = k > 0 and n == 0
            short: Any = None if not new else "conv" if shortcut == "B" else [out // 4, out // 2 - out // 4]
            blocks.append({"inner": [out], "stride": 2 if new else 1, "shortcut": short})
        stages.append({"out": out, "blocks": blocks})
    return ResNet({"form": "cifar", "width": width}, stages, classes, channels)


def resnet50(
    classes: int | None = 1000,
    width: int = 64,
    counts: Sequence[int] = (3, 4, 6, 3),
    channels: int = 3,
    form: str = "imagenet",
) -> ResNet:
    """ResNet-50: bottleneck blocks of w, 2w, 4w and 8w inner channels and four times as many outside."""
    stages = []
    for k, count in enumerate(counts):
        inner = width * 2**k
        blocks = [
            {"inner": [inner, inner], "stride": 2 if k and not n else 1, "shortcut": None if n else "conv"}
            for n in range(count)
        ]
        stages.append({"out": 4 * inner, "blocks": blocks})
    return ResNet({"form": form, "width": width}, stages, classes, channels)
