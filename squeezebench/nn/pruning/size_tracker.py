"""Sizes of what is left of a network while channels go, without building it: for methods that steer by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.nn.pruning.compact import _drop_unread, select_channels
from squeezebench.nn.pruning.dependency_graph import DependencyGraph
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.sizes import Sizes
from squeezebench.nn.rnn.classifier import RecurrentClassifier

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
        self.recurrent = {path: m for path, m in layers.items() if isinstance(m, RecurrentClassifier)}
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

    def linked(self, scores: Mapping[str, Tensor]) -> Kept:
        """Scores (width,) of each set such that the best flattened element is one of the best channel.

        An element is worth no more than its channel, and a channel what the best of its elements is worth.
        """
        values = np.full(len(self.graph.fixed) + 1, np.inf)
        for units in self.graph.sets:
            if units.name in scores:
                values[list(units.labels)] = scores[units.name].numpy()
        for _, out in self.graph.selects.values():
            elements, *channels = self.graph.ancestry(out)
            if channels:
                values[elements] = np.minimum(values[elements], values[channels[0]])
                values[channels[0]] = -np.inf
                np.maximum.at(values, channels[0], values[elements])
        return {u.name: torch.from_numpy(values[list(u.labels)]) for u in self.graph.sets if u.name in scores}

    def sizes(self, alive: np.ndarray) -> Sizes:
        """Of the network that is left."""
        graph, weights, neurons, macs = self.graph, 0, 0, 0
        for path, channels, read in self._layers(alive):
            count = round(channels * read) * self.kernel[path]
            weights += count
            macs += count * graph.positions[path]
            neurons += 0 if path == self.last else round(channels) * graph.positions[path]
        neurons += sum(round(self._left(alive, out)) for _, out in graph.selects.values())
        pooled = graph.pooled_positions
        neurons += sum(round(self._left(alive, numbers)) * pooled[path] for path, numbers in graph.pools.items())
        return Sizes(weights, neurons, macs)

    def weights(self, stay: np.ndarray, hidden: Sequence[float] | None = None) -> float:
        """Expected number of weights if each set stays with the probability `stay`, (S + 1,) with 1 for 'no set'.

        Sets are taken as independent. hidden: expected units of each layer of a recurrent part; None: all of them.
        """
        total = sum(channels * read * self.kernel[path] for path, channels, read in self._layers(stay))
        for path, part in self.recurrent.items():
            widths = [self._left(stay, self.graph.reads[path]), *(part.hidden if hidden is None else hidden)]
            gates, products = len(part.cell.gates), len(part.cell.recurrent)
            total += sum(h * (gates * read + products * h) for read, h in pairwise(widths))
            total += widths[-1] * part.head.out_features
        return total

    def features_read(self, alive: np.ndarray) -> int:
        """How many features the recurrent part reads."""
        return round(sum(self._left(alive, self.graph.reads[path]) for path in self.recurrent))

    def macs(self, stay: np.ndarray) -> float:
        """Expected multiply-accumulates of one image, in the same way; of a network without a recurrent part."""
        layers = self._layers(stay)
        return sum(channels * read * self.kernel[path] * self.graph.positions[path] for path, channels, read in layers)

    def _layers(self, stay: np.ndarray) -> Iterator[tuple[str, float, float]]:
        """(path, channels that it gives, features that it multiplies each of them with) of each layer with weights."""
        graph = self.graph
        for path in self.kernel:
            channels = self._left(stay, (graph.makes if path in graph.makes else graph.depthwise)[path])
            read = 1.0
            if path in graph.makes:
                reads = graph.reads[path]
                read = self.features[path] if reads is None else self._left(stay, reads)
            yield path, channels, read

    def _left(self, stay: np.ndarray, numbers: np.ndarray) -> float:
        """How many of these channels stay, with those that they were selected from."""
        return float(np.prod([stay[labels] for labels in self.graph.ancestry(numbers)], 0, float).sum())


def track_sizes(masked: MaskedNetwork) -> SizeTracker:
    """Of this network; made once."""
    if not isinstance(tracker := vars(masked).get("_tracker"), SizeTracker):
        tracker = vars(masked)["_tracker"] = SizeTracker(masked)
    return tracker


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
            new.chosen = None if old.chosen is None else old.chosen[stays.cpu()]
    return small.train(masked.training)
