"""The weights that belong to each unit of a network: their number, their norms, and a proximal step on them.

A unit (channel, pixel, flattened element) owns the columns that read it, wherever a layer reads a channel of its
coupled set. Where a flattened map's elements are selected one by one, an element owns its columns and its channel
those of all its elements: groups inside groups, never half across.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.nn.pruning.dependency_graph import DependencyGraph
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.rnn.classifier import RecurrentClassifier

TINY = 1e-12  # keeps the gradient of a norm finite


class UnitGroups:
    """Of one network. Tensors of this class are (S + 1,), one entry for each set of the graph; the last is 'no set'.

    network: whose layers are looked at by path; graph: which of its channels go together.
    """

    def __init__(self, network: nn.Module, graph: DependencyGraph):
        self.network, self.graph, self.count = network, graph, len(graph.fixed)
        self.free = torch.from_numpy(np.append(~graph.fixed, False))  # may go
        self.depth = np.zeros(self.count + 1, int)  # how many other sets a unit lies in
        self.read: dict[str, list[Tensor]] = {}  # path -> set of each feature, then of the channel it is an element of
        for path, numbers in graph.reads.items():
            if numbers is not None:
                chain = graph.ancestry(numbers)
                self.read[path] = [torch.from_numpy(labels % (self.count + 1)) for labels in chain]
                for k, labels in enumerate(chain):
                    above = sum((outer >= 0).astype(int) for outer in chain[k + 1 :])
                    np.maximum.at(self.depth, labels, above)
        self.read_sizes = self._read(lambda weight: torch.full((weight.shape[1],), weight[:, 0].numel()))

    def square_norms(self) -> Tensor:
        """Sum of squares of the weights that read each unit; differentiable."""
        return self._read(lambda weight: weight.square().transpose(0, 1).flatten(1).sum(1))

    def lasso(self) -> Tensor:
        """sum_g sqrt(|g|) ||w_g||_2 over the units that may go, (); differentiable, with a gradient of 0 at 0."""
        norms = (self.square_norms() + TINY).sqrt()
        return (self.read_sizes.sqrt().to(norms.device) * norms)[self.free.to(norms.device)].sum()

    def alive(self, threshold: float = 0.0) -> Tensor:
        """Which units are read by weights whose root mean square exceeds `threshold`, bool, on the CPU.

        What may not go is alive.
        """
        mean = self.square_norms().detach().cpu() / self.read_sizes.clamp(min=1)
        return (mean > threshold**2) | ~self.free

    def gated_sizes(self) -> Tensor:
        """Weights that Louizos et al. put behind one gate: the convolutions' that make a channel, where there are any;
        else the linear layers' that read a unit. A weight lies behind one gate at most."""
        filters = self._made(lambda weight: torch.full((len(weight),), weight[0].numel()), nn.Conv2d)
        columns = self._read(lambda weight: torch.full((weight.shape[1],), len(weight)), nn.Linear)
        return torch.where(filters > 0, filters, columns)

    @torch.no_grad()
    def shrink(self, step: float, spared: Tensor | None = None) -> None:
        """The proximal step of step * sum_g sqrt(|g|) ||w_g||_2, in place: each norm falls by step * sqrt(|g|) or to 0.

        spared: bool (S + 1,), groups that are no part of the sum. Exact for groups inside groups too, from the inner to
        the outer ones (Jenatton et al., Proximal Methods for Hierarchical Sparse Coding, JMLR 2011).
        """
        for depth in sorted(set(self.depth[:-1].tolist()), reverse=True):
            here = self.free & torch.from_numpy(self.depth == depth)
            here = here if spared is None else here & ~spared
            norms = self.square_norms().sqrt()
            factor = (1 - step * self.read_sizes.sqrt().to(norms) / norms).clamp(min=0).nan_to_num(0.0)
            self.scale(torch.where(here.to(norms.device), factor, 1.0))

    @torch.no_grad()
    def scale(self, factor: Tensor) -> None:
        """Multiply, in place, the weights that read each unit by its `factor`, (S + 1,); 1 for 'no set'."""
        for path, chain in self.read.items():
            weight = self._weight(path)
            columns = torch.stack([factor.to(weight)[labels.to(weight.device)] for labels in chain]).prod(0)
            weight.mul_(columns.view(1, -1, *[1] * (weight.dim() - 2)))

    def of(self, values: Tensor) -> dict[str, Tensor]:
        """What `values` say of each set of coupled channels, name -> (width,), on the CPU."""
        return {group.name: values.detach().cpu()[list(group.labels)] for group in self.graph.sets}

    def elements(self) -> set[str]:
        """Sets of a flattened map's elements: each goes with the channel it comes from."""
        chosen = [path for path, (features, _) in self.graph.selects.items() if features is not None]
        return {group.name for group in self.graph.sets if group.members[0].path in chosen}

    def inputs(self) -> set[str]:
        """Sets of the network's own inputs: pixels."""
        chosen = [path for path, (features, _) in self.graph.selects.items() if features is None]
        return {group.name for group in self.graph.sets if group.members[0].path in chosen}

    def _weight(self, path: str) -> Tensor:
        reader = self.network.get_submodule(path)
        if isinstance(reader, RecurrentClassifier):  # its first layer reads the features
            reader = reader.layers[0].input_map
        return reader.weight

    def _read(self, values, kind: type[nn.Module] = nn.Module) -> Tensor:
        """values(weight) of the columns of each layer that reads, summed by set."""
        total = torch.zeros(self.count + 1, dtype=torch.float64)
        for path, chain in self.read.items():
            if isinstance(self.network.get_submodule(path), kind):
                columns = values(self._weight(path))
                for labels in chain:
                    total = total.to(columns.device).index_add(0, labels.to(columns.device), columns.to(total.dtype))
        total[-1] = 0.0
        return total

    def _made(self, values, kind: type[nn.Module]) -> Tensor:
        """values(weight) of the rows of each layer that makes channels, summed by set."""
        total = torch.zeros(self.count + 1, dtype=torch.float64)
        for path, numbers in (self.graph.makes | self.graph.depthwise).items():
            if isinstance(self.network.get_submodule(path), kind):
                rows = values(self._weight(path))
                labels = torch.from_numpy(self.graph.label[numbers]).to(rows.device)
                total = total.to(rows.device).index_add(0, labels, rows.to(total.dtype))
        return total


def unit_groups(masked: MaskedNetwork) -> UnitGroups:
    """Of the network under the masks; found once."""
    if not isinstance(groups := vars(masked).get("_groups"), UnitGroups):
        groups = vars(masked)["_groups"] = UnitGroups(masked.network, masked.graph)
    return groups
