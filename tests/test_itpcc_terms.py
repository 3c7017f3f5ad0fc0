"""What ITPCC's settings weigh: Eq. 17 against numbers, the noise it needs, set sizes, the printed SGD, ablation (c)."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from squeezebench.engine.training.loop import Trainer
from squeezebench.engine.training.optimisers import factors
from squeezebench.method import TaskInfo
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.compact import compact_network
from squeezebench.nn.pruning.information import activation_noise, divergence, itpcc_kl
from squeezebench.nn.pruning.masked_network import MaskedNetwork
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.tiny_tasks import tiny_task

IMAGE = TaskInfo("t", "image", 64, 1, 3, False, 50, (1, 8, 8))


def method(name: str, **settings):
    kind = load(find_methods()[name])
    return kind(kind.Settings(**settings))


def masks_of(model: nn.Module) -> list[BottleneckMask]:
    return [module for module in model.modules() if isinstance(module, BottleneckMask)]


@pytest.mark.parametrize(("mu", "sigma", "mean", "std"), [(1.0, 0.5, 2.0, 0.0), (0.7, 1.5, -1.0, 0.8), (-2, 0.1, 3, 4)])
def test_equation_17_is_twice_the_divergence_of_normal_distributions_with_the_moments_of_h(mu, sigma, mean, std):
    torch.manual_seed(0)
    draws = 4_000_000
    h = (mu + sigma * torch.randn(draws, dtype=torch.float64)) * (mean + std * torch.randn(draws, dtype=torch.float64))
    given = Normal(h.mean(), h.std())
    eta = (h.mean().square() + h.var()).sqrt()  # Eq. 11, the best q
    expected = 2 * kl_divergence(given, Normal(torch.zeros(()).double(), eta))
    mask = BottleneckMask(1).double()
    nn.init.constant_(mask.mu, mu)
    nn.init.constant_(mask.log_var, 2 * torch.tensor(sigma).log().item())
    found = divergence(mask, torch.tensor([std**2 / mean**2], dtype=torch.float64))
    torch.testing.assert_close(found.detach(), expected, rtol=0.02, atol=1e-4)
    assert found <= mask.kl() + 1e-9 and (std > 0 or torch.isclose(found, mask.kl()))


def test_the_noise_of_a_layer_is_what_its_inputs_masks_make():
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2), nn.Linear(2, 2)).double()
    masked = MaskedNetwork(network, torch.zeros(1, 3).double()).train()
    first, second = masked.masks.values()
    with torch.no_grad():
        first.mu.copy_(torch.tensor([1.0, 0.5, -1.0, 2.0]))
        first.log_var.copy_(torch.tensor([0.2, 0.6, 0.1, 0.3]).double().square().log())
        x = torch.tensor([[1.0, -0.5, 2.0]]).double()
        h = network[0](x)[0]
        weight = network[1].weight
        mean = weight @ (first.mu * h) + network[1].bias
        variance = weight.square() @ (first.log_var.exp() * h.square())
    noise = activation_noise(masked, x.expand(60_000, 3))
    names = [units.name for units in masked.sets]
    assert noise[names[0]].tolist() == [0, 0, 0, 0]  # nothing before it is random
    torch.testing.assert_close(noise[names[1]].double(), variance / mean.square(), rtol=0.05, atol=0)
    assert itpcc_kl(masked, noise) < itpcc_kl(masked) and masked.training and first.training
    del second


def test_batch_norms_and_modes_stay_as_they_are():
    torch.manual_seed(0)
    model = method("itpcc", network="resnet_20", width=0.2).build(IMAGE).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    noise = activation_noise(model, torch.randn(8, 1, 64))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert set(noise) == {units.name for units in model.sets}
    assert all(bool((values >= 0).all()) and values.max() < 0.1 for values in noise.values())  # sigma^2 is near e^-9


def test_a_run_with_statistics_minimises_equation_17():
    one = method("itpcc", network="lenet_300_100", width=0.1, statistics=True)
    trainer = Trainer(one, tiny_task("image"), TrainingSettings(epochs=2, learning_rate=0.01), 0)
    model, plan = trainer.build(None), trainer.plan(2)
    trainer.open(model, plan, 0)
    for mask in masks_of(model):
        nn.init.constant_(mask.log_var, 0.0)
    batch = trainer.task.batch("train", range(16))
    one.loss(model, torch.from_numpy(batch.x), None, torch.from_numpy(batch.y))
    found = one.penalty(model)
    assert torch.equal(found, one.weight / one.clock.examples * itpcc_kl(model, one.noise))
    assert found < one.weight / one.clock.examples * itpcc_kl(model)


def test_set_weights_equal_counts_every_set_once():
    sized, equal = (method("itpcc", network="resnet_20", width=0.2, set_weights=how) for how in ("size", "equal"))
    torch.manual_seed(0)
    model = sized.build(IMAGE)
    equal.noise = None
    sets, channels = sum(units.width for units in model.sets), sum(units.size * units.width for units in model.sets)
    for mask in masks_of(model):
        nn.init.constant_(mask.mu, 1.0)
        nn.init.constant_(mask.log_var, 0.0)
    assert (equal.penalty(model) / sized.penalty(model)).item() == pytest.approx(sets / channels, rel=1e-5)
    assert sets < channels


@pytest.mark.parametrize(("given", "weight"), [({}, 4), ({"unit_weight": 1.5}, 1.5), ({"unit_weight": 6}, 6)])
def test_a_unit_of_an_lstm_counts_its_gates_or_what_is_given(given, weight):
    one = method("itpcc_lstm", hidden=5, gamma=2.0, **given)
    model = one.build(TaskInfo("t", "sequence", 7, 3, 2, False, 10))
    for mask in masks_of(model):
        nn.init.constant_(mask.mu, 1.0)
        nn.init.constant_(mask.log_var, 0.0)
    one.clock.examples = 10
    expected = 2.0 / 10 * (weight * 5 + 7) * torch.tensor(2.0).log().item()
    assert one.penalty(model).item() == pytest.approx(expected, rel=1e-5)


def test_the_printed_learning_rates_of_both_phases():
    """3e-2 -> 1e-4 and masks at 2e-3, then 1e-4 -> 1e-5 (supplement, A.4), by SGD."""
    one = method(
        "itpcc", network="lenet_300_100", width=0.1, start="scratch", mask_learning_rate=0.002,
        fine_tune_rate=1 / 300, fine_tune_end=0.1,
    )  # fmt: skip
    settings = TrainingSettings(
        epochs=4, batch_size=64, learning_rate=0.03, optimiser="sgd", weight_decay=5e-4, cosine_end=1 / 300, clip=0
    )
    trainer = Trainer(one, tiny_task("image"), settings, 0)
    model, plan = trainer.build(None), trainer.plan(4)
    rates = []
    for number in range(2):
        running = trainer.open(model, plan, number)
        assert all(group["momentum"] == 0.9 for group in running.optimiser.param_groups)
        first = [group["lr"] for group in running.optimiser.param_groups]
        for _ in range(one.clock.steps):
            running.optimiser.step()
            running.schedule.step()
        rates.append((first, [group["lr"] for group in running.optimiser.param_groups]))
        if number == 0:
            assert [group["weight_decay"] for group in running.optimiser.param_groups] == [5e-4, 0.0]
            assert one.unconverged() is None  # the bound on a mask's way is Adam's
            model = one.end_stage(model, plan[0][0])
    (begin, end), (again, last) = rates
    assert begin == pytest.approx([0.03, 0.002]) and end == pytest.approx([1e-4, 0.002])
    assert again == pytest.approx([1e-4]) and last == pytest.approx([1e-5])
    assert factors(10, 0.1)["cosine"](10) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["resnet_20", "lenet_300_100"])
def test_ablation_c_trains_the_pruned_architecture_anew(name):
    one = method("itpcc", network=name, width=0.3, retrain=True)
    torch.manual_seed(0)
    model = one.build(IMAGE)
    for mask in masks_of(model):
        with torch.no_grad():
            mask.log_var.copy_(torch.where(torch.arange(mask.units) % 3 == 1, 3.0, -5.0))
    kept = compact_network(model)
    fresh = one.end_stage(model, one.stages()[0])
    assert fresh.spec() == kept.spec() and fresh.structure() != one.build(IMAGE).network.structure()
    same = [torch.equal(a, b) for a, b in zip(fresh.parameters(), kept.parameters(), strict=True) if a.dim() > 1]
    assert not any(same) and one.stages()[1].name == "retrain"
    index = {k: v for k, v in kept.named_buffers() if k.endswith(".index")}
    assert all(torch.equal(fresh.get_buffer(k), v) for k, v in index.items()) and (name == "resnet_20" or index)
