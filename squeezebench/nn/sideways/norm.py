"""Batch normalisation that knows which frames belong to one tick, so that many ticks can be computed at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


class TickNorm(nn.BatchNorm2d):
    """torch's BatchNorm2d; within `ticks_at_once`, rows (B * N, C, H, W) are B clips of N ticks each.

    Each tick's B frames are then normalised by their own statistics, and the running statistics move once a tick, in
    the order of the ticks, as if the module had been called N times with (B, C, H, W). In evaluation nothing differs.
    """

    ticks = 1

    def forward(self, rows: Tensor) -> Tensor:
        if self.ticks == 1 or not self.training:
            return super().forward(rows)
        ticks, channels = self.ticks, self.num_features
        folded = rows.unflatten(0, (-1, ticks)).flatten(1, 2)  # (B, N * C, H, W): a channel of its own for each tick
        mean, variance = (self.running_mean.new_zeros(ticks * channels) for _ in range(2))
        weight, bias = self.weight.repeat(ticks), self.bias.repeat(ticks)
        folded = functional.batch_norm(folded, mean, variance, weight, bias, True, 1.0, self.eps)
        self._move(mean.view(ticks, channels), variance.view(ticks, channels))
        return folded.unflatten(1, (ticks, channels)).flatten(0, 1)

    @torch.no_grad()
    def _move(self, means: Tensor, variances: Tensor) -> None:
        """The running statistics after N moves towards the rows (N, C) of both, one after the other."""
        left = (1 - self.momentum) ** torch.arange(self.ticks - 1, -1, -1, dtype=means.dtype, device=means.device)
        for running, rows in ((self.running_mean, means), (self.running_var, variances)):
            running.mul_((1 - self.momentum) ** self.ticks).add_(self.momentum * (left @ rows))
        self.num_batches_tracked += self.ticks


@contextmanager
def ticks_at_once(module: nn.Module, ticks: int) -> Iterator[None]:
    """Let the norms of `module` read the rows of so many ticks as one batch."""
    norms = [norm for norm in module.modules() if isinstance(norm, TickNorm)]
    for norm in norms:
        norm.ticks = ticks
    try:
        yield
    finally:
        for norm in norms:
            norm.ticks = 1


def knows_ticks(module: nn.Module) -> bool:
    """Whether every batch norm of `module` is a TickNorm, so that its ticks can be computed at once."""
    norms = (part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm))
    return all(isinstance(norm, TickNorm) for norm in norms)
