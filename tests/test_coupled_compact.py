"""Removing coupled channels: a smaller network of the same class whose output is that of the masked one."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from feedforward_networks import MAKERS, choose, images, network, parameters, recurrent_part, under_masks
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.compact import compact_network, select_channels
from squeezebench.nn.pruning.dependency_graph import follow
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.registry import module_from_spec

EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("name", MAKERS)
@given(data=st.data())
@settings(max_examples=8)
def test_the_compact_network_gives_what_the_masked_one_gives(name, data):
    """For any channels kept, none of a layer included: same class, same output, and its spec says what it is."""
    masked, x = under_masks(name, data.draw(st.integers(0, 3))), images(name)
    keep = {}
    for s in masked.sets:
        chance = data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0]), s.name)
        seed = data.draw(st.integers(0, 9))
        keep[s.name] = (torch.rand(s.width, generator=torch.Generator().manual_seed(seed)) < chance).nonzero().flatten()
    small = compact_network(choose(masked, keep))
    assert type(small) is type(masked.network)
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    again = module_from_spec(json.loads(json.dumps(small.spec()))).double().eval()
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(x), small(x))


@pytest.mark.parametrize("name", MAKERS)
def test_the_compact_network_is_smaller_and_can_be_cut_again_and_trained(name):
    masked, x = under_masks(name), images(name, 6)
    small = compact_network(choose(masked, {s.name: torch.arange(0, s.width, 2) for s in masked.sets}))
    assert parameters(small) < parameters(masked.network)
    widest = max(follow(small, x).sets, key=lambda s: s.width)
    smaller = select_channels(small, {widest.name: torch.tensor([0])}, x)
    assert parameters(smaller) < parameters(small) and smaller(x).shape == (6, 3)
    torch.nn.functional.cross_entropy(small.train()(x), torch.arange(6) % 3).backward()
    assert all(p.grad is not None for p in small.parameters())


def test_hard_masks_are_folded_as_ones():
    masked, x = under_masks("vgg", evaluate_with="hard"), images("vgg")
    small = compact_network(choose(masked, {s.name: torch.arange(1, s.width) for s in masked.sets}))
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    assert torch.equal(small.features[0].weight, masked.network.features[0].weight[1:])


def test_single_precision_is_exact_to_1e_minus_5():
    masked, x = under_masks("resnet_a").float(), images("resnet_a").float()
    small = compact_network(choose(masked, {s.name: torch.arange(0, s.width, 2) for s in masked.sets}))
    torch.testing.assert_close(small(x), masked(x), rtol=1e-5, atol=1e-5)


def empty(masked: MaskedNetwork, *names: str) -> nn.Module:
    every = {s.name: torch.arange(s.width) for s in masked.sets}
    return compact_network(choose(masked, every | {name: torch.arange(0) for name in names}))


def test_an_emptied_layer_leaves_constant_logits():
    masked, x = under_masks("vgg"), images("vgg")
    small = empty(masked, "features_3")
    assert small.widths()[1] == 0
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    torch.testing.assert_close(small(x), small(x[:1]).expand(3, -1), **EXACT)


@pytest.mark.parametrize("name", ["resnet_a", "resnet_b", "bottleneck"])
def test_an_emptied_residual_branch_becomes_the_identity_and_a_constant(name):
    masked, x = under_masks(name), images(name)
    small = empty(masked, "layer1_1_conv1")
    block = small.layer1[1]
    assert not any(isinstance(m, nn.Conv2d) for m in block.modules()) and block.spec()["inner"] == []
    assert parameters(block) == masked.network.layer1[1].conv1.in_channels  # the constant, and nothing else
    torch.testing.assert_close(small(x), masked(x), **EXACT)


def test_an_emptied_inverted_residual_becomes_the_identity_and_a_constant():
    masked, x = under_masks("mobilenet"), images("mobilenet")
    small = empty(masked, "blocks_2_branch_0")
    assert small.blocks[2].residual and small.blocks[2].branch is None
    torch.testing.assert_close(small(x), masked(x), **EXACT)


def test_pixels_that_go_are_not_read():
    masked, x = under_masks("lenet300"), images("lenet300")
    keep = {s.name: torch.arange(s.width) for s in masked.sets} | {"pixels": torch.tensor([1, 4, 7])}
    small = compact_network(choose(masked, keep))
    assert small.widths()[0] == 3 and small.pixels.index.tolist() == [1, 4, 7]
    other = x.flatten(1).clone()
    other[:, [0, 2, 3, 5, 6, 8, 9, 10, 11]] = torch.randn(3, 9).double()
    assert torch.equal(small(other), small(x))
    torch.testing.assert_close(small(x), masked(x), **EXACT)


def test_video_network_and_recurrence_shrink_together():
    """A channel of the last map that goes takes its column of the LSTM's input map; gate masks go their own way."""
    masked, x = under_masks("video"), images("video")
    recurrent = recurrent_part(masked)
    recurrent.gate_masks = nn.ModuleDict()
    layer = recurrent.layers[0]
    layer.gate_masks["o"] = BottleneckMask(5).double().eval()
    layer.gate_masks["o"].chosen = torch.tensor([True, False, True, True, False])
    keep = {s.name: torch.arange(s.width) for s in masked.sets}
    keep["network_layer3_0_conv2"] = torch.tensor([0, 2])  # 2 of the 4 channels that the last stage adds
    small = compact_network(choose(masked, keep))
    assert small.network.widths()[-1] == 6 == small.recurrent.inputs and small.recurrent.hidden == [3]
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    length = torch.tensor([4, 2, 1])
    torch.testing.assert_close(small(x, length), masked(x, length), **EXACT)


def test_select_channels_takes_any_criterion_and_refuses_what_is_not_there():
    model, x = network("resnet_a"), images("resnet_a")
    before = copy.deepcopy(model.state_dict())
    small = select_channels(model, {"layer1_0_conv1": torch.tensor([2])}, x, {"layer1_0_conv1": torch.full((4,), 3.0)})
    masked = MaskedNetwork(model, x, sets=["layer1_0_conv1"]).eval()
    with torch.no_grad():
        masked.masks["layer1_0_conv1"].mu.fill_(3.0)
    choose(masked, {"layer1_0_conv1": torch.tensor([2])})
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(InputError, match="no set of coupled channels 'stem'"):
        select_channels(model, {"stem": torch.tensor([0])}, x)
    with pytest.raises(InputError, match="conv1: channels are 0 to 3, got 1 to 4"):
        select_channels(model, {"conv1": torch.tensor([1, 4])}, x)
