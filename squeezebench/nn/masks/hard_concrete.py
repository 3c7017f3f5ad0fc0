"""Two more masks beside the bottleneck's, with its interface: hard-concrete gates and log-uniform noise.

Sources: Louizos, Welling, Kingma, "Learning Sparse Neural Networks through L0 Regularization" (ICLR 2018), Eq. 10-13;
Molchanov, Ashukha, Vetrov, "Variational Dropout Sparsifies Deep Neural Networks" (ICML 2017), Eq. 11 and 14.
"""

from __future__ import annotations

from math import exp, log

import torch
from torch import Tensor, nn

from squeezebench.nn.masks.bottleneck import EPSILON, BottleneckMask

TEMPERATURE, LOW, HIGH = 2 / 3, -0.1, 1.1  # beta, gamma and zeta of the L0 paper
K1, K2, K3 = 0.63576, 1.87320, 1.48695  # of the approximation of the log-uniform KL


class HardConcreteGate(nn.Module):
    """z in [0, 1], exactly 0 or 1 with positive probability, one log_alpha for each unit.

    Training: z = min(1, max(0, s (zeta - gamma) + gamma)), s = sigmoid((log u - log(1 - u) + log_alpha) / beta), u
    uniform, drawn for each element of the batch. Evaluation: the same with sigmoid(log_alpha) in place of s.
    dropped: log_alpha starts where a concrete variable is below 1/2 with this probability.
    threshold: a unit is kept iff its gate at evaluation exceeds this.
    size: weights that go with each unit, a buffer (units,); 1 until it is set.
    """

    def __init__(self, units: int, dropped: float = 0.1, threshold: float = 0.0, spread: float = 0.01):
        super().__init__()
        self.threshold = threshold
        self.log_alpha = nn.Parameter(log(1 - dropped) - log(dropped) + spread * torch.randn(units))
        self.register_buffer("size", torch.ones(units))
        self.chosen: Tensor | None = None  # which units stay, if that is not left to the threshold

    @property
    def units(self) -> int:
        return self.log_alpha.numel()

    def open(self) -> Tensor:
        """P(z > 0) of each unit, (units,) (Eq. 12)."""
        return torch.sigmoid(self.log_alpha - TEMPERATURE * log(-LOW / HIGH))

    def expected_weights(self) -> Tensor:
        """sum_j |g_j| P(z_j > 0): expected number of weights behind open gates."""
        return self._of_chosen(self.size * self.open()).sum()

    def deterministic(self) -> Tensor:
        """The gate at evaluation (Eq. 13), 0 on units that go, (units,)."""
        return _stretched(torch.sigmoid(self.log_alpha)) * self.keep()

    def keep(self) -> Tensor:
        """Which units stay, bool (units,)."""
        if self.chosen is not None:
            return self.chosen.to(self.log_alpha.device)
        return _stretched(torch.sigmoid(self.log_alpha.detach())) > self.threshold

    def expected(self) -> Tensor:
        """How likely each unit is to stay, (units,): `open`, without its gradient."""
        return self._of_chosen(self.open().detach())

    def _of_chosen(self, values: Tensor) -> Tensor:
        return values if self.chosen is None else values * self.chosen.to(values)

    def forward(self, batch: int) -> Tensor:
        """The gates of one forward pass: (batch, units), at evaluation (units,)."""
        if not self.training:
            return self.deterministic()
        u = torch.rand(batch, self.units, device=self.log_alpha.device, dtype=self.log_alpha.dtype)
        u = u.clamp(1e-6, 1 - 1e-6)
        return self._of_chosen(_stretched(torch.sigmoid((u.log() - torch.log1p(-u) + self.log_alpha) / TEMPERATURE)))


def _stretched(s: Tensor) -> Tensor:
    return (s * (HIGH - LOW) + LOW).clamp(0, 1)


class LogUniformMask(BottleneckMask):
    """z = mu + sigma eps under a log-uniform prior: the bottleneck's mask with another KL and another threshold.

    With log a = log(sigma^2 / mu^2), a unit is kept iff log a < 3: mu^2 / sigma^2 > exp(-3).
    """

    def __init__(self, units: int, threshold: float = exp(-3), **more):
        super().__init__(units, threshold=threshold, **more)

    def expected(self, alpha: Tensor | None = None) -> Tensor:
        """The signal's part of each unit's power, alpha / (alpha + 1), (units,).

        The threshold is far below that: many units whose noise drowns them still pass it.
        """
        alpha = self.alpha().detach() if alpha is None else alpha
        return self.of_chosen(alpha / (alpha + 1))

    def kl(self) -> Tensor:
        """sum_j KL(N(mu_j, sigma_j^2) || log-uniform), (): the paper's approximation."""
        return self.of_chosen(log_uniform_kl(self.log_var - (self.mu.square() + EPSILON).log())).sum()


def log_uniform_kl(log_a: Tensor) -> Tensor:
    """KL of a normal distribution from the log-uniform prior, shifted to be 0 in the limit of large a (Eq. 14)."""
    return K1 * torch.sigmoid(-(K2 + K3 * log_a)) + 0.5 * nn.functional.softplus(-log_a)
