"""From a JSON description with the actual widths to a network of those shapes, before its weights are loaded."""

from __future__ import annotations

from typing import Any

from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.frames import FrameNetwork, FrameRecurrent
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import MobileNetV2
from squeezebench.nn.cnn.resnet import ResNet
from squeezebench.nn.cnn.vgg import VGG

PLAIN: tuple[type[nn.Module], ...] = (LeNet300, LeNet5, VGG, ResNet, MobileNetV2)
FRAMED = (FrameNetwork, FrameRecurrent)


def network_from_spec(spec: dict[str, Any]) -> nn.Module:
    """The network that `spec()` described, freshly initialised. InputError for a class that is not known."""
    rest = {key: value for key, value in spec.items() if key != "class"}
    for network in PLAIN:
        if spec.get("class") == network.__name__:
            return network(**rest)
    for framed in FRAMED:
        if spec.get("class") == framed.__name__:
            return framed.from_spec(spec)
    names = [network.__name__ for network in (*PLAIN, *FRAMED)]
    raise InputError(f"network class {spec.get('class')!r} is not known; there are {', '.join(names)}")
