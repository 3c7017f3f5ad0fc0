"""Sizes while channels go, and networks cut under their masks: against networks that are really built."""

from __future__ import annotations

import pytest
import torch
from feedforward_networks import MAKERS, network
from torch import nn

from squeezebench.nn.pruning.compact import select_channels
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.size_tracker import narrowed, track_sizes
from squeezebench.nn.pruning.sizes import measured_sizes

PLAIN = ["lenet300", "lenet5", "vgg", "vgg8", "frame", "resnet_a", "resnet_b", "bottleneck", "mobilenet"]


def masked_network(name: str) -> tuple[MaskedNetwork, torch.Tensor]:
    example = torch.zeros(1, *MAKERS[name][1]).double()
    return MaskedNetwork(network(name), example), example


def some(masked: MaskedNetwork, part: float, seed: int) -> dict[str, torch.Tensor]:
    """A random choice that leaves one channel of each set."""
    generator = torch.Generator().manual_seed(seed)
    kept = {one.name: torch.rand(one.width, generator=generator) < part for one in masked.sets}
    for stays in kept.values():
        stays[0] = True
    return kept


@pytest.mark.parametrize("part", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("name", PLAIN)
def test_the_tally_is_the_size_of_the_network_that_is_left(name, part):
    masked, example = masked_network(name)
    counts = track_sizes(masked)
    alive = counts.alive(some(masked, part, 1))
    chosen = {one: stays.nonzero().flatten() for one, stays in counts.kept(alive).items()}
    assert counts.sizes(alive) == measured_sizes(select_channels(masked.network, chosen, example), example)
    assert counts is track_sizes(masked)


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "vgg", "frame"])
def test_a_narrowed_network_has_the_same_masks_and_gives_the_same(name):
    masked, example = masked_network(name)
    for mask in masked.masks.values():
        nn.init.uniform_(mask.mu, 0.5, 1.5)
    counts = track_sizes(masked)
    kept = counts.kept(counts.alive(some(masked, 0.6, 2)))
    for one, stays in kept.items():
        with torch.no_grad():
            masked.masks[one].mu[~stays] = 0.0
    small = narrowed(masked, kept, example)
    assert {one: mask.units for one, mask in small.masks.items()} == {one: int(s.sum()) for one, s in kept.items()}
    x = torch.randn(5, *MAKERS[name][1]).double()
    with torch.no_grad():
        assert torch.allclose(masked.eval()(x), small.eval()(x), atol=1e-12)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in masked.parameters())


def test_a_flattened_element_goes_with_its_channel_and_an_unread_channel_goes_too():
    masked, _ = masked_network("lenet5")
    counts = track_sizes(masked)
    channel = {one.name: torch.ones(one.width, dtype=torch.bool) for one in masked.sets}
    channel["conv2"][1] = False
    per_channel = len(channel["flat"]) // len(channel["conv2"])
    left = counts.kept(counts.alive(channel))["flat"]
    assert (~left).nonzero().flatten().tolist() == list(range(per_channel, 2 * per_channel))
    elements = {"flat": torch.arange(len(channel["flat"])) >= per_channel}
    assert counts.kept(counts.alive(elements))["conv2"].tolist()[:2] == [False, True]


def test_what_would_leave_a_layer_without_channels_is_not_narrowed():
    masked, example = masked_network("vgg")
    kept = {one.name: torch.ones(one.width, dtype=torch.bool) for one in masked.sets}
    assert narrowed(masked, kept, example) is masked
    kept[masked.sets[0].name][:] = False
    assert narrowed(masked, kept, example) is masked
