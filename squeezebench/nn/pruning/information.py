"""The penalty of ITPCC on the masks of a feed-forward network.

The term leaves out the factor 1/2 of the divergence, as the paper's objective does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from squeezebench.nn.pruning.masked_network import MaskedNetwork


def itpcc_kl(masked: MaskedNetwork) -> Tensor:
    """sum_s |SCS_s| log(1 + mu_s^2 / sigma_s^2) over the masked sets, (): Eq. 20 without gamma' / N_b."""
    terms = [s.size * masked.masks[s.name].kl() for s in masked.sets]
    return torch.stack(terms).sum() if terms else torch.zeros(())
