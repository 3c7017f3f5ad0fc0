"""Eqs. 9 to 18 of ITPCC: the divergence of a masked channel, with and without the statistics of the data.

Source: Rostami et al., "Information Theoretic Pruning of Coupled Channels in Deep Neural Networks" (WACV 2025). Methods
train with the bound of Eq. 18, which needs no statistics; the tests compare it with the exact term.
"""

from __future__ import annotations

import torch
from torch import Tensor


def bound(mu: Tensor, var: Tensor) -> Tensor:
    """log(1 + mu^2 / sigma^2), Eq. 18; one value for each mask."""
    return torch.log1p(mu.square() / var)


def information(mu: Tensor, var: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Eq. 17: twice the divergence of h = z s from its best prior N(0, eta^2), at most `bound(mu, var)`.

    mu, var: of the mask z;  mean, variance: of the channel s over the data. Eqs. 14-16:
    mu_h = mu mean;  var_h = (mu^2 + var) variance + var mean^2;  Eq. 17: log(1 + mu_h^2 / var_h).
    """
    of_product = (mu.square() + var) * variance + var * mean.square()
    return torch.log1p((mu * mean).square() / of_product)


def divergence(mean: Tensor, variance: Tensor, prior: Tensor) -> Tensor:
    """KL[N(mean, variance) || N(0, prior)], Eq. 9; it is smallest at prior = mean^2 + variance (Eq. 11)."""
    return 0.5 * (torch.log(prior / variance) + (variance + mean.square()) / prior - 1)
