"""Sparse variational dropout: a normal distribution for every single weight of a feed-forward network.

Source: Molchanov, Ashukha, Vetrov, "Variational Dropout Sparsifies Deep Neural Networks" (ICML 2017).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from squeezebench.nn.masks.bottleneck import EPSILON
from squeezebench.nn.masks.hard_concrete import log_uniform_kl

FIRST = -10.0  # log sigma^2 at the start, as in the authors' code


class NoisyWeights(nn.Module):
    """`network` with w ~ N(theta, sigma^2) in every convolution and linear layer (additive noise, Eq. 11).

    In training the noise is drawn for each output, from the normal distribution that it has given the input (local
    reparameterisation, Eq. 17 and 18). At evaluation w = theta, and 0 where log a = log(sigma^2 / theta^2) exceeds
    `threshold`. `log_var` holds log sigma^2 under the layer's path with `/` for `.`; biases have no noise.
    """

    def __init__(self, network: nn.Module, threshold: float = 3.0):
        super().__init__()
        self.network, self.threshold = network, threshold
        layers = {path: m for path, m in network.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
        self.log_var = nn.ParameterDict(
            {path.replace(".", "/"): nn.Parameter(torch.full_like(m.weight, FIRST)) for path, m in layers.items()}
        )

    def layers(self) -> list[tuple[nn.Module, Tensor]]:
        """Every layer with noise, and its log sigma^2."""
        return [(self.network.get_submodule(name.replace("/", ".")), value) for name, value in self.log_var.items()]

    def kl(self) -> Tensor:
        """The sum over all weights of the divergence from the log-uniform prior (Eq. 14), ()."""
        return torch.stack([log_uniform_kl(log_a(m.weight, log_var)).sum() for m, log_var in self.layers()]).sum()

    @torch.no_grad()
    def kept(self) -> dict[str, Tensor]:
        """Path of each layer -> which of its weights stay, bool."""
        names = [name.replace("/", ".") for name in self.log_var]
        return {
            name: log_a(m.weight, log_var) <= self.threshold
            for name, (m, log_var) in zip(names, self.layers(), strict=True)
        }

    def pruned(self) -> dict[str, Tensor]:
        """Name of each weight -> its values at evaluation."""
        kept = self.kept()
        return {f"{name}.weight": self.network.get_submodule(name).weight * stays for name, stays in kept.items()}

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the network's own."""
        if not self.training:
            return functional_call(self.network, self.pruned(), (x, *args), kwargs)
        with ExitStack() as hooks:
            for layer, log_var in self.layers():
                hooks.enter_context(layer.register_forward_hook(_Noise(log_var)))
            return self.network(x, *args, **kwargs)

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of the network below the noise."""
        return self.network.macs(steps)


class _Noise:
    """Adds to what a layer gives the noise of its weights: its variance is what the layer gives of squares."""

    def __init__(self, log_var: Tensor):
        self.log_var = log_var

    def __call__(self, layer: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        squares, variances = args[0].square(), self.log_var.exp()
        if isinstance(layer, nn.Linear):
            variance = F.linear(squares, variances)
        else:
            variance = F.conv2d(squares, variances, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return output + (variance + EPSILON).sqrt() * torch.randn_like(output)


def log_a(weight: Tensor, log_var: Tensor) -> Tensor:
    """log(sigma^2 / theta^2) of each weight, within [-8, 8] as in the authors' code."""
    return (log_var - (weight.square() + EPSILON).log()).clamp(-8, 8)
