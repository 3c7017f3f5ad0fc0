"""Given sizes: budgets, the choice within a budget, the controller of a penalty's weight."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.engine.measurement.counts import count
from squeezebench.engine.training.loop import Trainer
from squeezebench.method import Clock, TaskInfo, closed_form, target
from squeezebench.method.convergence import mask_learning_rate, unconverged
from squeezebench.method.dense import dense_classifier
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.target import SizeController, budget_of, unreachable, within_budget
from squeezebench.method.unit_lasso import UnitLasso
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.groups import unit_square_norms
from squeezebench.pipeline.tuning.space import space_of
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.check_method import tiny_task
from squeezebench.tools.counting import construct

TASK = TaskInfo("digits", "sequence", 8, 8, 10, False, 1000)
WIDE = TaskInfo("wide", "sequence", 320, 16, 10, False, 1000)


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
    assert max(excess) < 5  # the target falls no faster than masks can follow


def test_the_target_falls_evenly_on_a_log_scale_and_the_multiplier_keeps_within_its_span(monkeypatch):
    monkeypatch.setattr(target, "GAIN", 1e6)
    monkeypatch.setattr(target, "SETTLED", 0.5)
    controller, clock, targets = SizeController(1000, 10, 2.0), Clock(steps=100), []
    for clock.step in range(100):
        controller.update(1000, clock)
        targets.append(controller.target)
    assert targets[24] == pytest.approx(100) and targets[49] == pytest.approx(10) == targets[-1]
    assert controller.multiplier == pytest.approx(2 * exp(target.SPAN))
    assert controller.weight == pytest.approx(controller.multiplier * exp(target.DAMPING))
    for clock.step in range(100):
        controller.update(1, clock)
    assert controller.multiplier == pytest.approx(2 * exp(-target.SPAN))


@pytest.mark.parametrize(("steps", "times"), [(40, 40), (126, 126), (420, 105), (5000, 500)])
def test_a_short_stage_decides_as_often_as_a_long_one_what_goes(steps, times):
    clock = Clock(steps=steps)
    assert sum(target.decides(replace(clock, step=step)) for step in range(steps)) == times


def test_masks_that_fell_below_their_size_are_noted():
    controller, clock = SizeController(1000, 10, 1.0), Clock(steps=10, step=9)
    controller.update(8, clock)
    assert controller.overshot() is None
    controller.update(4, clock)
    assert "0.40 of the size" in controller.overshot()


def test_a_controller_that_is_restored_goes_on_to_the_same_bits():
    first, second, clock = SizeController(1000, 10, 1.0), SizeController(1000, 10, 1.0), Clock(steps=10)
    for clock.step in range(5):
        first.update(900, clock)
    second.load_state_dict(first.state_dict())
    for clock.step in range(5, 10):
        first.update(300, clock)
        second.update(300, clock)
    assert first.columns() == second.columns()
    assert set(first.columns()) == {"penalty_weight", "expected_size", "target_size"}


def test_a_lasso_to_a_size_takes_the_other_units_to_zero_and_leaves_those_of_largest_norm_alone():
    torch.manual_seed(0)
    method = load(find_methods()["dense"])
    model, clock = dense_classifier(TASK, method.Settings(hidden=16)), Clock(steps=1000, learning_rate=0.003)
    rows = model.layers[0].input_map.weight.view(4, 16, 8)  # of each gate and unit
    first = rows.norm(dim=(0, 2)).detach()
    lasso = UnitLasso(1.0, lambda units: 100 * sum(units), 1600, 400)
    for clock.step in range(1000):
        with torch.no_grad():
            lasso.step(model, clock)
    stay = lasso.units(model)[0]
    assert len(stay) == 4 and torch.equal(unit_square_norms(model)[0].nonzero().flatten(), stay)
    assert (rows.norm(dim=(0, 2))[stay] > 0.9 * first[stay]).all()
    assert lasso.columns(model, clock) == {"expected_size": 400, "target_size": pytest.approx(400)}


def shrunk(strength: float, through_adam: bool) -> float:
    """How much of their norm the groups of units lose in 100 steps in which the data asks for nothing."""
    torch.manual_seed(0)
    model = dense_classifier(TASK, load(find_methods()["dense"]).Settings(hidden=16))
    before, clock = unit_square_norms(model)[0].sqrt().sum().item(), Clock(steps=100, learning_rate=0.001)
    lasso, adam = UnitLasso(strength, sum, 16), torch.optim.Adam(model.parameters(), lr=clock.learning_rate)
    for clock.step in range(100):
        if through_adam:
            adam.zero_grad()
            (strength * unit_square_norms(model)[0].sqrt().sum()).backward()
            adam.step()
        else:
            with torch.no_grad():
                lasso.step(model, clock)
    return 1 - unit_square_norms(model)[0].sqrt().sum().item() / before


def test_the_strength_of_a_lasso_decides_in_a_proximal_step_and_not_through_adam():
    """Adam divides a gradient by its own size: a lasso that is a hundred times weaker removes as much."""
    assert shrunk(0.05, through_adam=True) == pytest.approx(shrunk(5.0, through_adam=True), abs=1e-3)
    weak, strong = shrunk(0.05, through_adam=False), shrunk(5.0, through_adam=False)
    assert weak > 0 and strong == pytest.approx(100 * weak, rel=0.05)  # a weight belongs to several groups
    assert shrunk(0.05, through_adam=True) > 10 * weak


def test_masks_that_do_not_fit_the_falling_target_go_while_it_falls_and_do_not_return():
    torch.manual_seed(0)
    method = load(find_methods()["vib_lstm"])
    subject = method(method.Settings(ratio=30, hidden=16))
    model = subject.build(TASK).train()
    dense, sizes, before = closed_form(8, [16])["lstm_total"], [], None
    subject.clock = Clock(stage="compress", steps=100)
    for subject.clock.step in range(100):
        subject.after_step(model)
        if (subject.clock.step + 1) % 10 == 0:
            stay = model.layers[0].gate_masks["i"].chosen.clone(), model.input_mask.chosen.clone()
            sizes.append(closed_form(int(stay[1].sum()), [int(stay[0].sum())])["lstm_total"])
            assert sizes[-1] <= subject.controller.target
            assert before is None or not any((now & ~then).any() for now, then in zip(stay, before, strict=True))
            before = stay
    assert dense > sizes[0] > sizes[3] > sizes[7] and sizes[7:] == [sizes[7]] * 3  # nothing waits for the end


# ---------------------------------------------------------------------- methods

NARROW_REACH = {  # the largest ratio of 3, 10, 30, 100 that a method reaches on 8 inputs and 64 units; not listed: all
    "low_rank": 10, "fdht_lstm": 10, "tt_lstm": 0, "tr_lstm": 0, "bt_lstm": 0, "ht_lstm": 0,
}  # fmt: skip
WIDE_REACH = {
    "small_dense": 30, "distillation": 30, "iss": 30, "low_rank": 30,
    "tt_lstm": 3, "tr_lstm": 3, "bt_lstm": 3, "ht_lstm": 3,
}  # fmt: skip
METHODS = [
    "small_dense", "distillation", "lottery_ticket", "random_units", "magnitude", "vib_lstm", "itpcc_lstm", "iss",
    *NARROW_REACH,
]  # fmt: skip
FINE = 0.1  # how far below the budget a method may end
# one unit on 320 inputs, or one rank, is a large step
COARSE = {"small_dense": 0.3, "distillation": 0.3, "fdht_lstm": 0.15, "low_rank": 0.12, "iss": 0.3}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_ends_within_its_budget_or_says_why_it_cannot(name):
    method = load(find_methods()[name])
    for task, reach in ((TASK, NARROW_REACH.get(name, 100)), (WIDE, WIDE_REACH.get(name, 100))):
        dense = closed_form(task.inputs, [64])["lstm_total"]
        for ratio in (3, 10, 30, 100):
            subject, budget = method(method.Settings(ratio=ratio)), budget_of(dense, ratio)
            reason = subject.skip(task)
            if ratio > reach:
                assert reason and reason.startswith(f"cannot reach {ratio}x on {task.name}: "), (task.name, ratio)
                continue
            assert reason is None
            size, formula = count(construct(subject, task)).lstm_total, subject.closed_form(task)
            assert formula is None or formula["lstm_total"] == size
            assert size <= budget
            wide_enough = task is WIDE or size > 1000  # below, one unit is more than 10 %
            assert not wide_enough or size >= (1 - COARSE.get(name, FINE)) * budget, (task.name, ratio, dense / size)


def test_units_and_inputs_are_kept_in_one_part_only_if_the_input_is_wide_and_no_part_is_given():
    method = load(find_methods()["random_units"])

    def kept(inputs, ratio, **given):
        return method(method.Settings(ratio=ratio, **given)).kept(inputs)

    assert kept(8, 10) == (8, 17)  # 4 * 17 * (8 + 17 + 2) = 1,836 of 1,894
    assert kept(12, 100) == (11, 3)  # with all 12 inputs two units would be 36 % below the budget
    inputs, units = kept(320, 100)
    assert units / 64 == pytest.approx(inputs / 320, rel=0.2) == pytest.approx(0.1, rel=0.2)
    assert kept(320, 100, keep_inputs=0.05) == (16, 9)  # 4 * 9 * (16 + 9 + 2) = 972 of 988
    for name in ("random_units", "magnitude", "lottery_ticket"):
        control = load(find_methods()[name])
        shaped = control(control.Settings(ratio=100, keep_inputs=0.05))
        assert count(construct(shaped, WIDE)).lstm_total == shaped.closed_form(WIDE)["lstm_total"] == 972
        space = space_of(control, {"ratio": 100}, {}, shaped.settings, name)
        assert "keep_inputs" in space and "keep" not in space  # a tuning draws the shape at the given size
    assert method(method.Settings(ratio=100, keep_inputs=0.8)).skip(WIDE) == (
        "cannot reach 100x on wide: 256 inputs and one unit a layer hold 1,036 of 98,816 LSTM parameters; at most 95.3x"
    )


@pytest.mark.parametrize(
    ("given", "steps", "rate"),
    [(None, 1000, 0.024), (None, 240, 0.1), (None, 60, 0.25), (None, 10**6, 0.002), (0.01, 60, 0.01)],
)
def test_masks_learn_so_fast_that_log_variance_covers_its_way(given, steps, rate):
    assert mask_learning_rate(given, steps) == pytest.approx(rate)


def test_a_note_says_what_too_few_steps_would_need():
    half = Clock(steps=600, mean_factor=0.5)  # of a cosine; a rate that is derived is constant
    assert unconverged(None, Clock(steps=72)) is None and unconverged(0.06, half) is None
    assert unconverged(0.03, replace(half, optimiser="sgd")) is None  # goes as far as the gradient asks
    few = unconverged(None, Clock(steps=50))
    assert few.endswith("move log sigma^2 by at most 12.5 of 18; give 72 steps or more")
    assert unconverged(0.03, half).endswith("by at most 9 of 18; give mask_learning_rate 0.06 or more")


@pytest.mark.parametrize(("name", "weight"), [("vib_lstm", "beta"), ("itpcc_lstm", "gamma")])
def test_a_run_that_removed_nothing_or_could_not_converge_says_so(name, weight):
    method = load(find_methods()[name])
    subject = method(method.Settings(hidden=4, start="scratch", **{weight: 0.0}))
    Trainer(subject, tiny_task(), TrainingSettings(epochs=3, batch_size=16), 0).run(None, 3)
    converged, removed = subject.notes
    assert converged.startswith("the masks could not have converged") and weight in removed
    assert removed == f"removed nothing: give a larger {weight}, or a ratio"
