"""The penalty of ITPCC on the masks of a feed-forward network: its bound (Eq. 18), or Eq. 17 itself.

Both leave out the factor 1/2 of the divergence, as the paper's objective does. Eq. 17 needs the mean and the variance
that SCS_s has for a given input, over the noise of all masks before it. The paper does not say how they are estimated.
Here the masks are drawn twice for the same inputs: of two values a and b of one number, (a - b)^2 / 2 has the
variance as its mean and a b the square of the mean. Both are summed over the inputs, the positions of the map and all
that reads the set, and their ratio is a constant for the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.masks.bottleneck import EPSILON, BottleneckMask
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.unit_groups import unit_groups

LOUDEST = 1e6  # ratio of variance to squared mean from which a set counts as noise alone


def itpcc_kl(masked: MaskedNetwork, noise: Mapping[str, Tensor] | None = None, sized: bool = True) -> Tensor:
    """The sum over the masked sets of |SCS_s| times the divergence, (): Eq. 20 without gamma' / N_b.

    noise: set -> ratio of the variance of SCS_s to its squared mean, (width,), see `activation_noise`; then the
    divergence is Eq. 17. None: its bound log(1 + mu_s^2 / sigma_s^2).  sized: False counts each set once, |SCS_s| = 1.
    """
    terms = [
        (units.size if sized else 1) * (mask.kl() if noise is None else divergence(mask, noise[units.name]))
        for units in masked.sets
        for mask in [masked.masks[units.name]]
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def divergence(mask: BottleneckMask, noise: Tensor) -> Tensor:
    """sum_s log(1 + mu_s^2 m^2 / (sigma_s^2 m^2 + (mu_s^2 + sigma_s^2) v)), (): Eq. 17; noise: v / m^2, (width,)."""
    signal, variance = mask.mu.square(), mask.log_var.exp() + EPSILON
    return mask.of_chosen(torch.log1p(signal / (variance + (signal + variance) * noise.to(signal)))).sum()


@torch.no_grad()
def activation_noise(masked: MaskedNetwork, x: Tensor, *args: Any) -> dict[str, Tensor]:
    """Set -> variance of SCS_s over its squared mean for the inputs `x`, (width,), on the CPU.

    Batch norms use their running statistics meanwhile, so that nothing of the network changes.
    """
    training = {module: module.training for module in masked.modules()}
    masked.eval()
    for mask in masked.masks.values():
        mask.train()
    try:
        first, second = _read(masked, x, *args), _read(masked, x, *args)
    finally:
        for module, was in training.items():
            module.training = was
    groups = unit_groups(masked)
    variance, square = torch.zeros(2, groups.count + 1, dtype=torch.float64)
    for path, chain in groups.read.items():
        a, b = first[path], second[path]
        for labels in chain:
            variance.index_add_(0, labels, ((a - b).square() / 2).sum(0))
            square.index_add_(0, labels, (a * b).sum(0))
    ratio = (variance / square.clamp(min=EPSILON)).clamp(max=LOUDEST)
    return {units.name: ratio[list(units.labels)].float() for units in masked.sets}


def _read(masked: MaskedNetwork, x: Tensor, *args: Any) -> dict[str, Tensor]:
    """What every layer with weights reads before it is masked, (values, features) in float64, of one draw."""
    values: dict[str, Tensor] = {}

    def noting(path: str):
        def note(_module: nn.Module, given: tuple[Any, ...]) -> None:
            read = given[0].transpose(1, -1) if given[0].dim() == 4 else given[0]
            values[path] = read.reshape(-1, read.shape[-1]).double().cpu()

        return note

    with ExitStack() as hooks:
        for path in unit_groups(masked).read:
            hooks.enter_context(masked.network.get_submodule(path).register_forward_pre_hook(noting(path)))
        masked(x, *args)
    return values
