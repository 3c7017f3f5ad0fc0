"""Feed-forward networks by name, for images of any channels and classes."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import TABLE_2, mobilenet_v2
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50
from squeezebench.nn.cnn.vgg import CONFIGURATIONS, VGG, vgg8

Frame = tuple[int, int, int]  # C, H, W

LEAST = {"lenet_300_100": 1, "lenet_5": 16, "vgg_8": 8, "vgg16": 32, "resnet": 8, "mobilenet_v2": 8}  # pixels a side
LARGE = 64  # pixels a side from which on ResNet-50 has the stem for ImageNet


def named_network(name: str, frame: Frame, classes: int | None, width: float = 1.0) -> nn.Module:
    """(N, C, H, W) -> logits (N, classes), freshly initialised. InputError where `frame` is too small for it.

    width: a factor on the widths of all layers; of a residual stream it scales the channels outside and inside.
    classes None: what the logits would be made from is given, (N, named_features).
    """
    channels, side = _checked(name, frame)

    def w(units: int) -> int:
        return max(1, round(width * units))

    if reads_pixels(name):
        return LeNet300(channels * frame[1] * frame[2], (w(300), w(100)), classes)
    if name == "lenet_5":
        return LeNet5(channels, side, (w(20), w(50)), w(500), classes)
    if name == "vgg_8":
        return vgg8(classes, channels, side, w(16))
    if name.startswith("vgg16_"):
        chosen = CONFIGURATIONS[name.removeprefix("vgg16_").upper()]
        layers = [w(layer) if isinstance(layer, int) else layer for layer in chosen.layers]
        return VGG(layers, [w(units) for units in chosen.head], classes, channels, side)
    if name == "mobilenet_v2":
        rows = [(expansion, w(out), count, stride) for expansion, out, count, stride in TABLE_2]
        return mobilenet_v2(classes, rows, w(32), w(1280), channels)
    if name == "resnet_50":
        return resnet50(classes, w(64), channels=channels, form="imagenet" if side >= LARGE else "cifar")
    return cifar_resnet(int(name.removeprefix("resnet_")), classes, "A", w(16), channels)


@cache
def named_features(name: str, frame: Frame, width: float = 1.0) -> int:
    """How many features its logits are made from."""
    with torch.device("meta"):
        return named_network(name, frame, None, width).eval()(torch.empty(1, *frame)).shape[1]


@cache
def named_weights(name: str, frame: Frame, classes: int | None, width: float = 1.0) -> int:
    """Weights of its convolutions and linear layers, neither biases nor norms, without making their values."""
    with torch.device("meta"):
        network = named_network(name, frame, classes, width)
    return sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def reads_pixels(name: str) -> bool:
    """Whether the network has weights for each pixel of its own, so that pixels can be removed."""
    return name == "lenet_300_100"


def _checked(name: str, frame: Frame) -> tuple[int, int]:
    """(C, the shorter side). InputError for an image that the network cannot read."""
    channels, height, wide = frame
    least = next(pixels for start, pixels in LEAST.items() if name.startswith(start))
    if not reads_pixels(name) and height != wide:
        raise InputError(f"{name} reads square images; the task's are {height} x {wide}")
    if min(height, wide) < least:
        raise InputError(f"{name} reads images of at least {least} x {least} pixels; the task's are {height} x {wide}")
    return channels, min(height, wide)
