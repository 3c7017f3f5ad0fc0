"""Which channels of a network must stay or go together, found by following them through its graph.

The network is traced once (torch.fx) and run on an example, so that every shape is known. Each layer that makes
channels (a convolution, a linear layer, a selection) gives them numbers; the numbers travel through whatever treats
channels one by one (batch norm, ReLU, pooling, a depthwise convolution, zero padding, flattening, concatenation), and
an addition ties the numbers that meet. What is tied is one set: SCS_s of ITPCC (Rostami et al., WACV 2025), Eq. 20.

Option A shortcuts tie a channel with the channel of the next stage that it is added to, since the identity path
carries it there: it cannot go while the other stays.
"""

from __future__ import annotations

import inspect
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor, fx, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.parts import GlobalAverage, PaddedShortcut, Select, Shift
from squeezebench.nn.rnn.classifier import RecurrentClassifier

_CHANNELWISE_MODULES = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Identity, nn.Dropout, nn.Dropout2d, nn.MaxPool2d,
    nn.AvgPool2d, nn.AdaptiveAvgPool2d, Shift, GlobalAverage, nn.LeakyReLU, nn.Hardtanh, nn.Sigmoid, nn.Tanh,
)  # fmt: skip
_LEAVES = (*_CHANNELWISE_MODULES, nn.Conv2d, nn.Linear, nn.Flatten, PaddedShortcut, Select, RecurrentClassifier)
_ADDING = {operator.add, operator.iadd, operator.mul, operator.imul, torch.add, torch.mul, "add", "add_", "mul", "mul_"}
_CHANNELWISE = {F.relu, F.relu6, F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.dropout, torch.relu,
                "relu", "contiguous", "clone", "to", "float", "double"}  # fmt: skip
_RESHAPING = {torch.flatten, torch.reshape, "flatten", "reshape", "view"}


@dataclass(frozen=True)
class Member:
    """Channels of one layer that belong to a set, in the set's order. The layer is named by its path."""

    path: str
    channels: tuple[int, ...]


@dataclass(frozen=True)
class CoupledSet:
    """`width` sets of coupled channels that live in the same layers: set j is channel j of every member.

    size: channels in each set, |SCS| (the layers that make or carry it; batch norms are not counted).
    positions: H * W of the map that the first member makes, 1 for linear layers.
    labels: the number of each set in the network's graph, (width,).
    """

    name: str
    width: int
    size: int
    positions: int
    members: tuple[Member, ...]
    labels: tuple[int, ...] = field(repr=False)


@dataclass
class DependencyGraph:
    """What the graph says. Arrays hold channel numbers; `label` maps a number to its set, `fixed` sets never go.

    reads: path -> number of each feature that a layer multiplies with weights
    makes: path -> number of each channel that a layer gives.  carries, depthwise: parameters for each channel alone
    selects, pads: path -> (numbers in, numbers out).  pools: use of a maximum pooling -> numbers
    parent: number of the channel that a selected element comes from, -1 where there is none
    None in place of an array: the network's own input, all of which stays.
    """

    reads: dict[str, np.ndarray | None] = field(default_factory=dict)
    makes: dict[str, np.ndarray] = field(default_factory=dict)
    carries: dict[str, np.ndarray] = field(default_factory=dict)
    depthwise: dict[str, np.ndarray] = field(default_factory=dict)
    selects: dict[str, tuple[np.ndarray | None, np.ndarray]] = field(default_factory=dict)
    pads: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    pools: dict[str, np.ndarray] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)  # of what a layer with weights, or a selection, gives
    pooled_positions: dict[str, int] = field(default_factory=dict)  # of the map that a pooling gives
    parent: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    label: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    fixed: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    sets: list[CoupledSet] = field(default_factory=list)

    def ancestry(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Set of each number, then of the channel it was selected from, and so on; -1 where there is none."""
        chain = [self.label[numbers]]
        above = self.parent[numbers]
        while (above >= 0).any():
            chain.append(np.where(above >= 0, self.label[above], -1))
            above = np.where(above >= 0, self.parent[above], -1)
        return chain


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES) or super().is_leaf_module(m, module_qualified_name)


class _Follower(fx.Interpreter):
    """Runs the network on the example and notes the channel numbers of every tensor."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module, garbage_collect_values=False)
        self.result, self.count = DependencyGraph(), 0
        self.ties: list[tuple[np.ndarray, np.ndarray]] = []
        self.parents: list[np.ndarray] = []
        self.fixed: list[np.ndarray] = []
        self.numbers: dict[fx.Node, np.ndarray | None] = {}

    def run_node(self, n: fx.Node):
        value = super().run_node(n)
        self.numbers[n] = self._follow(n, value)
        return value

    def new(self, count: int, parent: np.ndarray | None = None) -> np.ndarray:
        numbers = np.arange(self.count, self.count + count)
        self.count += count
        self.parents.append(np.full(count, -1) if parent is None else parent)
        return numbers

    def _follow(self, n: fx.Node, value) -> np.ndarray | None:
        sources = [m for m in n.all_input_nodes if self.numbers.get(m) is not None]
        if n.op == "output":
            self.fixed += [self.numbers[m] for m in sources]
            return None
        if n.op == "call_module":
            return self._module(n, value)
        if not sources or not isinstance(value, Tensor):
            return None
        source = self.numbers[sources[0]]
        if n.op in ("call_function", "call_method"):
            if n.target in _ADDING:
                return self._added(n, sources)
            if n.target in _CHANNELWISE or (n.target in (torch.mean, "mean") and self.env[sources[0]].dim() == 4):
                return source
            if n.target in _RESHAPING:
                return self._reshaped(n, source, self.env[sources[0]], value)
            if n.target in (torch.cat, torch.concat):
                return self._joined(n)
        raise InputError(f"coupled channels: operation {n.target!r} ({n.name}) is not one whose channels are known")

    def _module(self, n: fx.Node, value) -> np.ndarray | None:
        module, path, result = self.fetch_attr(n.target), n.target, self.result
        source, given = self.numbers.get(n.args[0]), self.env[n.args[0]]
        if isinstance(module, nn.Conv2d) and _depthwise(module):
            if source is None:
                raise InputError(f"coupled channels: {path} is depthwise on the network's input; that is not known")
            result.positions[path] = value.shape[2:].numel()
            return self._note(result.depthwise, path, source)
        if isinstance(module, nn.Conv2d | nn.Linear | RecurrentClassifier):
            if getattr(module, "groups", 1) > 1:
                raise InputError(f"coupled channels: {path} is a grouped convolution; only depthwise ones are known")
            self._note(result.reads, path, source)
            result.positions[path] = value.shape[2:].numel()
            return self._note(result.makes, path, self.new(value.shape[1]))
        if isinstance(module, Select):
            features = None if source is None else _spread(source, given[0].numel())
            index = np.arange(module.size) if module.index is None else module.index.cpu().numpy()
            out = self.new(len(index), None if features is None else features[index])
            self._note(result.selects, path, (features, out))
            result.positions[path] = 1
            return out
        if source is None:
            return None
        if isinstance(module, PaddedShortcut):
            out = np.concatenate([self.new(module.front), source, self.new(module.back)])
            self._note(result.pads, path, (source, out))
            return out
        if isinstance(module, nn.Flatten):
            return self._reshaped(n, source, given, value)
        if isinstance(module, nn.MaxPool2d):
            result.pools[n.name], result.pooled_positions[n.name] = source, value.shape[2:].numel()
            return source
        if isinstance(module, _CHANNELWISE_MODULES):
            return self._note(result.carries, path, source) if module.state_dict() else source
        raise InputError(f"coupled channels: {path} is a {type(module).__name__}, which is not one of the known layers")

    def _note(self, table: dict, path: str, value):
        if path in table:
            raise InputError(f"coupled channels: {path} runs twice in one forward pass; give each use its own")
        table[path] = value
        return value

    def _added(self, n: fx.Node, sources: list[fx.Node]) -> np.ndarray:
        known = [self.numbers[m] for m in sources]
        if any(isinstance(self.env[m], Tensor) and m not in sources for m in n.all_input_nodes):
            self.fixed.append(known[0])  # met by a tensor that is not ours to cut
        for other in known[1:]:
            if len(other) != len(known[0]):
                raise InputError(f"coupled channels: {n.name} meets {len(known[0])} and {len(other)} channels")
            self.ties.append((known[0], other))
        return known[0]

    def _reshaped(self, n: fx.Node, source: np.ndarray, before: Tensor, after: Tensor) -> np.ndarray:
        if before.dim() == 4 and after.shape == (len(before), before[0].numel()):
            return _spread(source, after.shape[1])
        if before.dim() == 2 and after.shape[-1] == before.shape[1]:
            return source  # (B T, F) -> (B, T, F)
        raise InputError(f"coupled channels: {n.name} turns {tuple(before.shape)} into {tuple(after.shape)}; not known")

    def _joined(self, n: fx.Node) -> np.ndarray:
        dim = n.args[1] if len(n.args) > 1 else n.kwargs.get("dim", 0)
        parts = [self.numbers.get(m) for m in n.args[0]]
        if dim not in (1, -self.env[n.args[0][0]].dim() + 1) or any(part is None for part in parts):
            raise InputError(f"coupled channels: {n.name} joins something other than known channels")
        return np.concatenate(parts)

    def dependencies(self) -> DependencyGraph:
        result = self.result
        result.parent = np.concatenate([*self.parents, np.zeros(0, int)]).astype(int)
        rows, columns = (np.concatenate([*(t[k] for t in self.ties), np.zeros(0, int)]) for k in (0, 1))
        graph = coo_matrix((np.ones(len(rows)), (rows.astype(int), columns.astype(int))), (self.count, self.count))
        count, result.label = connected_components(graph, directed=False)
        result.fixed = np.zeros(count, bool)
        for numbers in self.fixed:
            result.fixed[result.label[numbers]] = True
        result.sets = _sets(result)
        return result


def _depthwise(conv: nn.Conv2d) -> bool:
    return getattr(conv, "depthwise", conv.groups == conv.in_channels == conv.out_channels > 1)


def _spread(numbers: np.ndarray, features: int) -> np.ndarray:
    """Channel numbers of the flattened map: each channel is H * W neighbouring features."""
    return np.repeat(numbers, features // len(numbers)) if len(numbers) else numbers


def _sets(result: DependencyGraph) -> list[CoupledSet]:
    """Sets that live in the same layers, side by side; in the order in which the network makes them."""
    members: dict[int, list[tuple[str, int]]] = {}
    for path in result.positions:  # in the order of the forward pass
        numbers = result.selects[path][1] if path in result.selects else (result.makes | result.depthwise)[path]
        for channel, label in enumerate(result.label[numbers].tolist()):
            members.setdefault(label, []).append((path, channel))
    groups: dict[tuple[str, ...], list[int]] = {}
    for label, places in members.items():
        if not result.fixed[label]:
            groups.setdefault(tuple(path for path, _ in places), []).append(label)
    names: dict[str, int] = {}
    sets = []
    for paths, labels in groups.items():
        names[paths[0]] = names.get(paths[0], 0) + 1
        name = paths[0].replace(".", "_") + (f"_part{names[paths[0]]}" if names[paths[0]] > 1 else "")
        places = tuple(Member(path, tuple(members[v][k][1] for v in labels)) for k, path in enumerate(paths))
        sets.append(CoupledSet(name, len(labels), len(paths), result.positions[paths[0]], places, tuple(labels)))
    return sets


def traced(module: nn.Module) -> tuple[fx.Graph, list[Any]]:
    """The graph of a forward pass with every optional argument at its default, and those defaults."""
    parameters = inspect.signature(module.forward).parameters.items()
    optional = {name: p.default for name, p in parameters if p.default is not inspect.Parameter.empty}
    return _Tracer().trace(module, concrete_args=optional or None), list(optional.values())


@torch.no_grad()
def follow(module: nn.Module, example: Tensor) -> DependencyGraph:
    """The dependency graph of `module` by running its graph on `example`, one input batch of any size.

    InputError where the network has an operation or a layer whose channels are not known.
    """
    training = module.training
    module.eval()
    try:
        graph, defaults = traced(module)
        follower = _Follower(fx.GraphModule(module, graph))
        follower.run(example, *defaults)
    finally:
        module.train(training)
    return follower.dependencies()
