"""The variational information bottleneck mask: one multiplicative Gaussian per unit.

Sources: Dai et al., "Compressing Neural Networks using the Variational Information Bottleneck" (ICML 2018);
Srivastava et al., "A Variational Information Bottleneck Based Method to Compress Sequential Networks for Human
Action Recognition" (WACV 2021), Eq. 3, 6, 9.
"""

from __future__ import annotations

from math import inf
from typing import Literal

import torch
from torch import Tensor, nn

Noise = Literal["per_sequence", "first_batch"]
EPSILON = 1e-8  # keeps alpha finite where sigma has collapsed


class BottleneckMask(nn.Module):
    """z = mu + sigma * eps (Eq. 3), one (mu, log_var) per unit.

    noise
        `per_sequence`: eps is drawn once per sequence and shared over time (the paper).
        `first_batch`: eps is drawn in the first training forward only and z = mu from then on. This is what the
        released code does. Without noise sigma costs no data fit, so what moves log sigma^2 is the KL term and
        the optimiser. With the released one, whose weight decay of 5e-4 is part of the gradient, the decay
        outweighs the KL term by far: log sigma^2 settles near 0, and what stays is what has |mu| > 1. Without
        the decay the KL term widens sigma until everything is removed, while the training loss stays near 0.
    evaluate_with
        `mean`: z = mu on kept units, 0 elsewhere (VIBNet). `hard`: z = 1 on kept units, 0 elsewhere (the released
        VIB-LSTM code, although training multiplies by mu).
    threshold
        A unit is kept iff alpha = mu^2 / sigma^2 > threshold (Eq. 9, 14).
    loudest
        log sigma^2 from which the noise itself no longer grows (alpha and the KL term do not know it). A mask z_f on a
        forget gate multiplies the cell state at every step: of a unit that is lost, z_f^T would overflow.
    """

    def __init__(
        self,
        units: int,
        noise: Noise = "per_sequence",
        evaluate_with: Literal["mean", "hard"] = "mean",
        threshold: float = 1.0,
        initial_log_var: float = -9.0,
        spread: float = 0.01,
        loudest: float = inf,
    ):
        super().__init__()
        self.loudest = loudest
        self.noise, self.evaluate_with, self.threshold = noise, evaluate_with, threshold
        self.mu = nn.Parameter(1.0 + spread * torch.randn(units))
        self.log_var = nn.Parameter(initial_log_var + spread * torch.randn(units))
        self.noise_drawn = False
        self.chosen: Tensor | None = None  # which units stay, where that is not left to the threshold

    @property
    def units(self) -> int:
        return self.mu.numel()

    def alpha(self) -> Tensor:
        """mu^2 / sigma^2, the signal-to-noise ratio of each unit (Eq. 9), shape (units,)."""
        return self.mu.square() / (self.log_var.exp() + EPSILON)

    def keep(self) -> Tensor:
        """Which units carry information, bool (units,)."""
        if self.chosen is not None:
            return self.chosen.to(self.mu.device)
        return self.alpha().detach() > self.threshold

    def expected(self, alpha: Tensor | None = None) -> Tensor:
        """How likely each unit is to stay, in (0, 1), (units,): alpha / (alpha + threshold), 1/2 at the threshold.

        With a threshold of 1 it is the signal's part of the unit's power, mu^2 / (mu^2 + sigma^2). alpha: instead of
        the mask's own, if several masks decide together.
        """
        alpha = self.alpha().detach() if alpha is None else alpha
        return self.of_chosen(alpha / (alpha + self.threshold))

    def kl(self) -> Tensor:
        """sum_j log(1 + mu_j^2 / sigma_j^2), the KL term of Eq. 6 without beta (and without the dropped 1/2)."""
        return self.of_chosen(torch.log1p(self.alpha())).sum()

    def of_chosen(self, values: Tensor) -> Tensor:
        """`values` (..., units) with 0 on the units that were removed for good."""
        return values if self.chosen is None else values * self.chosen.to(values)

    def deterministic(self) -> Tensor:
        """The mask at evaluation, (units,)."""
        keep = self.keep().to(self.mu.dtype)
        return keep * self.mu if self.evaluate_with == "mean" else keep

    def forward(self, batch: int) -> Tensor:
        """The mask of one forward pass: (units,) where deterministic, otherwise (batch, units)."""
        if not self.training:
            return self.deterministic()
        return self.of_chosen(self._drawn(batch))

    def _drawn(self, batch: int) -> Tensor:
        if self.noise == "first_batch" and self.noise_drawn:
            return self.mu
        self.noise_drawn = True
        eps = torch.randn(batch, self.units, device=self.mu.device, dtype=self.mu.dtype)
        return torch.addcmul(self.mu, (0.5 * self.log_var.clamp(max=self.loudest)).exp(), eps)


def split_mask_parameters(
    model: nn.Module, kind: type[nn.Module] = BottleneckMask
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """(weights, parameters of the masks) of `model`; `kind`: what counts as a mask."""
    masks = [p for module in model.modules() if isinstance(module, kind) for p in module.parameters()]
    of_masks = {id(p) for p in masks}
    return [p for p in model.parameters() if id(p) not in of_masks], masks
