"""Sizes while channels go, and networks cut under their masks: against networks that are really built."""

from __future__ import annotations

import pytest
import torch
from feedforward_networks import MAKERS, network, recurrent_part
from torch import nn

from squeezebench.engine.measurement.counts import count
from squeezebench.nn.pruning.compact import compact_network, select_channels
from squeezebench.nn.pruning.coupled_units import mask_units
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


@pytest.mark.parametrize("part", [0.6, 0.2])
@pytest.mark.parametrize("name", PLAIN)
def test_it_is_the_size_of_the_network_that_is_left(name, part):
    masked, example = masked_network(name)
    counts = track_sizes(masked)
    alive = counts.alive(some(masked, part, 1))
    chosen = {one: stays.nonzero().flatten() for one, stays in counts.kept(alive).items()}
    assert counts.sizes(alive) == measured_sizes(select_channels(masked.network, chosen, example), example)
    assert counts is track_sizes(masked)


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "vgg", "frame"])
def test_the_expected_weights_are_the_mean_over_random_choices(name):
    masked, _ = masked_network(name)
    counts, generator = track_sizes(masked), torch.Generator().manual_seed(3)
    chance = {one.name: 0.3 + 0.6 * torch.rand(one.width, generator=generator) for one in masked.sets}
    stay, drawn = torch.ones(len(masked.graph.fixed) + 1), []
    for one in masked.sets:
        stay[list(one.labels)] = chance[one.name]
    for _ in range(400):
        kept = {one: torch.rand(len(p), generator=generator) < p for one, p in chance.items()}
        drawn.append(float(counts.weights(counts.alive(kept))))
    found = torch.tensor(drawn)
    assert found.mean().item() == pytest.approx(counts.weights(stay.numpy()), abs=5 * found.std().item() / 400**0.5)


@pytest.mark.parametrize("name", ["video", "video_stacked_gru"])
def test_the_weights_of_a_network_under_a_recurrence(name):
    masked, _ = masked_network(name)
    recurrent = recurrent_part(masked.network)
    mask_units(recurrent.double())
    kept = some(masked, 0.5, 4)
    for one, mask in masked.masks.items():
        mask.chosen = kept[one]
    for mask in recurrent.masks():
        mask.chosen = torch.arange(mask.units) % 2 == 0
    alive = track_sizes(masked).alive(kept)
    hidden = [int(mask.chosen.sum()) for mask in recurrent.masks()]
    assert track_sizes(masked).weights(alive, hidden) == count(compact_network(masked.eval())).weights


def test_the_best_element_is_one_of_the_best_channel():
    masked, _ = masked_network("lenet5")
    scores = {one.name: torch.rand(one.width, generator=torch.Generator().manual_seed(5)) for one in masked.sets}
    linked = track_sizes(masked).linked(scores)
    places = masked.graph.selects["flat"][0]  # of each element: its channel
    channel = torch.from_numpy(places - places.min())
    for number, best in enumerate(linked["conv2"]):
        own = scores["flat"][channel == number].minimum(scores["conv2"][number])
        assert best == own.max() and torch.equal(linked["flat"][channel == number], own.double())
    assert linked["conv2"].argmax() == channel[linked["flat"].argmax()]
    assert torch.equal(linked["fc1"], scores["fc1"].double()) and torch.equal(linked["conv1"], scores["conv1"].double())


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
        masked.masks[one].chosen = stays if len(stays) > 5 else None  # decided already, or left to the threshold
    small = narrowed(masked, kept, example)
    assert {one: mask.units for one, mask in small.masks.items()} == {one: int(s.sum()) for one, s in kept.items()}
    assert all(mask.chosen is None or mask.chosen.all() for mask in small.masks.values())
    assert {o: m.chosen is None for o, m in small.masks.items()} == {o: len(s) <= 5 for o, s in kept.items()}
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
