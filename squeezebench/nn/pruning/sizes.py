"""Sizes of feed-forward networks by VIBNet's rules: r_W, r_N and FLOP, by formula and read off a real network.

r_W   weights of convolutions and linear layers, neither biases nor batch norms
FLOP  multiply-accumulates of one image (the poster calls them FLOP)
r_N   numbers that one image's forward pass keeps: what is read of the input where it is masked, the maps of each
      convolution and of each maximum pooling, the flattened elements that are read, the hidden units
For the LeNets these are the rules that the printed rows of Tables 1 and 2 obey. No structure of a VGG is printed, so
for it the rule of r_N is this one by analogy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from squeezebench.nn.cnn.parts import Select


@dataclass(frozen=True)
class Sizes:
    weights: int
    neurons: int
    macs: int


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


@torch.no_grad()
def measured_sizes(network: nn.Module, example: Tensor) -> Sizes:
    """The same read off a network while it runs on one image, `example` (1, ...)."""
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    neurons: list[int] = []
    last, products = None, 0

    def note(module: nn.Module, _args: object, output: Tensor) -> None:
        nonlocal last, products
        last = output
        neurons.append(output[0].numel())
        if isinstance(module, nn.Conv2d | nn.Linear):
            products += module.weight.numel() * output.shape[2:].numel()

    watched = [*layers, *(m for m in network.modules() if isinstance(m, nn.MaxPool2d | Select))]
    handles, training = [module.register_forward_hook(note) for module in watched], network.training
    try:
        result = network.eval()(example[:1])
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()
    if last is result:  # the logits are no neurons that are kept
        neurons.pop()
    return Sizes(sum(layer.weight.numel() for layer in layers), sum(neurons), products)
