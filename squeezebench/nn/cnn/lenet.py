"""LeNet-300-100 and LeNet-5-Caffe, the two networks of VIBNet's Tables 1 and 2.

Both are described by the widths they have. LeNet-300-100 reads `pixels` of its image; the first linear layer of
LeNet-5 reads `flat` of the flattened feature map's elements, each of which can be removed by itself, as the
published structures have it (8-13-88-13: 88 is no multiple of 13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from squeezebench.nn.cnn.parts import Conv2d, Linear, MaxPool2d, Select
from squeezebench.nn.registry import register


@register
class LeNet300(nn.Module):
    """(N, C, H, W) or (N, D) -> logits (N, classes): pixels, two hidden layers with ReLU, a linear layer.

    inputs: C * H * W.  pixels: how many of them are read, None: all.  classes None: the last hidden layer is given.
    """

    def __init__(
        self,
        inputs: int = 784,
        hidden: Sequence[int] = (300, 100),
        classes: int | None = 10,
        pixels: int | None = None,
    ):
        super().__init__()
        self.pixels = Select(inputs, pixels)
        self.fc1, self.relu1 = Linear(self.pixels.kept, hidden[0]), nn.ReLU()
        self.fc2, self.relu2 = Linear(hidden[0], hidden[1]), nn.ReLU()
        self.fc3 = None if classes is None else Linear(hidden[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu1(self.fc1(self.pixels(x)))
        h = self.relu2(self.fc2(h))
        return h if self.fc3 is None else self.fc3(h)

    def widths(self) -> list[int]:
        """Pixels read and the widths of the hidden layers, 784-300-100 before anything is removed."""
        return [self.fc1.in_features, self.fc1.out_features, self.fc2.out_features]

    def spec(self) -> dict[str, Any]:
        pixels, *hidden = self.widths()
        return {
            "class": "LeNet300",
            "inputs": self.pixels.size,
            "hidden": hidden,
            "classes": None if self.fc3 is None else self.fc3.out_features,
            "pixels": None if self.pixels.index is None else pixels,
        }


@register
class LeNet5(nn.Module):
    """(N, C, H, W) -> logits (N, classes): two 5x5 convolutions, each with ReLU and 2x2 maximum pooling; two layers.

    Caffe's network has a ReLU after the hidden linear layer only; those who compress it (and its published error
    of about 0.8-1.0 %) put one after each convolution too, and so does this.

    side: H = W of the image.  flat: elements of the flattened map that are read, None: all of them.
    """

    def __init__(
        self,
        channels: int = 1,
        side: int = 28,
        convolutions: Sequence[int] = (20, 50),
        hidden: int = 500,
        classes: int | None = 10,
        flat: int | None = None,
        kernel: int = 5,
    ):
        super().__init__()
        first, second = convolutions
        self.side, self.kernel = side, kernel
        self.conv1, self.relu1, self.pool1 = Conv2d(channels, first, kernel), nn.ReLU(), MaxPool2d(2)
        self.conv2, self.relu2, self.pool2 = Conv2d(first, second, kernel), nn.ReLU(), MaxPool2d(2)
        left = ((side - kernel + 1) // 2 - kernel + 1) // 2
        self.flat = Select(second * left**2, flat)
        self.fc1, self.relu3 = Linear(self.flat.kept, hidden), nn.ReLU()
        self.fc2 = None if classes is None else Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool1(self.relu1(self.conv1(x)))
        h = self.pool2(self.relu2(self.conv2(h)))
        h = self.relu3(self.fc1(self.flat(h)))
        return h if self.fc2 is None else self.fc2(h)

    def widths(self) -> list[int]:
        """Channels, channels, flattened elements read, hidden units: 20-50-800-500 before anything is removed."""
        return [self.conv1.out_channels, self.conv2.out_channels, self.fc1.in_features, self.fc1.out_features]

    def spec(self) -> dict[str, Any]:
        first, second, flat, hidden = self.widths()
        return {
            "class": "LeNet5",
            "channels": self.conv1.in_channels,
            "side": self.side,
            "convolutions": [first, second],
            "hidden": hidden,
            "classes": None if self.fc2 is None else self.fc2.out_features,
            "flat": None if self.flat.index is None else flat,
            "kernel": self.kernel,
        }
