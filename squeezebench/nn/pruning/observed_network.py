"""A network that records how much its units' values vary while it is trained, for methods that score units by it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.unit_groups import unit_groups


class ObservedNetwork(MaskedNetwork):
    """`network` without masks; in training, each forward pass adds what every unit's readers read to the statistics.

    A unit is a set of the dependency graph (pixel, hidden unit, channel, flattened element), and a value is what a
    layer with weights reads of it, at each position of a map. The statistics are buffers, (S + 1,) with the last
    entry for 'no set', and therefore part of every checkpoint.
    """

    def __init__(self, network: nn.Module, example: Tensor):
        super().__init__(network, example, sets=())
        for name in ("seen", "total", "squares"):
            self.register_buffer(name, torch.zeros(len(self.graph.fixed) + 1, dtype=torch.float64))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the network's own."""
        if not self.training:
            return self.network(x, *args, **kwargs)
        with ExitStack() as hooks:
            for path, chain in unit_groups(self).read.items():
                reader = self.network.get_submodule(path)
                hooks.enter_context(reader.register_forward_pre_hook(self._recorder(chain)))
            return self.network(x, *args, **kwargs)

    def variances(self) -> Tensor:
        """Variance of each unit's values, (S + 1,) float64; 0 for a unit that was never read."""
        seen = self.seen.clamp(min=1)
        return (self.squares / seen - (self.total / seen).square()).clamp(min=0)

    def fade(self, factor: float) -> None:
        """Give all that was recorded so far the weight `factor`, as weights change while they are trained."""
        for statistic in (self.seen, self.total, self.squares):
            statistic.mul_(factor)

    def _recorder(self, chain: list[Tensor]):
        @torch.no_grad()
        def record(_module: nn.Module, args: tuple[Any, ...]) -> None:
            values = args[0].detach().double()  # features are dimension 1 of a map, the last one elsewhere
            values = values.transpose(1, -1) if values.dim() == 4 else values
            values = values.reshape(-1, values.shape[-1])
            sums = values.sum(0), values.square().sum(0)
            for labels in chain:
                labels = labels.to(values.device)
                self.seen.index_add_(0, labels, torch.full_like(sums[0], len(values)))
                self.total.index_add_(0, labels, sums[0])
                self.squares.index_add_(0, labels, sums[1])

        return record
