"""What the masks of a feed-forward network cost: VIBNet's and ITPCC's terms, with and without the data's statistics.

All terms leave out the factor 1/2 of the divergence, as the papers' objectives do. VIBNet's published code keeps it:
its `kl_fac` is twice the weight used here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.nn.pruning.masked_network import MaskedNetwork


def bound(mu: Tensor, var: Tensor) -> Tensor:
    """log(1 + mu^2 / sigma^2), ITPCC Eq. 18; one value for each mask."""
    return torch.log1p(mu.square() / var)


def information(mu: Tensor, var: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """ITPCC Eq. 17: twice the divergence of h = z s from its best prior N(0, eta^2), at most `bound(mu, var)`.

    mu, var: of the mask z;  mean, variance: of the channel s over the data. Eqs. 14-16:
    mu_h = mu mean;  var_h = (mu^2 + var) variance + var mean^2;  Eq. 17: log(1 + mu_h^2 / var_h).
    """
    return torch.log1p((mu * mean).square() / product_variance(mu, var, mean, variance))


def product_variance(mu: Tensor, var: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Variance of z s for independent z of (mu, var) and s of (mean, variance), Eq. 16."""
    return (mu.square() + var) * variance + var * mean.square()


def divergence(mean: Tensor, variance: Tensor, prior: Tensor) -> Tensor:
    """KL[N(mean, variance) || N(0, prior)], Eq. 9; smallest at prior = mean^2 + variance (Eq. 11)."""
    return 0.5 * (torch.log(prior / variance) + (variance + mean.square()) / prior - 1)


def vibnet_kl(masked: MaskedNetwork, multipliers: Sequence[float] | Mapping[str, float] | None = None) -> Tensor:
    """sum_i m_i (H W)_i sum_j log(1 + mu_ij^2 / sigma_ij^2): each set's term times the positions of its map.

    multipliers: m_i by the set's name (1 where one is missing) or one for each masked set in the network's order.
    """
    return _weighted(masked, {s.name: s.positions for s in masked.sets}, multipliers)


def itpcc_kl(masked: MaskedNetwork) -> Tensor:
    """sum_s |SCS_s| log(1 + mu_s^2 / sigma_s^2), Eq. 20 without gamma' / N_b."""
    return _weighted(masked, {s.name: s.size for s in masked.sets}, None)


def _weighted(
    masked: MaskedNetwork, weights: dict[str, float], multipliers: Sequence[float] | Mapping[str, float] | None
) -> Tensor:
    if isinstance(multipliers, Mapping):
        if unknown := sorted(set(multipliers) - set(weights)):
            raise InputError(f"multiplier of {unknown[0]!r}: the masked sets are {', '.join(weights)}")
        factors = [multipliers.get(name, 1.0) for name in weights]
    else:
        factors = list(multipliers) if multipliers is not None else [1.0] * len(weights)
    if len(factors) != len(weights):
        raise InputError(f"{len(factors)} multipliers for {len(weights)} masked sets: {', '.join(weights)}")
    terms = [
        factor * weight * masked.masks[name].kl()
        for factor, (name, weight) in zip(factors, weights.items(), strict=True)
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())
