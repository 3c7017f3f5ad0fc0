"""Optimisers and schedules of the engine: which a stage and a parameter group get, and what they do to the weights."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from squeezebench.engine.training import uncompiled
from squeezebench.engine.training.optimisers import factors, optimiser_of, schedule_of
from squeezebench.method import Stage
from squeezebench.schema.training import TrainingSettings


@pytest.mark.parametrize(
    ("nesterov", "expected"), [(False, 1 - 0.1 * 2 - 0.1 * 3.8), (True, 1 - 0.1 * 3.8 - 0.1 * 5.42)]
)
def test_sgd_with_momentum(nesterov, expected):
    """v <- 0.9 v + g twice with g = 2: v is 2, then 3.8. w falls by lr v, or with Nesterov by lr (g + 0.9 v)."""
    settings = TrainingSettings(optimiser="sgd", learning_rate=0.1, nesterov=nesterov)
    weight = nn.Parameter(torch.ones(3))
    optimiser = optimiser_of(settings, Stage("train", 1.0), [{"params": [weight]}])
    for _ in range(2):
        weight.grad = torch.full_like(weight, 2.0)
        optimiser.step()
    assert weight.tolist() == pytest.approx([expected] * 3)


def test_a_stage_and_a_group_choose_before_the_experiment():
    settings = TrainingSettings(learning_rate=0.1, weight_decay=0.5)
    stage = Stage("train", 1.0, learning_rate=3.0, optimiser="sgd", schedule="constant")
    weights = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    wanted = [
        {"params": weights[:1]},
        {"params": weights[1:], "lr": 0.02, "momentum": 0.0, "weight_decay": 0.0, "schedule": "thirds"},
    ]
    optimiser = optimiser_of(settings, stage, wanted)
    assert isinstance(optimiser, torch.optim.SGD)
    names = ("lr", "momentum", "weight_decay")
    found = [[group[name] for name in names] for group in optimiser.param_groups]
    assert found == [[pytest.approx(0.3), 0.9, 0.5], [0.02, 0.0, 0.0]]
    schedule = schedule_of(optimiser, settings, stage, wanted, steps=3)
    rates = []
    for _ in range(3):
        rates.append([group["lr"] for group in optimiser.param_groups])
        optimiser.step()
        schedule.step()
    assert rates == [pytest.approx([0.3, 0.02 * part]) for part in (1, 0.1, 0.01)]
    with pytest.raises(ValueError, match="decoupled weight decay is for optimiser: adam"):
        optimiser_of(settings, stage, [{"params": weights, "decoupled_weight_decay": True}])


def test_groups_of_two_optimisers_take_the_steps_of_each_and_go_on_from_their_state():
    settings = TrainingSettings(optimiser="sgd", learning_rate=0.1, schedule="constant")

    def made():
        weights = [nn.Parameter(torch.ones(2)) for _ in range(3)]
        wanted = [
            {"params": weights[:1]}, {"params": weights[1:2], "lr": 0.02, "optimiser": "adam"}, {"params": weights[2:]},
        ]  # fmt: skip
        optimiser = optimiser_of(settings, Stage("train", 1.0), wanted)
        return weights, optimiser, schedule_of(optimiser, settings, Stage("train", 1.0), wanted, steps=9)

    def step(weights, optimiser, schedule):
        for weight in weights:
            weight.grad = 2.0 * weight.detach()
        optimiser.step()
        schedule.step()

    weights, *rest = made()
    step(weights, *rest)
    by_sgd, by_adam = [0.8, 0.8], pytest.approx([0.98, 0.98])
    assert [weight.tolist() for weight in weights] == [pytest.approx(by_sgd), by_adam, pytest.approx(by_sgd)]
    assert [group["lr"] for group in rest[0].param_groups] == pytest.approx([0.1, 0.02, 0.1])
    again, optimiser, schedule = made()
    optimiser.load_state_dict(copy.deepcopy(rest[0].state_dict()))
    for old, new in zip(weights, again, strict=True):
        new.data.copy_(old.data)
    for one in ((weights, *rest), (again, optimiser, schedule)):
        step(*one)
    assert all(torch.equal(old, new) for old, new in zip(weights, again, strict=True))


@pytest.mark.parametrize("end", [0.0, 1e-3, 0.2])
def test_a_cosine_begins_at_the_rate_and_ends_at_the_part_that_is_asked_for(end):
    cosine = factors(100, end)["cosine"]
    assert [cosine(step) for step in (0, 50, 100)] == pytest.approx([1, (1 + end) / 2, end])
    assert all(cosine(step) > cosine(step + 1) for step in range(100)) and math.isclose(cosine(200), end)


def test_settings_that_are_off_leave_no_trace_in_digests():
    plain = TrainingSettings().model_dump()
    assert not {"steps", "augment", "optimiser", "momentum", "nesterov", "cosine_end"} & set(plain)
    assert TrainingSettings(momentum=0.5, cosine_end=0.001).model_dump() == plain  # Adam has no momentum of that kind
    sgd = TrainingSettings(optimiser="sgd", cosine_end=0)
    assert {"optimiser": "sgd", "momentum": 0.9, "nesterov": False, "cosine_end": 0}.items() <= sgd.model_dump().items()
    assert TrainingSettings.model_validate(sgd.model_dump()) == sgd


@pytest.mark.parametrize(("ours", "torchs", "more"), [
    (uncompiled.Adam, torch.optim.Adam, {"weight_decay": 0.01}),
    (uncompiled.SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
])  # fmt: skip
def test_without_the_compiler_it_is_torchs_optimiser_to_the_bit(ours, torchs, more):
    results = []
    for kind in (ours, torchs):
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(3, 4)) for _ in range(2)]
        optimiser = kind([{"params": weights[:1], "lr": 0.1}, {"params": weights[1:]}], lr=0.01, fused=True, **more)
        for step in range(6):
            if step == 3:  # as after an interruption
                state = copy.deepcopy(optimiser.state_dict())
                optimiser = kind([{"params": weights[:1]}, {"params": weights[1:]}], lr=1.0, fused=True)
                optimiser.load_state_dict(state)
            optimiser.zero_grad(set_to_none=True)
            sum((weight * torch.randn(3, 4)).square().sum() for weight in weights).backward()
            optimiser.step()
            assert all(weight.grad is not None and weight.requires_grad for weight in weights)
        results.append(torch.stack([weight.detach() for weight in weights]))
    assert torch.equal(*results)


@pytest.mark.parametrize(("kind", "more"), [(uncompiled.Adam, {}), (uncompiled.SGD, {"momentum": 0.9})])
def test_weights_gradients_and_moments_may_lie_in_memory_in_different_orders(kind, more):
    """torch's fused steps pair up their numbers by place in memory, whatever the places mean."""

    def trained(format_of_weights, others):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.randn(4, 3, 5, 5).contiguous(memory_format=format_of_weights))
        optimiser = kind([weight], lr=0.1, fused=True, **more)
        for _ in range(3):
            weight.grad = others(torch.randn(4, 3, 5, 5))
            optimiser.step()
            for name, value in optimiser.state[weight].items():  # as read from a file
                optimiser.state[weight][name] = others(value)
        return weight.detach()

    usual = trained(torch.contiguous_format, torch.Tensor.contiguous)
    torch.testing.assert_close(trained(torch.channels_last, torch.Tensor.contiguous), usual)
    torch.testing.assert_close(
        trained(torch.contiguous_format, lambda x: x.mT.contiguous().mT if x.dim() else x), usual
    )
