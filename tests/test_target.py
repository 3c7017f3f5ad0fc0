"""Given sizes: budgets, the choice within a budget, the controller of a penalty's weight."""

from __future__ import annotations

from math import exp

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.method import Clock, TaskInfo, closed_form
from squeezebench.method.target import SizeController, budget_of, unreachable, within_budget
from squeezebench.nn.masks.bottleneck import BottleneckMask

TASK = TaskInfo("digits", "sequence", 8, 8, 10, False, 1000)


def test_a_budget_never_gives_less_than_the_ratio():
    assert budget_of(18_944, 10) == 1894 and 18_944 / budget_of(18_944, 10) >= 10
    assert budget_of(300, 3) == 100 and budget_of(90, 100) == 0


def test_a_size_out_of_reach_is_one_line_that_names_the_smallest():
    assert unreachable(TASK, 10, 18_944, 1894, "biases alone") is None
    assert unreachable(TASK, 30, 18_944, 1900, "hidden-to-hidden and biases alone") == (
        "cannot reach 30x on digits: hidden-to-hidden and biases alone hold 1,900 of 18,944 LSTM parameters; "
        "at most 9.9x"
    )


@given(
    st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=30), min_size=1, max_size=4), st.floats(0, 1), st.data()
)
def test_what_stays_fits_has_the_highest_scores_and_leaves_no_group_empty(groups, part, data):
    scores = [torch.tensor(group, dtype=torch.float64) for group in groups]
    costs = [torch.tensor(data.draw(st.lists(st.integers(1, 9), min_size=len(g), max_size=len(g)))) for g in groups]

    def size(stays):
        return sum(int(cost[keep].sum()) for cost, keep in zip(costs, stays, strict=True))

    everything = size([torch.ones(len(score), dtype=torch.bool) for score in scores])
    budget = round(part * everything)
    stays = within_budget(scores, size, budget)
    assert all(keep.any() and keep[score.argmax()] for score, keep in zip(scores, stays, strict=True))
    removable = sum(len(score) - 1 for score in scores)
    gone = sum(int((~keep).sum()) for keep in stays)
    assert size(stays) <= budget or gone == removable
    kept, flat = torch.cat(stays), torch.cat(scores)
    if gone:  # a unit that stays below one that went is there because the better one does not fit any more
        for unit in (~kept).nonzero().flatten().tolist():
            worse = [int(k) for k in kept.nonzero().flatten() if flat[k] < flat[unit]]
            grown = kept.clone()
            grown[unit] = True
            assert not worse or size(list(grown.split([len(s) for s in scores]))) > budget


def test_a_choice_of_inputs_and_units_ends_close_to_its_budget():
    torch.manual_seed(0)
    scores = [torch.rand(320), torch.rand(64)]

    def size(stays):
        return closed_form(int(stays[0].sum()), [int(stays[1].sum())])["lstm_total"]

    dense = closed_form(320, [64])["lstm_total"]
    for ratio in (1, 3, 10, 30, 100, 300):
        budget = budget_of(dense, ratio)
        assert 0.9 * budget <= size(within_budget(scores, size, budget)) <= budget, ratio


def controlled(steps: int, ratio: float, weight: float) -> tuple[SizeController, float, list[float]]:
    """A network in which unit j's noise costs `need[j]` times its variance, under a controlled KL term.

    Returns the controller, the expected size over the budget at the end, and the excess at each step.
    """
    torch.manual_seed(0)
    mask, need = BottleneckMask(200), torch.logspace(-3, 3, 200)
    optimiser = torch.optim.Adam(mask.parameters(), lr=24 / steps)
    controller, clock, excess = SizeController(200, 200 / ratio, weight), Clock(steps=steps), []
    for clock.step in range(steps):
        data = (need * ((mask.mu - 1).square() + mask.log_var.exp())).sum()
        optimiser.zero_grad()
        (data + controller.weight * mask.kl()).backward()
        optimiser.step()
        controller.update(float(mask.expected().sum()), clock)
        excess.append(controller.size / controller.target)
    return controller, controller.size * ratio / 200, excess


@pytest.mark.parametrize("steps", [200, 1000])
@pytest.mark.parametrize("weight", [0.1, 10.0])
@pytest.mark.parametrize("ratio", [3.0, 30.0])
def test_the_expected_size_reaches_the_budget_whatever_the_first_weight_and_the_number_of_steps(ratio, weight, steps):
    controller, end, excess = controlled(steps, ratio, weight)
    assert 0.7 < end < 1.4
    assert controller.target == pytest.approx(200 / ratio)
    assert max(excess) < 4  # the target falls no faster than masks can follow


def test_the_target_falls_evenly_on_a_log_scale_and_the_weight_keeps_within_its_span():
    controller, clock = SizeController(1000, 10, 2.0, gain=1e6, settled=0.5, span=3), Clock(steps=100)
    targets = []
    for clock.step in range(100):
        controller.update(1000, clock)
        targets.append(controller.target)
    assert targets[24] == pytest.approx(100) and targets[49] == pytest.approx(10) == targets[-1]
    assert controller.weight == pytest.approx(2 * exp(3))
    for clock.step in range(100):
        controller.update(1, clock)
    assert controller.weight == pytest.approx(2 * exp(-3))


def test_a_controller_that_is_restored_goes_on_to_the_same_bits():
    first, second, clock = SizeController(1000, 10, 1.0), SizeController(1000, 10, 1.0), Clock(steps=10)
    for clock.step in range(5):
        first.update(900, clock)
    second.load_state_dict(first.state_dict())
    for clock.step in range(5, 10):
        first.update(300, clock)
        second.update(300, clock)
    assert first.columns() == second.columns() and set(first.columns()) == {
        "penalty_weight",
        "expected_size",
        "target_size",
    }
