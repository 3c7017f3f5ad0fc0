"""Which channels of each layer stay if their numbers are given: those of the largest scores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from squeezebench.nn.pruning.dependency_graph import DependencyGraph
from squeezebench.nn.pruning.groups import largest


def best_channels(graph: DependencyGraph, scores: Mapping[str, Tensor], counts: Mapping[str, int]) -> dict[str, Tensor]:
    """Sorted indices of the `counts[set]` channels with the largest `scores[set]`, (width,), for each set of `counts`.

    Elements of a flattened map are chosen among those of the channels that stay, and of each of these channels the best
    one first, as a channel without elements would go. If `counts` asks for more elements than there are, all stay.
    """
    parents = parents_of(graph)
    keep: dict[str, Tensor] = {}
    alive: set[int] = set()  # labels of what stays
    for units in graph.sets:
        if units.name in counts:
            values, count = scores[units.name].detach().cpu(), counts[units.name]
            if units.labels[0] in parents:
                values = _of_kept_channels(values, [parents[label] for label in units.labels], alive)
                count = min(count, int((values > -torch.inf).sum()))
            keep[units.name] = largest(values, count)
            alive |= {units.labels[place] for place in keep[units.name].tolist()}
    return keep


def parents_of(graph: DependencyGraph) -> dict[int, int]:
    """Label of each flattened element that can be selected -> label of the channel that it comes from."""
    parents: dict[int, int] = {}
    for _, out in graph.selects.values():
        elements, *channels = graph.ancestry(out)
        if channels:
            parents |= dict(zip(elements.tolist(), channels[0].tolist(), strict=True))
    return parents


def _of_kept_channels(values: Tensor, parents: list[int], alive: set[int]) -> Tensor:
    """Scores of elements: -inf if the channel is gone, and inf for the best element of each channel that stays."""
    values, of = values.clone(), torch.tensor(parents)
    for channel in of.unique().tolist():
        places = (of == channel).nonzero().flatten()
        if channel in alive:
            values[places[values[places].argmax()]] = torch.inf
        else:
            values[places] = -torch.inf
    return values
