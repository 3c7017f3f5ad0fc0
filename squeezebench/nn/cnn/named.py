"""Feed-forward networks by name, for images of any channels and classes, and their weights by formula.

`width` is a factor on the widths of all layers; of a residual stream it scales the channels outside and inside.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import TABLE_2, mobilenet_v2
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50
from squeezebench.nn.cnn.vgg import CONFIGURATIONS, VGG, vgg8
from squeezebench.nn.pruning.sizes import lenet5_sizes, lenet300_sizes, vgg_sizes

Frame = tuple[int, int, int]  # C, H, W
Layers = tuple[list[int | str], list[int]]  # of a VGG: convolutions and pooling, hidden linear layers

BLOCKS_50 = (3, 4, 6, 3)  # of ResNet-50, by stage
LARGE = 64  # pixels a side from which on ResNet-50 has the stem for ImageNet


def named_network(name: str, frame: Frame, classes: int | None, width: float = 1.0) -> nn.Module:
    """(N, C, H, W) -> logits (N, classes), freshly initialised. InputError where `frame` is too small for it.

    classes None: what the logits would be made from is given, (N, named_features).
    """
    channels, side = _checked(name, frame)
    w = _scaled(width)
    if name == "lenet_300_100":
        return LeNet300(channels * frame[1] * frame[2], (w(300), w(100)), classes)
    if name == "lenet_5":
        return LeNet5(channels, side, (w(20), w(50)), w(500), classes)
    if name == "vgg_8":
        return vgg8(classes, channels, side, w(16))
    if name.startswith("vgg16_"):
        layers, head = _vgg(name, w)
        return VGG(layers, head, classes, channels, side)
    if name == "mobilenet_v2":
        return mobilenet_v2(classes, _rows(w), w(32), w(1280), channels)
    if name == "resnet_50":
        return resnet50(classes, w(64), BLOCKS_50, channels, _form(side))
    return cifar_resnet(_depth(name), classes, "A", w(16), channels)


def named_features(name: str, frame: Frame, width: float = 1.0) -> int:
    """How many features its logits are made from, by formula."""
    _, side = _checked(name, frame)
    w = _scaled(width)
    if name.startswith("vgg16_"):
        layers, head = _vgg(name, w)
        halvings = sum(layer in ("M", "A") for layer in layers)
        return head[-1] if head else layers[-2] * (side // 2**halvings) ** 2
    known = {"lenet_300_100": w(100), "lenet_5": w(500), "vgg_8": 8 * w(16), "mobilenet_v2": w(1280)}
    return known.get(name) or (32 * w(64) if name == "resnet_50" else 4 * w(16))


def named_weights(name: str, frame: Frame, classes: int | None, width: float = 1.0) -> int:
    """Weights of its convolutions and linear layers, by formula: neither biases nor norms."""
    channels, side = _checked(name, frame)
    classes = classes or 0
    w = _scaled(width)
    if name == "lenet_300_100":
        return lenet300_sizes((channels * frame[1] * frame[2], w(300), w(100)), classes).weights
    if name == "lenet_5":
        elements = w(50) * (((side - 4) // 2 - 4) // 2) ** 2  # of the last map
        return lenet5_sizes((w(20), w(50), elements, w(500)), classes, channels, side).weights
    if name == "vgg_8":
        v = w(16)
        return 9 * v * (channels + 2 * v + 8 * v + 16 * v + 32 * v + 64 * v) + 64 * v * v + 8 * v * classes
    if name.startswith("vgg16_"):
        return vgg_sizes(*_vgg(name, w), classes, channels, side).weights
    if name == "mobilenet_v2":
        return _mobilenet_weights(w, channels, classes)
    if name == "resnet_50":
        return _resnet50_weights(w(64), channels, classes, side)
    blocks, v = (_depth(name) - 2) // 6, w(16)
    entering = 9 * v * v * (1 + 2 + 8)  # the first convolution of each stage: v -> v, v -> 2v, 2v -> 4v
    others = (2 * blocks - 1) * 9 * v * v * (1 + 4 + 16)
    return 9 * channels * v + entering + others + 4 * v * classes


def _scaled(width: float) -> Callable[[int], int]:
    return lambda units: max(1, round(width * units))


def _checked(name: str, frame: Frame) -> tuple[int, int]:
    """(C, the shorter side). InputError for an image that the network cannot read."""
    channels, height, wide = frame
    least = {"lenet_300_100": 1, "lenet_5": 16}.get(name, 32 if name.startswith("vgg16_") else 8)
    if name != "lenet_300_100" and height != wide:
        raise InputError(f"{name} reads square images; the task's are {height} x {wide}")
    if min(height, wide) < least:
        raise InputError(f"{name} reads images of at least {least} x {least} pixels; the task's are {height} x {wide}")
    return channels, min(height, wide)


def _vgg(name: str, w: Callable[[int], int]) -> Layers:
    chosen = CONFIGURATIONS[name.removeprefix("vgg16_").upper()]
    return [w(layer) if isinstance(layer, int) else layer for layer in chosen.layers], [w(u) for u in chosen.head]


def _depth(name: str) -> int:
    return int(name.removeprefix("resnet_"))


def _form(side: int) -> str:
    return "imagenet" if side >= LARGE else "cifar"


def _rows(w: Callable[[int], int]) -> list[tuple[int, int, int, int]]:
    return [(expansion, w(out), count, stride) for expansion, out, count, stride in TABLE_2]


def _mobilenet_weights(w: Callable[[int], int], channels: int, classes: int) -> int:
    read, last = w(32), w(1280)
    total = 9 * channels * read
    for expansion, out, count, _ in _rows(w):
        for _ in range(count):
            inner = expansion * read
            total += (read * inner if expansion > 1 else 0) + 9 * inner + inner * out
            read = out
    return total + read * last + last * classes


def _resnet50_weights(v: int, channels: int, classes: int, side: int) -> int:
    read, total = v, (49 if _form(side) == "imagenet" else 9) * channels * v
    for k, count in enumerate(BLOCKS_50):
        inner = v * 2**k
        out = 4 * inner
        total += read * out  # the shortcut of the first block
        for n in range(count):
            total += (read if n == 0 else out) * inner + 9 * inner * inner + inner * out
        read = out
    return total + read * classes
