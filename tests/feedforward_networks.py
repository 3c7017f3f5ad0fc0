"""Every feed-forward architecture at a tiny width, with weights and statistics that leave nothing at 0 or 1, and the
sizes of VIBNet's networks by formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from squeezebench.nn.cnn.frames import FrameNetwork, FrameRecurrent
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import mobilenet_v2
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50
from squeezebench.nn.cnn.vgg import VGG, vgg8
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.sizes import Sizes
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier

ROWS = ((1, 4, 1, 1), (3, 6, 2, 1), (3, 8, 2, 2))  # MobileNetV2: with and without shortcut, with and without stride


def video_network(layers: int = 1, cell: str = "lstm") -> FrameRecurrent:
    recurrent = recurrent_classifier(8, 5, 3, cell, layers)
    return FrameRecurrent(cifar_resnet(8, None, width=2, channels=1), recurrent, (1, 8, 8))


MAKERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "lenet300": (lambda: LeNet300(12, (7, 5), 3), (1, 3, 4)),
    "lenet5": (lambda: LeNet5(1, 14, (3, 4), 6, 3, kernel=3), (1, 14, 14)),
    "vgg": (lambda: VGG([3, 4, "M", 5, "A"], (6, 5), 3, 2, 8), (2, 8, 8)),
    "vgg8": (lambda: vgg8(3, 1, 8, 2), (1, 8, 8)),
    "resnet_a": (lambda: cifar_resnet(14, 3, "A", 4, 1), (1, 8, 8)),
    "resnet_b": (lambda: cifar_resnet(14, 3, "B", 3, 1), (1, 8, 8)),
    "bottleneck": (lambda: resnet50(3, 2, (2, 2), 2), (2, 17, 17)),
    "mobilenet": (lambda: mobilenet_v2(3, ROWS, 4, 7, 2), (2, 8, 8)),
    "frame": (lambda: FrameNetwork(LeNet5(1, 14, (3, 4), 6, 3, kernel=3), (1, 14, 14)), (1, 196)),
    "video": (video_network, (4, 64)),
    "video_stacked_gru": (lambda: video_network(2, "gru"), (4, 64)),
}


def network(name: str, seed: int = 0) -> nn.Module:
    """One of MAKERS in float64 with random weights, biases and statistics, in evaluation."""
    torch.manual_seed(seed)
    made = MAKERS[name][0]().double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        for module in made.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2.0)
    return made.eval()


def images(name: str, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(count, *MAKERS[name][1], dtype=torch.float64, generator=generator)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def recurrent_part(module: nn.Module) -> RecurrentClassifier:
    return next(m for m in module.modules() if isinstance(m, RecurrentClassifier))


def under_masks(name: str, seed: int = 0, **mask_settings) -> MaskedNetwork:
    """A network whose masks have means of both signs, none of them 1."""
    masked = MaskedNetwork(network(name, seed), images(name, 1), **mask_settings)
    with torch.no_grad():
        for mask in masked.masks.values():
            mask.mu.copy_(torch.where(torch.rand(mask.units) < 0.3, -1.0, 1.0) * (0.5 + torch.rand(mask.units)))
    return masked.eval()


def choose(masked: MaskedNetwork, keep: dict[str, torch.Tensor]) -> MaskedNetwork:
    assert set(keep) == set(masked.masks)
    for name, mask in masked.masks.items():
        mask.chosen = torch.zeros(mask.units, dtype=torch.bool)
        mask.chosen[keep[name]] = True
    return masked


def lenet300_sizes(structure: Sequence[int] = (784, 300, 100), classes: int = 10) -> Sizes:
    """pixels-hidden-hidden: ab + bc + 10c weights, a + b + c neurons."""
    a, b, c = structure
    weights = a * b + b * c + classes * c
    return Sizes(weights, a + b + c, weights)


def lenet5_sizes(
    structure: Sequence[int] = (20, 50, 800, 500), classes: int = 10, channels: int = 1, side: int = 28
) -> Sizes:
    """channels-channels-elements-hidden; on 28 x 28: maps of 24 x 24 and 8 x 8, pooled to 12 x 12 and 4 x 4."""
    a, b, c, d = structure
    first = side - 4
    second = first // 2 - 4
    linear = c * d + classes * d
    return Sizes(
        weights=25 * channels * a + 25 * a * b + linear,
        neurons=(first**2 + (first // 2) ** 2) * a + (second**2 + (second // 2) ** 2) * b + c + d,
        macs=25 * channels * a * first**2 + 25 * a * b * second**2 + linear,
    )


def vgg_sizes(
    layers: Sequence[int | str], head: Sequence[int] = (512,), classes: int = 10, channels: int = 3, side: int = 32
) -> Sizes:
    """3x3 convolutions of the widths in `layers` with pooling "M", "A" or "G" between, then linear layers."""
    weights = neurons = macs = 0
    for layer in layers:
        if isinstance(layer, int):
            weights += 9 * channels * layer
            macs += 9 * channels * layer * side**2
            neurons += layer * side**2
            channels = layer
        else:
            side = 1 if layer == "G" else side // 2
            neurons += channels * side**2 * (layer == "M")
    width = channels * side**2
    for units in [*head, classes]:
        weights, macs, width = weights + width * units, macs + width * units, units
    return Sizes(weights, neurons + sum(head), macs)
