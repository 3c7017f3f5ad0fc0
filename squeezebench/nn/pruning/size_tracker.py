"""Sizes of what is left of a network while channels go, without building it: for methods that steer by them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.nn.pruning.compact import _drop_unread, select_channels
from squeezebench.nn.pruning.dependency_graph import DependencyGraph
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.sizes import Sizes

Kept = dict[str, Tensor]  # set -> which of its channels stay, bool (width,)


class SizeTracker:
    """Sizes by the rules of `sizes.py`, from which sets stay. An empty residual block still counts its last map."""

    def __init__(self, masked: MaskedNetwork):
        self.graph: DependencyGraph = masked.graph
        self.sets = masked.sets
        network = masked.network
        layers = {path: network.get_submodule(path) for path in (*self.graph.makes, *self.graph.depthwise)}
        self.kernel = {
            path: m.weight[0, 0].numel() for path, m in layers.items() if isinstance(m, nn.Conv2d | nn.Linear)
        }
        self.features = {path: m.weight.shape[1] for path, m in layers.items() if path in self.kernel}
        self.last = [path for path in self.graph.makes if path in self.kernel][-1]  # gives the logits

    def alive(self, kept: Mapping[str, Tensor]) -> np.ndarray:
        """Whether each set of the graph stays, bool (S + 1,); the last one stands for 'no set'.

        A flattened element goes with its channel, and a channel that nobody reads any more goes as well.
        """
        alive = np.ones(len(self.graph.fixed) + 1, bool)
        for units in self.graph.sets:
            if units.name in kept:
                alive[np.array(units.labels, int)] = kept[units.name].cpu().numpy()
        for _, out in self.graph.selects.values():
            chain = self.graph.ancestry(out)
            if len(chain) > 1:
                alive[chain[0][~alive[chain[1]]]] = False
        _drop_unread(self.graph, alive)
        return alive

    def kept(self, alive: np.ndarray) -> Kept:
        """The same by set."""
        return {units.name: torch.from_numpy(alive[np.array(units.labels, int)]) for units in self.sets}

    def sizes(self, alive: np.ndarray) -> Sizes:
        """Of the network that is left."""
        found = self.graph

        def left(numbers: np.ndarray) -> int:
            return int(np.logical_and.reduce([alive[labels] for labels in found.ancestry(numbers)]).sum())

        weights = neurons = macs = 0
        for path, kernel in self.kernel.items():
            made = left((found.makes if path in found.makes else found.depthwise)[path])
            read = 1
            if path in found.makes:
                read = self.features[path] if found.reads[path] is None else left(found.reads[path])
            weights += made * read * kernel
            macs += made * read * kernel * found.positions[path]
            neurons += 0 if path == self.last else made * found.positions[path]
        neurons += sum(left(out) for _, out in found.selects.values())
        neurons += sum(left(numbers) * found.pooled_positions[path] for path, numbers in found.pools.items())
        return Sizes(weights, neurons, macs)


def track_sizes(masked: MaskedNetwork) -> SizeTracker:
    """Of this network; made once."""
    if not isinstance(found := vars(masked).get("_tally"), SizeTracker):
        found = vars(masked)["_tally"] = SizeTracker(masked)
    return found


def narrowed(masked: MaskedNetwork, kept: Mapping[str, Tensor], example: Tensor) -> MaskedNetwork:
    """A smaller network under the same masks, of the channels that stay (see SizeTracker.kept): same mu, same log_var.

    `masked` itself where nothing goes, or where what is left has other sets (a set without channels is none).
    """
    if all(bool(stays.all()) for stays in kept.values()):
        return masked
    network = select_channels(
        masked.network, {name: stays.nonzero().flatten() for name, stays in kept.items()}, example
    )
    small = MaskedNetwork(network, example, **masked.mask_settings)
    widths = {name: int(stays.sum()) for name, stays in kept.items()}
    if {units.name: units.width for units in small.sets} != widths:
        return masked
    with torch.no_grad():
        for name, stays in kept.items():
            old, new = masked.masks[name], small.masks[name]
            new.mu.copy_(old.mu[stays.to(old.mu.device)])
            new.log_var.copy_(old.log_var[stays.to(old.mu.device)])
    return small.train(masked.training)
