"""VGG-16 as modified for CIFAR, in VIBNet's configurations, and a small VGG of eight layers.

Source of the configurations and of their KL multipliers: the code published with VIBNet (Dai et al., ICML 2018),
configurations D0-D6, G and G5: 1 / (side of the feature map) for each convolution, 1 for a linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from squeezebench.nn.cnn.parts import AvgPool2d, BatchNorm2d, Conv2d, GlobalAverage, Linear, MaxPool2d
from squeezebench.nn.registry import register

Layer = int | str  # channels of a 3x3 convolution, "M" (2x2 maximum), "A" (2x2 average), "G" (mean of the map)


@register
class VGG(nn.Module):
    """(N, C, H, W) -> logits (N, classes): 3x3 convolutions with batch norm and ReLU, pooling, linear layers.

    layers: one entry a layer.  head: widths of the hidden linear layers.  side: H = W of the image.
    classes None: what the last layer would read is given, (N, features).
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        head: Sequence[int] = (512,),
        classes: int | None = 10,
        channels: int = 3,
        side: int = 32,
    ):
        super().__init__()
        self.layers, self.side = list(layers), side
        features: list[nn.Module] = []
        width = channels
        for layer in layers:
            if isinstance(layer, int):
                features += [Conv2d(width, layer, 3, padding=1), BatchNorm2d(layer), nn.ReLU()]
                width = layer
            else:
                features.append({"M": lambda: MaxPool2d(2), "A": lambda: AvgPool2d(2), "G": GlobalAverage}[layer]())
                side = 1 if layer == "G" else side // 2
        self.features = nn.Sequential(*features)
        self.flatten = nn.Flatten(1)
        width *= side**2
        linear: list[nn.Module] = []
        for units in head:
            linear += [Linear(width, units), nn.ReLU()]
            width = units
        self.classifier = nn.Sequential(*linear, *([] if classes is None else [Linear(width, classes)]))
        self.classes = classes

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.features(x)))

    def _linear(self) -> list[nn.Linear]:
        return [m for m in self.classifier if isinstance(m, nn.Linear)]

    def widths(self) -> list[int]:
        """Channels of each convolution, then units of each hidden linear layer."""
        hidden = self._linear() if self.classes is None else self._linear()[:-1]
        return [m.out_channels for m in self.features if isinstance(m, Conv2d)] + [m.out_features for m in hidden]

    def spec(self) -> dict[str, Any]:
        widths = iter(self.widths())
        layers = [next(widths) if isinstance(layer, int) else layer for layer in self.layers]
        return {
            "class": "VGG",
            "layers": layers,
            "head": list(widths),
            "classes": self.classes,
            "channels": next(m.in_channels for m in self.features if isinstance(m, Conv2d)),
            "side": self.side,
        }


def _stages(last: str, *counts: int) -> list[Layer]:
    layers: list[Layer] = []
    for width, count in zip((64, 128, 256, 512, 512), counts, strict=True):
        layers += [*[width] * count, "M"]
    return [*layers[:-1], last]


@dataclass(frozen=True)
class Configuration:
    layers: list[Layer]
    head: tuple[int, ...]
    power: int = 1  # a convolution's KL multiplier is 1 / side^power

    def multipliers(self, side: int = 32) -> list[float]:
        """VIBNet's KL multipliers, one for each masked layer in the network's order."""
        multipliers = []
        for layer in self.layers:
            if isinstance(layer, int):
                multipliers.append(1.0 / side**self.power)
            else:
                side //= 2
        return multipliers + [1.0] * len(self.head)


CONFIGURATIONS = {
    "D4": Configuration(_stages("M", 2, 2, 3, 3, 3), (512, 512)),
    "D5": Configuration(_stages("M", 2, 2, 3, 3, 3), (512, 512), power=2),
    "D6": Configuration(_stages("M", 2, 2, 3, 3, 3), (512,)),
    "G": Configuration(_stages("M", 2, 2, 3, 3, 3), (512,)),
    "G5": Configuration(_stages("A", 2, 2, 4, 4, 4), ()),
}


def vgg8(classes: int | None = 10, channels: int = 3, side: int = 32, width: int = 16) -> VGG:
    """Eight layers: six convolutions (w, 2w, 4w, 4w, 8w, 8w), the mean of the map, a hidden layer and the logits."""
    w = width
    return VGG([w, "M", 2 * w, "M", 4 * w, 4 * w, "M", 8 * w, 8 * w, "G"], [8 * w], classes, channels, side)
