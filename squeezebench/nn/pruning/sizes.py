"""Sizes of feed-forward networks by VIBNet's rules: r_W, r_N and FLOP, read off a network while it runs.

r_W   weights of convolutions and linear layers, neither biases nor batch norms
FLOP  multiply-accumulates of one image (the poster calls them FLOP)
r_N   numbers that one image's forward pass keeps: what is read of the input where it is masked, the maps of each
      convolution and of each maximum pooling, the flattened elements that are read, the hidden units
For the LeNets these are the rules that the printed rows of Tables 1 and 2 obey. No structure of a VGG is printed, so
for it the rule of r_N is this one by analogy.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from squeezebench.nn.cnn.parts import Select


@dataclass(frozen=True)
class Sizes:
    weights: int
    neurons: int
    macs: int


@torch.no_grad()
def measured_sizes(network: nn.Module, example: Tensor) -> Sizes:
    """Of a network that runs on one image, `example` (1, ...)."""
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
