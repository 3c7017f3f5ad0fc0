"""Feed-forward networks: published sizes, a spec with the widths there are, VIBNet's metrics, maps for a detector."""

from __future__ import annotations

import json

import pytest
import torch
from feedforward_networks import MAKERS, images, lenet5_sizes, lenet300_sizes, network, parameters, vgg_sizes

from squeezebench.base.errors import InputError
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import mobilenet_v2
from squeezebench.nn.cnn.resnet import cifar_resnet, resnet50
from squeezebench.nn.cnn.vgg import CONFIGURATIONS, VGG, vgg8
from squeezebench.nn.pruning.compact import select_channels
from squeezebench.nn.pruning.dependency_graph import follow
from squeezebench.nn.pruning.sizes import measured_sizes
from squeezebench.nn.registry import module_from_spec

LENET300, LENET5 = (784, 300, 100), (20, 50, 800, 500)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (LeNet300, 784 * 300 + 300 * 100 + 100 * 10 + 410),  # 266,200 weights by VIBNet's rule, and biases
        (LeNet5, 430_500 + 580),
        (lambda: cifar_resnet(56), 853_018),  # 0.85 M: He et al. (CVPR 2016), Table 6
        (lambda: cifar_resnet(110), 1_727_962),  # 1.7 M: the same table
        (lambda: cifar_resnet(20), 269_722),  # 0.27 M: the same table
        (resnet50, 25_557_032),  # torchvision's documentation of resnet50
        (mobilenet_v2, 3_504_872 - 990 * 1281),  # torchvision's mobilenet_v2 with 10 classes in place of 1,000
    ],
)
def test_parameter_counts_are_the_published_ones(make, expected):
    assert parameters(make()) == expected


def test_the_vgg_configurations_are_the_published_ones():
    """13 convolutions and one (D6, G) or two (D4) hidden layers, 16 and none (G5); multipliers 1 / map side."""
    depths = {name: [c.layers.count(w) for w in (64, 128, 256, 512)] for name, c in CONFIGURATIONS.items()}
    assert depths["D4"] == depths["D6"] == depths["G"] == [2, 2, 3, 6] and depths["G5"] == [2, 2, 4, 8]
    assert [len(CONFIGURATIONS[name].head) for name in ("D4", "D6", "G", "G5")] == [2, 1, 1, 0]
    expected = [1 / 32] * 2 + [1 / 16] * 2 + [1 / 8] * 3 + [1 / 4] * 3 + [1 / 2] * 3 + [1.0]
    assert CONFIGURATIONS["D6"].multipliers() == expected
    assert CONFIGURATIONS["D5"].multipliers()[:3] == [1 / 32**2, 1 / 32**2, 1 / 16**2]
    assert len(vgg8().widths()) + 1 == 8
    for configuration in CONFIGURATIONS.values():
        model = VGG(configuration.layers, configuration.head)
        assert len(follow(model, torch.zeros(1, 3, 32, 32)).sets) == len(configuration.multipliers())


def test_resnet50_names_its_parts_as_torchvision_does():
    names = set(resnet50(10, 2, (2, 1), 3).state_dict())
    assert {"conv1.weight", "bn1.running_mean", "layer1.0.conv3.weight", "layer1.0.downsample.1.bias"} <= names
    assert {"layer2.0.bn2.weight", "fc.bias"} <= names


@pytest.mark.parametrize("name", MAKERS)
def test_a_network_comes_back_from_its_json_spec(name):
    first, x = network(name), images(name)
    second = module_from_spec(json.loads(json.dumps(first.spec()))).double().eval()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(x), second(x))


def test_an_unknown_network_class_is_named():
    with pytest.raises(InputError, match=r"no class 'AlexNet' is registered; there are .*LeNet300"):
        module_from_spec({"class": "AlexNet"})


@pytest.mark.parametrize("name", MAKERS)
def test_a_network_learns(name):
    """Gradients reach every parameter."""
    model, x = network(name).train(), images(name, 6)
    torch.nn.functional.cross_entropy(model(x), torch.arange(6) % 3).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# ---------------------------------------------------------------------------------------- VIBNet's metrics


def test_the_structure_that_vibnets_row_of_table_2_comes_from():
    """3-10-68-35 gives 0.83 / 15.55 / 0.094 (found by inversion; the poster prints no structure)."""
    own, dense = lenet5_sizes((3, 10, 68, 35)), lenet5_sizes()
    shares = 100 * own.weights / dense.weights, 100 * own.neurons / dense.neurons
    assert (*map("{:.2f}".format, shares), f"{own.macs / 1e6:.3f}") == ("0.83", "15.55", "0.094")


def test_formulas_agree_with_what_a_network_counts():
    assert measured_sizes(LeNet300(), torch.zeros(1, 1, 28, 28)) == lenet300_sizes()
    assert measured_sizes(LeNet5(), torch.zeros(1, 1, 28, 28)) == lenet5_sizes()
    for configuration in CONFIGURATIONS.values():
        counted = measured_sizes(VGG(configuration.layers, configuration.head), torch.zeros(1, 3, 32, 32))
        assert counted == vgg_sizes(configuration.layers, configuration.head)


def test_formulas_agree_with_a_network_that_was_cut():
    x = torch.zeros(1, 1, 28, 28)
    keep = {"pixels": torch.arange(300, 397), "fc1": torch.arange(71), "fc2": torch.arange(33)}
    small = select_channels(LeNet300(), keep, x)
    assert small.widths() == [97, 71, 33] and measured_sizes(small, x) == lenet300_sizes((97, 71, 33))

    keep = {"conv1": torch.arange(3), "conv2": torch.arange(10), "flat": torch.arange(68), "fc1": torch.arange(35)}
    small = select_channels(LeNet5(), keep, x)  # 68 elements of the first 5 channels: the other 5 are not read
    assert small.widths() == [3, 5, 68, 35] and measured_sizes(small, x) == lenet5_sizes((3, 5, 68, 35))

    keep["flat"] = torch.arange(68) * 2  # elements of 9 channels
    small = select_channels(LeNet5(), keep, x)
    assert measured_sizes(small, x) == lenet5_sizes(small.widths()) and small.widths()[1] == 9


# ------------------------------------------------------------------------------------- maps for a detector


@pytest.mark.parametrize("name", ["resnet_a", "resnet_b", "bottleneck"])
def test_a_cut_resnet_gives_the_map_of_each_stage(name):
    x, model = images(name), network(name)
    keep = {s.name: torch.arange(0, s.width, 2) for s in follow(model, x).sets}
    small = select_channels(model, keep, x)
    maps = small.features(x)
    assert all(a.shape[1] > b.shape[1] for a, b in zip(model.features(x), maps, strict=True))
    assert [m.shape[2:] for m in maps] == [m.shape[2:] for m in model.features(x)]
    assert torch.equal(small.fc(maps[-1].mean((2, 3))), small(x))


@pytest.mark.parametrize("name", MAKERS)
def test_the_layout_of_convolutions_changes_no_value_and_nothing_else(name):
    net, x = network(name).eval(), images(name)
    before, expected = {key: value.clone() for key, value in net.state_dict().items()}, net(x)
    there = arrange(net, torch.channels_last)
    convolutions = {f"{key}.weight" for key, part in net.named_modules() if isinstance(part, torch.nn.Conv2d)}
    for key, value in there.state_dict().items():
        assert torch.equal(value, before[key])
        assert value.is_contiguous(memory_format=torch.channels_last) if key in convolutions else value.is_contiguous()
    torch.testing.assert_close(net(x), expected)
    assert all(value.is_contiguous() for value in arrange(net, torch.contiguous_format).state_dict().values())
    assert torch.equal(net(x), expected)
