"""A feed-forward network under bottleneck masks: one (mu, log_var) for each set of coupled channels.

Where z is multiplied. On what *reads* a channel: the input of every convolution, linear or recurrent layer that
multiplies it with weights. For a plain network that is h = z * pool(relu(norm(conv(x)))); a maximum and an average
pooling commute with z >= 0, so this is VIBNet's place (after batch norm and ReLU, before the pooling) for every z
that is not negative. For a residual network it is the tensor after the addition, and every reader of the stream sees
the same z: h_s = (mu_s + eps sigma_s) SCS_s (ITPCC). The identity path carries the sum as it is; multiplying the
summands instead gives the same readings wherever z >= 0, as the ReLU between is homogeneous. A depthwise convolution
reads a channel of its own set and is not masked twice.

What this buys: removing channels whose z is 0 and folding mu into the readers' weights is exact in every case.

The noise is drawn once for each element of the batch and set, and broadcast over the map (over the frames of a
sequence, where a network takes sequences). The network itself carries no hooks outside of a masked forward pass, and
its parameters keep their names below `network.`; the masks are `masks.<set>.mu` and `masks.<set>.log_var`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.dependency_graph import CoupledSet, DependencyGraph, follow


class MaskedNetwork(nn.Module):
    """`network` under one mask for each of its sets of coupled channels; same input, same output.

    example: an input batch to trace it with.  sets: names of the sets that are masked, None: all.
    mask_settings: of BottleneckMask (noise `per_sequence` or `first_batch`, threshold, initial_log_var, ...).
    mask: another module with its interface, made of (units, **mask_settings): forward, keep, deterministic.
    """

    def __init__(
        self,
        network: nn.Module,
        example: Tensor,
        sets: Collection[str] | None = None,
        mask: Callable[..., nn.Module] = BottleneckMask,
        **mask_settings: Any,
    ):
        super().__init__()
        self.network, self.mask_settings = network, mask_settings
        self.graph: DependencyGraph = follow(network, example)
        known = {s.name for s in self.graph.sets}
        if sets is not None and (wrong := sorted(set(sets) - known)):
            raise InputError(f"no set of coupled channels {wrong[0]!r}; there are {', '.join(sorted(known))}")
        self.sets: list[CoupledSet] = [s for s in self.graph.sets if sets is None or s.name in sets]
        self.masks = nn.ModuleDict({s.name: mask(s.width, **mask_settings) for s in self.sets})
        self.masks.to(example.device, example.dtype)
        total = sum(s.width for s in self.sets)
        column = np.full(len(self.graph.fixed) + 1, total)  # the last column is 1: what has no mask
        column[np.concatenate([np.array(s.labels, int) for s in self.sets] or [[]]).astype(int)] = np.arange(total)
        self._columns = {
            path: _as_slices([column[labels] for labels in self.graph.ancestry(numbers)], total)
            for path, numbers in self.graph.reads.items()
            if numbers is not None
        }

    def draw(self, batch: int) -> Tensor:
        """All masks of one forward pass side by side with a column of ones, (batch, sets + 1) or (1, sets + 1)."""
        drawn = [mask(batch) for mask in self.masks.values()]
        rows = max((len(z) for z in drawn if z.dim() == 2), default=1)
        parts = [z if z.dim() == 2 else z.expand(rows, -1) for z in drawn]
        like = parts[0] if parts else next(self.network.parameters())
        return torch.cat([*parts, like.new_ones(rows, 1)], 1)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """As the network's own."""
        z = self.draw(len(x))
        with ExitStack() as hooks:
            for path, columns in self._columns.items():
                reader = self.network.get_submodule(path)
                hooks.enter_context(reader.register_forward_pre_hook(_Reading(z, columns)))
            return self.network(x, *args, **kwargs)

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of the network below the masks."""
        return self.network.macs(steps)

    def kept(self) -> dict[str, Tensor]:
        """Indices of the channels of each masked set that stay."""
        return {name: mask.keep().nonzero().flatten().cpu() for name, mask in self.masks.items()}


def _as_slices(chain: list[np.ndarray], total: int) -> list[slice | Tensor]:
    """Columns of z for each feature: a slice where they are neighbours (no copy), indices otherwise."""
    slices: list[slice | Tensor] = []
    for columns in chain:
        if (columns == total).all():
            continue
        run = len(columns) > 0 and (np.diff(columns) == 1).all()
        slices.append(slice(int(columns[0]), int(columns[-1]) + 1) if run else torch.from_numpy(columns))
    return slices


class _Reading:
    """Multiplies what a layer reads with z, broadcast over the map and over the frames of a sequence."""

    def __init__(self, z: Tensor, columns: list[slice | Tensor]):
        self.z, self.columns = z, columns

    def __call__(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        x = args[0]
        for columns in self.columns:
            z = (self.z[:, columns] if isinstance(columns, slice) else self.z[:, columns.to(x.device)]).to(x.dtype)
            if 1 < len(z) < len(x):  # (batch * frames, ...), a sequence's frames side by side
                z = z.repeat_interleave(len(x) // len(z), 0)
            x = x * (z[:, :, None, None] if x.dim() == 4 else z[:, None] if x.dim() == 3 else z)
        return (x, *args[1:])
