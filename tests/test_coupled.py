"""Coupled channels: which ones the graph ties, masks on them, and a smaller network with the same output."""

from __future__ import annotations

import pytest
import torch
from feedforward_networks import MAKERS, choose, images, network, under_masks
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import mobilenet_v2
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50
from squeezebench.nn.pruning.compact import compact_network, select_channels
from squeezebench.nn.pruning.dependency_graph import follow
from squeezebench.nn.pruning.information import itpcc_kl
from squeezebench.nn.pruning.masked_network import MaskedNetwork

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def by_name(model, *shape):
    return {s.name: s for s in follow(model, torch.zeros(1, *shape)).sets}


# ------------------------------------------------------------------------------------ what the graph ties


def test_plain_layers_are_sets_of_one_channel_and_the_logits_are_in_none():
    sets = by_name(LeNet5(), 1, 28, 28)
    assert [(s.name, s.width, s.size, s.positions) for s in sets.values()] == [
        ("conv1", 20, 1, 24**2),
        ("conv2", 50, 1, 8**2),
        ("flat", 800, 1, 1),
        ("fc1", 500, 1, 1),
    ]
    assert list(by_name(LeNet300(), 1, 28, 28)) == ["pixels", "fc1", "fc2"]


def test_option_a_ties_a_channel_through_all_stages():
    """ResNet-20: the stem's 16 channels are added to in 9 blocks; 16 more from stage 2 on, 32 more from stage 3 on."""
    sets = by_name(cifar_resnet(20), 3, 32, 32)
    stream = {s.name: (s.width, s.size) for s in sets.values() if s.size > 1}
    assert stream == {"conv1": (16, 10), "layer2_0_conv2": (16, 6), "layer3_0_conv2": (32, 3)}
    assert [m.path for m in sets["layer2_0_conv2"].members][:2] == ["layer2.0.conv2", "layer2.1.conv2"]
    assert sets["conv1"].members[-1].channels == tuple(range(24, 40))  # 8 zeros, then 16 zeros in front of them
    assert sum(s.size == 1 for s in sets.values()) == 9  # inside each branch
    assert all(len(s.members) == s.size and all(len(m.channels) == s.width for m in s.members) for s in sets.values())


def test_option_b_ties_a_stage_with_its_shortcut():
    sets = by_name(cifar_resnet(20, shortcut="B"), 3, 32, 32)
    assert {s.name: (s.width, s.size) for s in sets.values() if s.size > 1} == {
        "conv1": (16, 4),  # stem and 3 blocks
        "layer2_0_downsample_0": (32, 4),  # the shortcut's convolution and 3 blocks
        "layer3_0_downsample_0": (64, 4),
    }


def test_bottlenecks_tie_the_outside_only():
    sets = by_name(resnet50(10), 3, 64, 64)
    assert {s.name: (s.width, s.size) for s in sets.values() if s.size > 1} == {
        f"layer{k}_0_downsample_0": (256 * 2 ** (k - 1), count + 1) for k, count in enumerate((3, 4, 6, 3), 1)
    }
    assert len(sets) == 1 + 4 + 2 * 16


def test_a_depthwise_convolution_belongs_to_what_it_reads():
    sets = by_name(mobilenet_v2(), 3, 32, 32)
    assert [m.path for m in sets["stem_0"].members] == ["stem.0", "blocks.0.branch.0"]
    assert (sets["blocks_1_branch_0"].width, sets["blocks_1_branch_0"].size) == (96, 2)
    assert (sets["blocks_1_branch_6"].width, sets["blocks_1_branch_6"].size) == (24, 2)  # two blocks of the stage


class Joined(nn.Module):
    """Two convolutions, concatenated; one of them read on its own as well; flattened into a linear layer."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)
        self.c, self.d = nn.Conv2d(5, 4, 1), nn.Conv2d(3, 4, 1)
        self.depth = nn.Conv2d(4, 4, 3, groups=4)
        self.norm, self.head = nn.BatchNorm2d(4), nn.Linear(16, 2)

    def forward(self, x):
        a = torch.relu(self.a(x))
        y = self.c(torch.cat([a, self.b(x)], 1)) + self.d(a)
        return self.head(torch.flatten(self.norm(self.depth(y)), 1))


def test_any_module_of_known_layers_can_be_followed_and_cut():
    torch.manual_seed(0)
    model, x = Joined().double().eval(), torch.randn(2, 1, 4, 4).double()
    sets = {s.name: s for s in follow(model, x).sets}
    assert {name: (s.width, s.size) for name, s in sets.items()} == {"a": (3, 1), "b": (2, 1), "c": (4, 3)}
    masked = choose(
        MaskedNetwork(model, x).eval(), {"a": torch.tensor([0, 2]), "b": torch.tensor([1]), "c": torch.tensor([1, 3])}
    )
    small = compact_network(masked)
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    assert small.c.weight.shape == (2, 3, 1, 1) and small.depth.groups == 2 and small.head.in_features == 8


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Conv2d(4, 4, 3, groups=2), "1 is a grouped convolution"),
        (nn.GroupNorm(2, 4), "1 is a GroupNorm, which is not one of the known layers"),
    ],
)
def test_what_is_not_known_is_named(layer, words):
    with pytest.raises(InputError, match=words):
        follow(nn.Sequential(nn.Conv2d(1, 4, 3), layer), torch.zeros(1, 1, 8, 8))


def test_torchs_own_convolution_cannot_be_emptied():
    model, x = Joined(), torch.zeros(1, 1, 4, 4)
    with pytest.raises(InputError, match="cannot have 0 channels"):
        select_channels(model, {"b": torch.tensor([], dtype=torch.long)}, x)


def test_a_layer_that_runs_twice_is_named():
    shared = nn.Conv2d(2, 2, 1)
    with pytest.raises(InputError, match="0 runs twice"):
        follow(nn.Sequential(shared, nn.ReLU(), shared), torch.zeros(1, 2, 4, 4))


# ---------------------------------------------------------------------------------------------- the masks


@pytest.mark.parametrize("name", MAKERS)
def test_a_mask_of_ones_changes_nothing(name):
    model, x = network(name), images(name)
    masked = MaskedNetwork(model, x[:1]).eval()
    with torch.no_grad():
        for mask in masked.masks.values():
            mask.mu.fill_(1.0)
    torch.testing.assert_close(masked(x), model(x), **EXACT)


def test_parameters_keep_their_names_and_the_network_stays_plain():
    masked = under_masks("resnet_a")
    plain = set(network("resnet_a").state_dict())
    names = set(masked.state_dict())
    assert {n.removeprefix("network.") for n in names if n.startswith("network.")} == plain
    assert "masks.conv1.mu" in names and "masks.layer1_0_conv1.log_var" in names
    masked(images("resnet_a"))
    assert not any(m._forward_pre_hooks for m in masked.modules())


def test_the_noise_is_drawn_for_each_element_and_shared_by_all_readers_and_positions():
    masked = under_masks("resnet_b", initial_log_var=0.0).train()
    for norm in (m for m in masked.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eval()  # so that equal images give equal maps
    seen = {}
    for path in ("relu", "layer1.0.conv1", "layer2.0.conv1", "layer2.0.downsample.0"):
        masked.network.get_submodule(path).register_forward_hook(
            lambda m, args, out, path=path: seen.update({path: (args[0], out)})
        )
    x = images("resnet_b", 1).expand(4, -1, -1, -1)
    torch.manual_seed(3)
    masked(x)
    torch.manual_seed(3)
    z = masked.draw(4)
    assert z.shape == (4, sum(m.units for m in masked.masks.values()) + 1)
    assert all(not torch.allclose(z[0, :-1], z[k, :-1]) for k in (1, 2, 3))
    stem, read = seen["relu"][1], seen["layer1.0.conv1"][0]  # the first set is the stem's
    torch.testing.assert_close(read, stem * z[:, : stem.shape[1], None, None], **EXACT)
    assert torch.equal(seen["layer2.0.conv1"][0], seen["layer2.0.downsample.0"][0])


def test_frames_of_one_video_share_their_noise():
    masked = under_masks("video", initial_log_var=0.0).train()
    seen = []
    masked.network.network.layer1[0].conv1.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    x = images("video", 1)[:, :1].expand(2, 4, -1)  # two equal videos of four equal frames
    for norm in (m for m in masked.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.eval()
    masked(x)
    frames = seen[0].unflatten(0, (2, 4))
    torch.testing.assert_close(frames[:, :1].expand_as(frames), frames, **EXACT)
    assert not torch.allclose(frames[0], frames[1])


def test_gradients_reach_every_mask_and_the_released_codes_noise_works():
    masked = under_masks("lenet5", noise="first_batch").train()
    x = images("lenet5")
    masked(x).square().sum().backward()
    assert all(m.mu.grad.abs().sum() > 0 and m.log_var.grad.abs().sum() > 0 for m in masked.masks.values())
    torch.testing.assert_close(masked(x), masked(x), **EXACT)  # later passes have none


def test_some_sets_only_can_be_masked():
    x = images("lenet5")
    masked = choose(MaskedNetwork(network("lenet5"), x, sets=["conv2"]).eval(), {"conv2": torch.tensor([1, 2])})
    small = compact_network(masked)
    assert list(masked.masks) == ["conv2"] and small.widths()[:2] == [3, 2]
    torch.testing.assert_close(small(x), masked(x), **EXACT)
    with pytest.raises(InputError, match="no set of coupled channels 'conv9'; there are conv1"):
        MaskedNetwork(network("lenet5"), x, sets=["conv9"])


# ---------------------------------------------------------------------------------------- what they cost


def test_the_term_of_itpcc_counts_channels():
    masked = MaskedNetwork(network("resnet_b"), images("resnet_b"))
    with torch.no_grad():
        for mask in masked.masks.values():
            mask.mu.fill_(1.0)
            mask.log_var.zero_()
    unit = torch.log(torch.tensor(2.0, dtype=torch.float64))
    sizes = sum(s.width * s.size for s in masked.sets)
    torch.testing.assert_close(itpcc_kl(masked), sizes * unit, rtol=1e-6, atol=0)
