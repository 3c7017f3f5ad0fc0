"""The baselines beside VIBNet: their mathematics, the units that they choose, and that a run gets smaller by them."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log, sqrt

import numpy as np
import pytest
import torch
from csv_files import read_csv
from feedforward_networks import MAKERS, images, network
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import nn

from squeezebench.data.task import task_spec
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import macs
from squeezebench.engine.run import execute
from squeezebench.method import Clock, NetworkSettings, TaskInfo, dense_classifier
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.masks.hard_concrete import HardConcreteGate, LogUniformMask, log_uniform_kl
from squeezebench.nn.pruning.best_channels import best_channels
from squeezebench.nn.pruning.compact import compact_network, select_channels
from squeezebench.nn.pruning.dependency_graph import follow
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.nn.pruning.observed_network import ObservedNetwork
from squeezebench.nn.pruning.unit_groups import UnitGroups
from squeezebench.schema.run import RunSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.counting import construct

PLAIN = ["lenet300", "lenet5", "vgg", "vgg8", "frame", "resnet_a", "resnet_b", "bottleneck", "mobilenet"]
NESTED = ["lenet300", "lenet5", "resnet_a"]
DRAWS = 40_000


def method(name: str, **given):
    found = load(find_methods()[name])
    return found(found.Settings(**given))


def grouped(net: nn.Module, *shape: int) -> UnitGroups:
    return UnitGroups(net, follow(net, torch.zeros(1, *shape, dtype=next(net.parameters()).dtype)))


def grouped_network(name: str, seed: int = 0) -> UnitGroups:
    return grouped(network(name, seed), *MAKERS[name][1])


# ---------------------------------------------------------------------- hard-concrete gates


def test_the_expected_number_of_weights_is_the_mean_of_draws():
    gate = HardConcreteGate(6).train()
    with torch.no_grad():
        gate.log_alpha.copy_(torch.tensor([-4.0, -2.0, -1.0, 0.0, 1.0, 3.0]))
        gate.size.copy_(torch.tensor([1.0, 300.0, 25.0, 10.0, 500.0, 2.0]))
        torch.manual_seed(0)
        drawn = gate(DRAWS)
        open_ = (drawn > 0).double()
        error = 5 * sqrt(0.25 / DRAWS)
        assert torch.allclose(open_.mean(0), gate.open().double(), atol=error, rtol=0)
        weights = (open_ * gate.size).sum(1)
        assert abs(weights.mean() - gate.expected_weights()) < 5 * weights.std() / sqrt(DRAWS)
    assert drawn.min() == 0 and drawn.max() == 1 and ((drawn > 0) & (drawn < 1)).any()


@given(st.floats(-8, 8))
def test_a_gate_at_evaluation_is_shut_below_a_twelfth(log_alpha):
    gate = HardConcreteGate(1).eval()
    nn.init.constant_(gate.log_alpha, log_alpha)
    found = gate(3).item()
    s = 1 / (1 + exp(-log_alpha))
    assert found == pytest.approx(min(1.0, max(0.0, 1.2 * s - 0.1)), abs=1e-6)
    assert gate.keep().item() == (found > 0)
    if abs(s - 1 / 12) > 1e-6:
        assert gate.keep().item() == (s > 1 / 12)


def test_a_gate_learns_to_shut_where_nothing_needs_its_unit():
    gate = HardConcreteGate(2).train()
    optimiser = torch.optim.Adam(gate.parameters(), lr=0.05)
    torch.manual_seed(0)
    for _ in range(300):
        loss = (gate(16)[:, 0] - 1).square().mean() + 0.1 * gate.expected_weights()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert gate.keep().tolist() == [True, False]


# ---------------------------------------------------------------------- variational dropout


def exact_kl(log_a: float) -> float:
    """KL of N(1, a) from the log-uniform prior: E log |1 + sqrt(a) e| - log(a) / 2 + const., 0 in the limit."""
    root = exp(log_a / 2)

    def density(e):
        return exp(-e * e / 2) / sqrt(2 * np.pi) * log(abs(1 + root * e) or 1e-300)

    edges = sorted({-12.0, -1 / root if root > 1 / 12 else -12.0, 0.0, 12.0})
    mean = sum(quad(density, low, high, limit=200)[0] for low, high in pairwise(edges))
    return mean - log_a / 2 + (np.euler_gamma + log(2)) / 2


@pytest.mark.parametrize("log_a", [-8.0, -5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 8.0])
def test_the_kl_of_variational_dropout_is_the_integral(log_a):
    found = log_uniform_kl(torch.tensor(log_a)).item()
    assert found == pytest.approx(exact_kl(log_a), abs=0.02)


def test_its_mask_keeps_units_below_log_a_of_3():
    mask = LogUniformMask(4)
    with torch.no_grad():
        mask.mu.copy_(torch.tensor([1.0, 1.0, -2.0, 0.0]))
        mask.log_var.copy_(torch.tensor([2.9, 3.1, 3.1, -30.0]))
    assert mask.keep().tolist() == [True, False, True, False]
    mask.log_var.data.clamp_(min=-5)
    log_a = mask.log_var - mask.mu.square().clamp(min=1e-8).log()
    assert mask.kl().item() == pytest.approx(log_uniform_kl(log_a).sum().item(), rel=1e-5)


# ---------------------------------------------------------------------- groups of weights


def test_the_groups_of_the_lenets():
    groups = grouped(LeNet300(784, (300, 100)), 784)
    assert [set(v.tolist()) for v in groups.of(groups.gated_sizes()).values()] == [{300.0}, {100.0}, {10.0}]
    assert groups.inputs() == {"pixels"} and groups.elements() == set()
    groups = grouped(LeNet5(), 1, 28, 28)
    gated, read = groups.of(groups.gated_sizes()), groups.of(groups.read_sizes)
    assert {name: set(v.tolist()) for name, v in gated.items()} == {
        "conv1": {25.0}, "conv2": {500.0}, "flat": {500.0}, "fc1": {10.0}
    }  # fmt: skip
    assert {name: set(v.tolist()) for name, v in read.items()} == {
        "conv1": {1250.0}, "conv2": {8000.0}, "flat": {500.0}, "fc1": {10.0}
    }  # fmt: skip
    assert groups.elements() == {"flat"} and groups.inputs() == set()


def test_a_channel_that_a_linear_layer_reads_has_the_size_of_its_filter():
    groups = grouped_network("vgg8")  # w = 2: the last convolution gives 8w channels, the hidden layer reads them
    gated = list(groups.of(groups.gated_sizes()).values())
    assert [int(sizes[0]) for sizes in gated] == [9, 9 * 2, 9 * 4, 9 * 8, 9 * 8, 9 * 16, 3]
    read = list(groups.of(groups.read_sizes).values())
    assert [int(sizes[0]) for sizes in read] == [9 * 4, 9 * 8, 9 * 8, 9 * 16, 9 * 16, 16, 3]


@pytest.mark.parametrize("name", PLAIN)
def test_shrinking_cuts_whole_groups_and_the_network_without_them_is_the_same(name):
    groups = grouped_network(name)
    x = torch.randn(3, *MAKERS[name][1], dtype=torch.float64)
    sizes = groups.read_sizes[groups.free]
    norms = groups.square_norms()[groups.free].sqrt() / sizes.sqrt()
    groups.shrink(norms[sizes > 0].median().item())
    alive = groups.of(groups.alive())
    gone = sum(int((~stays).sum()) for stays in alive.values())
    assert 0 < gone < sum(len(stays) for stays in alive.values())
    keep = {one: stays.nonzero().flatten() for one, stays in alive.items()}
    small = select_channels(groups.network, keep, x[:1])
    assert torch.allclose(groups.network(x), small(x), atol=1e-10)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in groups.network.parameters())


@settings(max_examples=25)
@given(st.sampled_from(NESTED), st.floats(0.0, 0.3), st.integers(0, 99))
def test_the_proximal_step_minimises_what_it_should(name, step, seed):
    """step * sum_g sqrt(|g|) ||w_g|| + ||w - v||^2 / 2, which is convex: no neighbour of the result is lower."""
    groups = grouped_network(name, seed)
    weights = [groups.network.get_submodule(path).weight for path in groups.read]
    before = [w.detach().clone() for w in weights]
    groups.shrink(step)

    def objective() -> float:
        distance = sum((w.detach() - v).square().sum() for w, v in zip(weights, before, strict=True))
        norms = groups.square_norms().detach().sqrt()
        return float(distance / 2 + step * (groups.read_sizes.sqrt() * norms)[groups.free].sum())

    found, least = [w.detach().clone() for w in weights], objective()
    for k in range(12):
        with torch.no_grad():
            for w, at, v in zip(weights, found, before, strict=True):
                to = v - at if k == 0 else -at if k == 1 else torch.randn_like(at) * (at != 0 if k % 2 else 1)
                w.copy_(at + 1e-4 * to)
        assert objective() >= least - 1e-12


def test_a_group_alone_shrinks_by_the_root_of_its_size():
    groups = grouped(LeNet300(4, (3, 2), 2).double(), 4)
    before = groups.square_norms().detach().sqrt()
    assert groups.lasso().item() == pytest.approx((before * groups.read_sizes.sqrt()).sum().item(), abs=1e-4)
    groups.lasso().backward()
    weight = groups.network.fc2.weight  # (2, 3): the gradient of a norm has length 1
    assert torch.allclose(weight.grad.norm(dim=0), torch.full((3,), sqrt(2)).double())
    groups.shrink(0.05)
    expected = (before - 0.05 * groups.read_sizes.sqrt()).clamp(min=0)
    assert torch.allclose(groups.square_norms().sqrt()[groups.free], expected[groups.free])


# ---------------------------------------------------------------------- gates on every network


@pytest.mark.parametrize("mask", [HardConcreteGate, LogUniformMask])
@pytest.mark.parametrize("name", ["lenet5", "resnet_a"])  # every network, under masks of VIBNet: test_coupled_compact
def test_what_gates_leave_is_a_smaller_network_with_the_same_output(name, mask):
    x = torch.randn(3, *MAKERS[name][1], dtype=torch.float64)
    masked = MaskedNetwork(network(name), x[:1], mask=mask).eval()
    generator = torch.Generator().manual_seed(1)
    for one in masked.masks.values():
        for parameter in one.parameters():
            parameter.data.copy_(4 * torch.randn(one.units, generator=generator))
    small = compact_network(masked)
    assert torch.allclose(masked(x), small(x), atol=1e-9)
    assert 0 < sum(int(one.keep().sum()) for one in masked.masks.values()) < sum(o.units for o in masked.masks.values())


# ---------------------------------------------------------------------- chosen by a score


@pytest.mark.parametrize("name", ["lenet300", "lenet5", "resnet_a"])
def test_an_observed_network_gives_the_variance_of_what_is_read(name):
    batches = [images(name, 5), 3 * images(name, 4).flip(0)]
    net, graph = network(name).train(), follow(network(name), batches[0])
    observed = ObservedNetwork(net, batches[0][:1]).train()
    read: dict[int, list[torch.Tensor]] = {}

    def note(path):
        def hook(_module, args):
            values = args[0].detach().flatten(2) if args[0].dim() == 4 else args[0].detach()[:, :, None]
            for labels in graph.ancestry(graph.reads[path]):
                for k, label in enumerate(labels.tolist()):
                    read.setdefault(label, []).append(values[:, k].flatten())

        return hook

    for path in [path for path, numbers in graph.reads.items() if numbers is not None]:
        net.get_submodule(path).register_forward_pre_hook(note(path))
    for batch in batches:
        assert torch.equal(observed(batch), net(batch)) or name == "resnet_a"  # whose statistics move
    found = observed.variances()
    expected = {label: torch.cat(values).var(correction=0) for label, values in read.items() if label >= 0}
    assert len(expected) > 10
    for label, variance in expected.items():
        assert found[label].item() == pytest.approx(variance.item(), rel=1e-6, abs=1e-12), label
    before = [p.clone() for p in (observed.seen, observed.total)]
    observed.eval()(batches[0])
    assert torch.equal(observed.seen, before[0])
    observed.fade(0.25)
    assert torch.allclose(observed.total, before[1] / 4) and torch.allclose(observed.variances(), found)


def pruned_by_magnitude(x: torch.Tensor, keep: float, steps: int, weights: dict[str, torch.Tensor]):
    """A LeNet-300-100 of 16-15-5 units on images x (B, 1, 16), its columns scaled; nothing trains but what is removed.

    Yields the method and its module after each step of the stage `prune`.
    """
    chosen = method("magnitude_network", keep=keep, keep_inputs=keep, width=0.05, every=2)
    info = TaskInfo("t", "image", 16, 1, 3, False, 10, (1, 4, 4))
    model = chosen.load_dense(chosen.build(info), dense_classifier(info, NetworkSettings(width=0.05)))
    with torch.no_grad():
        for layer, factor in weights.items():
            getattr(model.network.network, layer).weight.mul_(factor)
    chosen.clock = Clock("prune", 0, 0, steps, 10)
    for chosen.clock.step in range(steps):
        model.train()(x)
        chosen.after_step(model)
        yield chosen, model


def test_magnitude_keeps_what_varies_and_is_read_by_large_weights():
    """Pixels 0 to 3 have the largest columns and hardly vary, 4 to 7 vary most and nothing reads them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 1, 16, generator=generator)
    x[..., :4] = 5 + 1e-3 * x[..., :4]
    x[..., 4:8] *= 10
    columns = torch.ones(16)
    columns[:4], columns[4:8] = 100, 1e-3
    *_, (chosen, model) = pruned_by_magnitude(x, 0.5, 8, {"fc1": columns})
    small = chosen.end_stage(model, chosen.stages()[0])
    assert small.network.pixels.index.tolist() == list(range(8, 16)) and small.structure().widths == [8, 8, 2]
    rows = chosen.stays[list(model.graph.sets[1].labels)]
    assert torch.equal(small.network.fc1.weight, model.network.network.fc1.weight[rows][:, 8:])
    assert torch.allclose(small.eval()(x), model.eval()(x), atol=1e-6)  # what reads a removed unit was 0 before it went


def test_magnitude_removes_by_the_cubic_schedule_and_nothing_returns():
    x = torch.rand(32, 1, 16, generator=torch.Generator().manual_seed(1))
    counts, before = [], None
    for chosen, model in pruned_by_magnitude(x, 0.25, 8, {}):
        stays = chosen.stays[list(model.graph.sets[0].labels)]
        assert before is None or not (stays & ~before).any()
        columns = model.network.network.fc1.weight.square().sum(0)
        assert torch.equal(columns > 0, stays)
        with torch.no_grad():
            model.network.network.fc1.weight[:, ~stays] = 9.0  # what an optimiser's moments may do to removed units
        counts, before = [*counts, int(stays.sum())], stays
    after = [4 + round(12 * (1 - done / 8) ** 3) for done in (2, 4, 6, 8)]
    assert counts == [16, after[0], after[0], after[1], after[1], after[2], after[2], after[3]] and after[3] == 4


@pytest.mark.parametrize("name", ["magnitude_network", "random_network"])
@pytest.mark.parametrize("net", ["lenet_300_100", "lenet_5", "vgg_8", "resnet_20", "mobilenet_v2"])
def test_the_part_that_is_kept_is_known_before(name, net):
    one = method(name, network=net, width=0.15, keep=0.3, keep_inputs=0.4)
    info = TaskInfo("t", "image", 256, 1, 3, False, 10, (1, 16, 16))
    found, dense = count(construct(one, info)).weights, count(dense_classifier(info, one.settings.shared())).weights
    assert one.closed_form(info)["weights"] == found < 0.5 * dense


@pytest.mark.parametrize("name", ["magnitude_network", "random_network"])
@pytest.mark.parametrize(("net", "widths"), [("lenet_300_100", [30, 9, 4]), ("lenet_5", [2, 5, 5, 6])])
def test_a_structure_is_met_layer_by_layer(name, net, widths):
    one = method(name, network=net, width=0.15, structure="-".join(map(str, widths)))
    info = TaskInfo("t", "image", 256, 1, 3, False, 10, (1, 16, 16))
    small = construct(one, info)
    assert one.skip(info) is None and small.structure().widths == widths
    assert one.closed_form(info)["weights"] == count(small).weights


def test_from_scratch_random_widths_are_initialised_anew_and_train_all_epochs(tmp_path):
    """PyTorch draws a layer's weights within 1 / sqrt(inputs): four inputs of 45 give larger ones than dense has."""
    one = method("random_network", width=0.15, structure="30-4-9", start="scratch")
    info = TaskInfo("t", "image", 256, 1, 3, False, 10, (1, 16, 16))
    small = one.build(info).network
    assert len(small.pixels.index.unique()) == 30 and small.pixels.index.max() > 30
    assert 45**-0.5 < small.fc2.weight.abs().max() <= 4**-0.5
    spec = RunSpec(
        task=task_spec("digits_images"), method="random_network", model=NetworkSettings(width=0.15),
        settings=one.settings.model_dump(mode="json"), training=TrainingSettings(epochs=4, batch_size=64),
    )  # fmt: skip
    record = execute(spec, find_methods()["random_network"], tmp_path / "r", tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert [(stage.name, stage.epochs) for stage in record.stages] == [("train", 4)]
    assert record.kept.structure == [30, 4, 9]


@pytest.mark.parametrize(
    ("net", "structure", "reason"),
    [
        ("lenet_300_100", "30-9", "structure: 256-45-15 has no part 30-9"),
        ("lenet_300_100", "30-46-4", "structure: 256-45-15 has no part 30-46-4"),
        ("lenet_5", "2-5-4-6", "structure: 5 channels have 5 to 5 elements, not 4"),
        ("resnet_20", "3-3", "(LeNet-300-100, LeNet-5, VGG)"),
    ],
)
def test_widths_that_a_network_cannot_have_are_a_reason(net, structure, reason):
    info = TaskInfo("t", "image", 256, 1, 3, False, 10, (1, 16, 16))
    assert reason in method("random_network", network=net, width=0.15, structure=structure).skip(info)
    with pytest.raises(ValueError, match="structure: without a ratio"):
        method("random_network", structure=structure, ratio=2)


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 50), st.data())
def test_the_largest_scores_stay_and_elements_with_their_channels(seed, channels, data):
    """LeNet-5: 50 channels of 16 elements; each channel that stays has its best element, and none of another stays."""
    elements = data.draw(st.integers(channels, 16 * channels))
    graph = follow(LeNet5(), torch.zeros(1, 1, 28, 28))
    generator = torch.Generator().manual_seed(seed)
    scores = {units.name: torch.rand(units.width, generator=generator) for units in graph.sets}
    keep = best_channels(graph, scores, {"conv2": channels, "flat": elements})
    assert set(keep["conv2"].tolist()) == set(scores["conv2"].argsort(descending=True)[:channels].tolist())
    table = scores["flat"].view(50, 16)
    best = {16 * c + int(table[c].argmax()) for c in keep["conv2"].tolist()}
    stays = set(keep["flat"].tolist())
    assert len(stays) == elements and best <= stays and {e // 16 for e in stays} == set(keep["conv2"].tolist())
    rest = {16 * c + k for c in keep["conv2"].tolist() for k in range(16)} - stays
    flat = scores["flat"]
    assert not rest or not stays - best or flat[list(rest)].max() <= flat[list(stays - best)].min()


def test_an_lstm_above_the_network_loses_units_at_random_as_well():
    one = method("random_network", network="lenet_5", width=0.3, recurrent=12, ratio=8)
    info = TaskInfo("t", "video", 256, 4, 3, False, 10, (1, 16, 16))
    small, dense = construct(one, info), dense_classifier(info, one.settings.shared())
    weights, whole = count(small).weights, count(dense).weights
    assert one.closed_form(info).items() <= count(small).model_dump().items() and 0.9 * whole / 8 < weights <= whole / 8
    assert 2 <= small.recurrent.hidden[0] <= 6
    assert small.eval()(torch.randn(2, 4, 256)).shape == (2, 3)


# ---------------------------------------------------------------------- a run of each

METHODS = [
    "group_lasso_network", "itpcc", "l0_network", "magnitude_network", "random_network", "small_network",
    "variational_dropout_network", "vibnet",
]  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
def test_each_ends_at_the_ratio_that_it_is_given_and_still_classifies(name, tmp_path):
    model = NetworkSettings(width=0.3)
    whole = load(find_methods()[name]).Settings(width=0.3, ratio=10).model_dump(mode="json")
    training = TrainingSettings(epochs=12, batch_size=64, learning_rate=5e-3)
    spec = RunSpec(task=task_spec("digits_images"), method=name, settings=whole, training=training, model=model)
    record = execute(spec, find_methods()[name], tmp_path / "r", tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert 10 <= record.ratio.weights < 11 and record.accuracy.test > 0.5
    assert record.counts.weights == record.cost.macs < record.baseline.counts.weights
    history = read_csv(tmp_path / "r/history.csv")
    if "target_size" in history[0]:
        dense = record.baseline.counts.weights
        rows = [row for row in history if row["target_size"]]
        targets = [float(row["target_size"]) for row in rows]
        assert dense > targets[0] > targets[-1] == dense // 10
        assert name == "group_lasso_network" or len({row["penalty_weight"] for row in rows}) > 1
    else:
        assert name in ("magnitude_network", "random_network", "small_network")


@pytest.mark.parametrize(("name", "net", "epochs"), [("itpcc", "resnet_20", 3), ("group_lasso_network", "vgg_8", 6)])
def test_a_ratio_of_multiply_accumulates_is_met_too(name, net, epochs, tmp_path):
    one = method(name, network=net, width=0.3, ratio=4, ratio_of="macs")
    training = TrainingSettings(epochs=epochs, batch_size=256, learning_rate=5e-3)
    spec = RunSpec(
        task=task_spec("digits_images"), method=name, settings=one.settings.model_dump(mode="json"), training=training,
        model=one.settings.shared(),
    )  # fmt: skip
    record = execute(spec, find_methods()[name], tmp_path / "r", tmp_path / "starts")
    assert record.status == "ok", record.reason
    assert 4 <= record.cost.dense_macs / record.cost.macs < 4.8


@pytest.mark.parametrize(
    ("name", "most"),
    [("random_network", 4.8), ("small_network", 7)],  # one width for all layers, of few channels, moves in large steps
)
def test_a_control_is_built_at_a_ratio_of_multiply_accumulates(name, most):
    one = method(name, network="resnet_20", width=0.3, ratio=4, ratio_of="macs")
    info = TaskInfo("t", "image", 64, 1, 10, False, 1000, (1, 8, 8))
    small, dense = construct(one, info), dense_classifier(info, one.settings.shared())
    assert 4 <= macs(dense.eval(), 64, 1) / macs(small.eval(), 64, 1) < most
