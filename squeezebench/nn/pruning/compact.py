"""From a network and the channels that stay to a smaller plain network of the same class, with the same output.

A channel that goes is one that every reader multiplies by 0. Its rows leave the layers that make it, its entries the
batch norms that carry it, its columns the layers that read it. A factor on a kept channel (mu at evaluation) is
multiplied into the columns of its readers, which is exact whatever its sign, since masks act on what is read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.parts import Conv2d, PaddedShortcut, Select, Shift
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.pruning.dependency_graph import DependencyGraph, follow
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.shrink import select_units, surviving_units
from squeezebench.nn.rnn.classifier import RecurrentClassifier


def compact_network(masked: MaskedNetwork) -> nn.Module:
    """The plain network that gives at evaluation what `masked` gives: z = mu on what is kept, 0 elsewhere."""
    scale = {name: mask.deterministic().detach() for name, mask in masked.masks.items()}
    return _cut_network(masked.network, masked.graph, masked.kept(), scale)


def select_channels(
    network: nn.Module,
    keep: Mapping[str, Tensor],
    example: Tensor,
    scale: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """A copy of `network` with only the channels `keep[set]` (indices) of each named set; other sets stay whole.

    scale: factors on the channels of a set, (width,), e.g. gates of another method; they are folded.
    InputError for a set that the network does not have or a channel outside of it.
    """
    return _cut_network(network, follow(network, example), keep, scale or {})


@dataclass
class Cut:
    """What happens to one layer: indices that stay (None: all) and the factor on each input feature."""

    rows: Tensor | None = None  # of what it gives
    columns: Tensor | None = None  # of what it reads
    scale: Tensor | None = None  # (features read,) before the cut
    index: Tensor | None = None  # of a selection: place of each feature among those that stay
    features: int = 0  # features read before the cut


def _cut_network(
    network: nn.Module,
    graph: DependencyGraph,
    keep: Mapping[str, Tensor],
    scale: Mapping[str, Tensor],
) -> nn.Module:
    alive, factor = _per_set(graph, keep, scale)
    _feed_recurrent(network, graph, alive, factor)
    cuts = _cuts(graph, alive, factor)
    small = copy.deepcopy(network)
    for path, cut in cuts.items():
        _replace(small, path, resized(small.get_submodule(path), cut))
    for module in list(small.modules()):
        if hasattr(module, "tidy"):
            module.tidy()
    return small.train(network.training)


def _per_set(
    graph: DependencyGraph, keep: Mapping[str, Tensor], scale: Mapping[str, Tensor]
) -> tuple[np.ndarray, np.ndarray]:
    """Whether each set of the graph stays, bool (S + 1,), and its factor; the last entry stands for 'no set'."""
    count = len(graph.fixed)
    alive, factor = np.ones(count + 1, bool), np.ones(count + 1)
    sets = {s.name: s for s in graph.sets}
    for name in [*keep, *scale]:
        if name not in sets:
            raise InputError(f"no set of coupled channels {name!r}; there are {', '.join(sets)}")
    for name, indices in keep.items():
        chosen = torch.as_tensor(indices, dtype=torch.long).cpu().numpy()
        width, labels = sets[name].width, np.array(sets[name].labels, int)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= width):
            raise InputError(f"{name}: channels are 0 to {width - 1}, got {chosen.min()} to {chosen.max()}")
        alive[labels] = False
        alive[labels[chosen]] = True
    for name, values in scale.items():
        factor[np.array(sets[name].labels, int)] = values.detach().double().cpu().numpy()
    _drop_unread(graph, alive)
    return alive, factor


def _drop_unread(graph: DependencyGraph, alive: np.ndarray) -> None:
    """A channel that only a selection reads goes when none of its selected elements stays."""
    read = np.zeros(len(alive), bool)
    for numbers in graph.reads.values():
        if numbers is not None:
            for labels in graph.ancestry(numbers)[:1]:
                read[labels] = True
    wanted, parents = np.zeros(len(alive), bool), np.zeros(len(alive), bool)
    for _, out in graph.selects.values():
        chain = graph.ancestry(out)
        if len(chain) > 1:
            parents[chain[1]] = True
            wanted[chain[1][alive[chain[0]]]] = True
    parents[-1] = False
    fixed = np.append(graph.fixed, True)
    alive &= ~(parents & ~read & ~wanted & ~fixed)


def _feed_recurrent(network: nn.Module, graph: DependencyGraph, alive: np.ndarray, factor: np.ndarray) -> None:
    """A recurrent layer reads at least one input: where none stays, its first one does, times 0."""
    for path, numbers in graph.reads.items():
        if numbers is not None and isinstance(network.get_submodule(path), RecurrentClassifier):
            chain = graph.ancestry(numbers)
            if len(numbers) and not np.logical_and.reduce([alive[labels] for labels in chain]).any():
                first = [labels[0] for labels in chain]
                alive[first] = True
                factor[first[0]] = 0.0


def _cuts(graph: DependencyGraph, alive: np.ndarray, factor: np.ndarray) -> dict[str, Cut]:
    def stays(numbers: np.ndarray) -> np.ndarray:
        return np.logical_and.reduce([alive[labels] for labels in graph.ancestry(numbers)])

    def index(numbers: np.ndarray) -> Tensor:
        return torch.from_numpy(stays(numbers).nonzero()[0])

    cuts: dict[str, Cut] = {}
    for path, numbers in graph.makes.items():
        cuts[path] = Cut(rows=index(numbers))
    for path, numbers in graph.reads.items():
        if numbers is not None:
            cuts[path].columns = index(numbers)
            scale = np.prod([factor[labels] for labels in graph.ancestry(numbers)], axis=0)
            cuts[path].scale = None if (scale == 1).all() else torch.from_numpy(scale)
    for path, numbers in (graph.carries | graph.depthwise).items():
        cuts[path] = Cut(rows=index(numbers))
    for path, (source, out) in graph.pads.items():
        cuts[path] = Cut(rows=index(out), features=len(source))
    for path, (features, out) in graph.selects.items():
        rows = index(out)
        before = None if features is None else np.cumsum(stays(features)) - 1  # place among the features that stay
        cuts[path] = Cut(rows=rows, columns=None if features is None else index(features))
        cuts[path].index = None if before is None else torch.from_numpy(before)
    return cuts


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    if network.get_submodule(path) is not module:
        network.set_submodule(path, module)


@singledispatch
def resized(module: nn.Module, cut: Cut) -> nn.Module:
    """`module` with only the rows and columns that stay. It may be changed in place: it is a copy's."""
    raise InputError(f"a {type(module).__name__} cannot be cut to fewer channels")


def _weight(weight: Tensor, cut: Cut) -> Tensor:
    """Rows and columns of a weight (O, F, ...) with the factors on its features multiplied in."""
    weight = weight.detach()
    if cut.scale is not None:
        weight = weight * cut.scale.to(weight).view(1, -1, *[1] * (weight.dim() - 2))
    if cut.columns is not None:
        weight = weight.index_select(1, cut.columns.to(weight.device))
    return _rows(weight, cut)


def _rows(values: Tensor, cut: Cut) -> Tensor:
    return values.detach() if cut.rows is None else values.detach().index_select(0, cut.rows.to(values.device))


@resized.register
def _(conv: nn.Conv2d, cut: Cut) -> nn.Module:
    bias = None if conv.bias is None else _rows(conv.bias, cut)
    if isinstance(conv, Conv2d):
        conv.assign(_weight(conv.weight, cut), bias)
        return conv
    if not len(cut.rows):
        raise InputError("torch's Conv2d cannot have 0 channels; use squeezebench.nn.cnn.parts.Conv2d")
    conv.weight = nn.Parameter(_weight(conv.weight, cut).clone())
    conv.bias = None if bias is None else nn.Parameter(bias.clone())
    conv.out_channels = len(conv.weight)
    conv.groups = conv.out_channels if cut.columns is None and conv.groups > 1 else 1
    conv.in_channels = conv.weight.shape[1] * conv.groups
    return conv


@resized.register
def _(linear: nn.Linear, cut: Cut) -> nn.Module:
    linear.weight = nn.Parameter(_weight(linear.weight, cut).clone())
    linear.bias = None if linear.bias is None else nn.Parameter(_rows(linear.bias, cut).clone())
    linear.out_features, linear.in_features = linear.weight.shape
    return linear


@resized.register(nn.BatchNorm1d)
@resized.register(nn.BatchNorm2d)
def _(norm: Any, cut: Cut) -> nn.Module:
    for name, values in [*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)]:
        if values.dim() and name != "num_batches_tracked":
            new = _rows(values, cut).clone()
            setattr(norm, name, nn.Parameter(new) if isinstance(values, nn.Parameter) else new)
    norm.num_features = len(cut.rows)
    return norm


@resized.register
def _(shift: Shift, cut: Cut) -> nn.Module:
    shift.bias = nn.Parameter(_rows(shift.bias, cut).clone())
    return shift


@resized.register
def _(pad: PaddedShortcut, cut: Cut) -> nn.Module:
    rows, behind = cut.rows, pad.front + cut.features
    pad.front, pad.back = int((rows < pad.front).sum()), int((rows >= behind).sum())
    return pad


@resized.register
def _(select: Select, cut: Cut) -> nn.Module:
    old = torch.arange(select.size) if select.index is None else select.index.long().cpu()
    chosen = old[cut.rows]
    if cut.index is not None:  # what it reads has fewer features now
        chosen = cut.index[chosen]
        select.size = len(cut.columns)
    whole = len(chosen) == select.size and bool((chosen == torch.arange(select.size)).all())
    device = None if select.index is None else select.index.device
    select.index = None if whole else chosen.to(torch.int32).to(device)
    return select


@resized.register
def _(classifier: RecurrentClassifier, cut: Cut) -> nn.Module:
    if classifier.input_mask is not None or classifier.front is not None or classifier.input_index is not None:
        raise InputError(
            "the recurrent part behind a network reads its features directly: no input mask (the features' own set is "
            "masked), no front and no input index"
        )
    read = classifier.layers[0].input_map
    if not isinstance(read, DenseMap):
        raise InputError(f"the recurrent part behind a network reads through a dense map, got {type(read).__name__}")
    with torch.no_grad():
        if cut.scale is not None:
            read.weight.mul_(cut.scale.to(read.weight))
    columns = torch.arange(classifier.inputs) if cut.columns is None else cut.columns
    small = select_units(classifier, columns, surviving_units(classifier))
    small.input_index = None  # the network in front gives what is read, and no more
    return small
