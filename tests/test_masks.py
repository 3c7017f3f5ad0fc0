"""Bottleneck masks: what noise, keeping and compacting mean, and the trap in the released code's reading."""

from __future__ import annotations

import pytest
import torch

from squeezebench.data.task import load_task, task_spec
from squeezebench.engine.training.loop import Trainer
from squeezebench.method import TaskInfo
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.shrink import compact_masked, keep_largest, removable, surviving_inputs, surviving_units
from squeezebench.nn.rnn.cells import cell_of, known_cells
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.schema.training import TrainingSettings

INPUTS, HIDDEN, CLASSES, STEPS, BATCH = 7, 9, 4, 6, 5
CELLS = [cell_of(name) for name in known_cells()]
FOLDABLE = {cell.name: cell.state_gate for cell in CELLS}
GATES = {cell.name: cell.gates for cell in CELLS}


def mask(units: int, off=(), **settings) -> BottleneckMask:
    """A mask whose mu differs from 1 everywhere; units in `off` fall under the threshold."""
    new = BottleneckMask(units, **settings)
    with torch.no_grad():
        new.mu.copy_(torch.linspace(0.5, 1.7, units))
        new.log_var.fill_(-6.0)
        new.log_var[list(off)] = 6.0
    return new


def masked(
    cell: str, layers: int = 1, front: str | None = None, letters: str = "", off=(1, 4), features=(0, 3), **settings
):
    """A classifier of random weights and statistics; masks on gates `letters` and (unless None) inputs."""
    torch.manual_seed(1)
    segments = None if front is None else TemporalSegments(INPUTS, 3, pool=front == "segments")
    model = recurrent_classifier(INPUTS, HIDDEN, CLASSES, cell, layers, segments)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        for norm in segments.norms if segments else ():
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)
    for layer in model.layers:
        layer.gate_masks.update({letter: mask(HIDDEN, off, **settings) for letter in letters})
    if features is not None:
        model.input_mask = mask(INPUTS, features, **settings)
    return model.eval()


def batch():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(BATCH, STEPS, INPUTS, generator=generator), torch.tensor([6, 1, 3, 4, 2])


def gap(model, compact) -> float:
    with torch.no_grad():
        return (compact.eval()(*batch()) - model.eval()(*batch())).abs().max().item()


# ---------------------------------------------------------------------- compact = masked


@pytest.mark.parametrize("evaluate_with", ["mean", "hard"])
@pytest.mark.parametrize("front", [None, "segments", "segments_bn"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", GATES)
def test_masks_that_fold_leave_a_standard_cell_with_the_same_output(cell, layers, front, evaluate_with):
    model = masked(cell, layers, front, FOLDABLE[cell], evaluate_with=evaluate_with)
    compact = compact_masked(model)
    assert compact.hidden == [HIDDEN - 2] * layers and compact.inputs == INPUTS - 2
    assert not compact.masks() and not any(layer.factors for layer in compact.layers)
    assert gap(model, compact) < 1e-6


@pytest.mark.parametrize("front", [None, "segments", "segments_bn"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", GATES)
def test_with_its_vectors_kept_every_mask_is_reproduced(cell, layers, front):
    model = masked(cell, layers, front, GATES[cell])
    compact = compact_masked(model, keep_factors=True)
    assert compact.hidden == [HIDDEN - 2] * layers
    assert all(
        set(layer.factors) == {"lstm": {"i", "f"}, "gru": {"r", "z"}, "min_gru": {"z"}}[cell]
        for layer in compact.layers
    )
    assert gap(model, compact) < 1e-6


@pytest.mark.parametrize(("inputs", "hidden"), [(2, 3), (5, None), (None, 1), (99, 99)])
@pytest.mark.parametrize("cell", GATES)
def test_targets_keep_exactly_so_many_those_with_the_most_information(cell, inputs, hidden):
    model = masked(cell, 2, letters=FOLDABLE[cell])  # mu rises with the index, so the last ones carry the most
    by_threshold = compact_masked(model)
    keep_largest(model, inputs, hidden)
    compact = compact_masked(model)
    assert compact.inputs == (by_threshold.inputs if inputs is None else min(inputs, INPUTS))
    assert compact.hidden == ([HIDDEN - 2] * 2 if hidden is None else [min(hidden, HIDDEN)] * 2)
    assert gap(model, compact) < 1e-6  # a unit under the threshold that has to stay, stays with its mean
    if inputs == 2:
        assert compact.input_index.tolist() == [INPUTS - 2, INPUTS - 1]


def test_a_target_counts_the_gate_with_the_least_information():
    model = masked("lstm", letters="ifgo", off=())
    with torch.no_grad():
        model.layers[0].gate_masks["g"].mu[HIDDEN - 1] = 1e-3  # the unit is silenced by one gate of four
        model.layers[0].gate_masks["f"].mu[HIDDEN - 2] = 1e-3  # this one cannot silence it
    keep_largest(model, None, 2)
    assert surviving_units(model)[0].tolist() == [HIDDEN - 3, HIDDEN - 2]


def test_the_released_classifier_has_two_layers_and_compacts_like_the_other():
    torch.manual_seed(3)
    model = recurrent_classifier(INPUTS, HIDDEN, CLASSES, head="two_layers")
    model.layers[0].gate_masks["o"] = mask(HIDDEN, (1, 4))
    compact = compact_masked(model.eval())
    assert [m.weight.shape for m in (compact.head, compact.top[-1])] == [(HIDDEN, HIDDEN - 2), (CLASSES, HIDDEN)]
    assert gap(model, compact) < 1e-6
    rebuilt = type(compact).from_spec(compact.spec())
    rebuilt.load_state_dict(compact.state_dict())
    assert gap(rebuilt.eval(), compact) == 0


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", GATES)
def test_where_input_and_state_are_small_the_closest_standard_cell_is_the_masked_one(cell, layers):
    """Value and slope of each gate agree at 0, so that the states differ in the third order of the input only."""
    model = recurrent_classifier(INPUTS, HIDDEN, CLASSES, cell, layers).double().eval()
    for layer in model.layers:
        for letter in layer.cell.gates:
            layer.gate_masks[letter] = mask(HIDDEN).double().eval()
            layer.gate_masks[letter].mu.data.mul_(0.5)  # below 1: no sigmoid can be multiplied by more everywhere
    compact, x = compact_masked(model).eval(), batch()[0].double()
    with torch.no_grad():
        far, near = ((compact(size * x) - model(size * x)).abs().max() for size in (1e-1, 1e-2))
    assert far > 1e-7 and near < far / 500  # 1000 if they differ in the third order
    assert not any(layer.factors for layer in compact.layers)


@pytest.mark.parametrize(("cell", "gate"), [("lstm", "f"), ("gru", "z")])
def test_a_gate_that_keeps_the_memory_is_shut_if_its_mask_is_pruned(cell, gate):
    """It used to become full memory: the mask was dropped."""
    model = masked(cell, letters=gate, off=range(HIDDEN), features=None)
    compact, x = compact_masked(model).eval(), 30 * batch()[0]
    assert compact.hidden == [HIDDEN]
    layer = compact.layers[0]
    rows = slice(layer.cell.gates.index(gate) * HIDDEN, (layer.cell.gates.index(gate) + 1) * HIDDEN)
    with torch.no_grad():
        argument = layer.input_map(x)[..., rows] + layer.bias_ih[rows] + layer.bias_hh[rows]
    assert argument.sigmoid().max() < 1e-4 and layer.hidden_map.weight[rows].abs().max() == 0


def test_no_gate_of_a_standard_cell_exceeds_1():
    model = masked("lstm", letters="f", features=None, off=())
    with torch.no_grad():
        model.layers[0].gate_masks["f"].mu.fill_(3.0)
        model.layers[0].gate_masks["f"].mu[0] = -0.5  # as good as 0: no sigmoid is negative
    layer, before = compact_masked(model).layers[0], model.layers[0]
    rows = slice(HIDDEN, 2 * HIDDEN)
    values = (layer.bias_ih + layer.bias_hh)[rows].sigmoid()
    assert torch.allclose(values[1:], torch.tensor(0.999), atol=1e-4) and values[0] < 1e-4
    assert torch.equal(layer.input_map.weight[rows][1:], before.input_map.weight[rows][1:])


def test_a_standard_cell_cannot_absorb_the_masks_inside_the_recursion():
    model = masked("lstm", letters="ifgo")
    assert gap(model, compact_masked(model)) > 1e-3  # why fine-tuning follows, and why vectors can be kept


def test_masks_at_one_change_nothing():
    plain, model = masked("lstm", features=None), masked("lstm", letters="ifgo", off=(), features=())
    for each in model.masks():
        torch.nn.init.ones_(each.mu)
    assert gap(plain, model) < 1e-6
    assert gap(plain, compact_masked(model)) < 1e-6


def test_a_second_compaction_reads_the_inputs_of_the_first():
    model = masked("lstm", letters="o")
    once = compact_masked(model)
    once.input_mask = mask(once.inputs, off=(2,))
    twice = compact_masked(once)
    assert twice.inputs == INPUTS - 3 and gap(once, twice) < 1e-6


# ---------------------------------------------------------------------- which units can go


def test_gates_that_silence_different_units_remove_their_union():
    model = masked("lstm", features=None)
    model.layers[0].gate_masks.update({"i": mask(HIDDEN, (0,)), "g": mask(HIDDEN, (2,)), "f": mask(HIDDEN, (5,))})
    assert removable(model.layers[0]).nonzero().flatten().tolist() == [0, 2]


def test_the_last_unit_and_the_last_input_stay():
    model = masked("lstm", layers=2, letters="ifgo", off=range(HIDDEN), features=range(INPUTS))
    compact = compact_masked(model)
    assert compact.hidden == [1, 1] and compact.inputs == 1
    assert surviving_units(model)[0].tolist() == [HIDDEN - 1]  # where mu, and so alpha, is largest
    assert surviving_inputs(model).tolist() == [INPUTS - 1]
    assert torch.isfinite(compact(*batch())).all()
    compact(*batch()).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in compact.layers[-1].parameters())  # it can be trained


def test_without_masks_everything_stays():
    model = masked("lstm", features=None)
    compact = compact_masked(model)
    assert compact.hidden == [HIDDEN] and compact.input_index is None and gap(model, compact) < 1e-6


# ---------------------------------------------------------------------- one mask


def test_kl_is_the_papers_formula_with_its_gradients():
    one = mask(5).double()
    mu, variance = one.mu.detach(), one.log_var.detach().exp()
    expected = torch.log1p(mu**2 / variance).sum()
    assert one.kl().item() == pytest.approx(expected.item(), rel=1e-5)
    one.kl().backward()
    both = mu**2 + variance
    assert torch.allclose(one.mu.grad, 2 * mu / both, rtol=1e-4)  # d/dmu log(1 + mu^2 / s^2)
    assert torch.allclose(one.log_var.grad, -(mu**2) / both, rtol=1e-4)  # always widens sigma


def test_kl_stays_finite_where_sigma_has_collapsed():
    one = mask(3)
    torch.nn.init.constant_(one.log_var, -200.0)
    one.kl().backward()
    assert torch.isfinite(one.kl()) and torch.isfinite(one.mu.grad).all() and torch.isfinite(one.log_var.grad).all()


def test_a_unit_is_kept_iff_its_signal_to_noise_exceeds_the_threshold():
    one = BottleneckMask(4, threshold=4.0)
    with torch.no_grad():
        one.mu.copy_(torch.tensor([2.1, 1.9, -2.1, 0.0]))
        one.log_var.zero_()
    assert one.keep().tolist() == [True, False, True, False]
    assert one.deterministic().tolist() == pytest.approx([2.1, 0.0, -2.1, 0.0])
    one.evaluate_with = "hard"
    assert one.deterministic().tolist() == [1.0, 0.0, 1.0, 0.0]


def test_noise_per_sequence_is_one_draw_for_each_sequence_shared_over_time():
    one = mask(6, noise="per_sequence").train()
    first, second = one(3), one(3)
    assert first.shape == (3, 6)  # no time axis: every step of a sequence is multiplied by the same numbers
    assert not torch.equal(first, second) and not torch.equal(first[0], first[1])


@pytest.mark.parametrize("loudest", [1.0, float("inf")])
def test_the_noise_of_lost_units_does_not_overflow_the_cell_state(loudest):
    """log sigma^2 ends near 9 on units that are lost; a forget gate's mask acts at every step."""
    torch.manual_seed(0)
    model = recurrent_classifier(3, 16, 2)
    for gate in "ifgo":
        model.layers[0].gate_masks[gate] = BottleneckMask(16, initial_log_var=9.0, loudest=loudest)
    model.train()(torch.randn(64, 29, 3), None).logsumexp(1).sum().backward()
    finite = all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    assert finite == (loudest == 1.0)


def test_noise_first_batch_is_drawn_once_and_never_again():
    one = mask(6, noise="first_batch").train()
    assert not torch.equal(one(3), one.mu.expand(3, 6))
    for _ in range(3):
        assert torch.equal(one(3), one.mu)


def test_noise_has_the_stated_mean_and_variance():
    torch.manual_seed(0)
    one = mask(2).train()
    with torch.no_grad():
        one.log_var.copy_(torch.tensor([-1.0, 1.0]))
        drawn = one(200_000)
    assert torch.allclose(drawn.mean(0), one.mu, atol=0.02)
    assert torch.allclose(drawn.var(0), one.log_var.exp(), rtol=0.02)


@pytest.mark.parametrize("noise", ["per_sequence", "first_batch"])
def test_evaluation_is_deterministic_whatever_the_noise(noise):
    model = masked("lstm", letters="ifgo", noise=noise)
    assert torch.equal(model(*batch()), model(*batch()))


@pytest.mark.parametrize("noise", ["per_sequence", "first_batch"])
@pytest.mark.parametrize("cell", GATES)
def test_every_noise_trains_masks_and_weights(cell, noise):
    model = masked(cell, letters=GATES[cell], off=(), features=(), noise=noise).train()
    model(*batch()).sum().backward()
    for name, parameter in ((name, p) for name, p in model.named_parameters() if p.numel()):
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


# ---------------------------------------------------------------------- noise in the first batch only


def compressed_digits(**given):
    """(masks after the compress stage, its history) of VIB-LSTM on digits, 8 epochs from scratch."""
    base = load(find_methods()["vib_lstm"])
    found = []

    class Watched(base):
        def end_stage(self, model, stage):
            if stage.name == "compress":
                found.extend(model.masks())
            return super().end_stage(model, stage)

    shared = {"start": "scratch", "ramp": 0.0, "compress_share": 0.8, "mask_learning_rate": 0.1}
    method = Watched(base.Settings(hidden=24, **(shared | given)))
    training = TrainingSettings(epochs=10, batch_size=64, learning_rate=5e-3, schedule="constant")
    trainer = Trainer(method, load_task(task_spec("digits")), training, 0)
    trainer.run(None, training.epochs)
    return found, [row for row in trainer.history.rows if row["stage"] == "compress"]


def kept_part(masks) -> float:
    return sum(int(m.keep().sum()) for m in masks) / sum(m.units for m in masks)


def test_noise_drawn_once_prunes_everything_unless_the_optimiser_decays_the_masks():
    """Without noise sigma costs no accuracy: the KL term widens it for ever, the released optimiser stops it at 1."""
    masks, history = compressed_digits(noise="first_batch")
    assert kept_part(masks) < 0.05
    assert history[-1]["loss"] < 0.5  # mean cross-entropy of ten classes; chance is 2.3
    assert history[-1]["validation_accuracy"] < 0.2  # with the pruned masks nothing is left to evaluate

    masks, history = compressed_digits(
        noise="first_batch", scale="released", beta=4e-6, mask_weight_decay=5e-4, evaluate_with="hard"
    )
    log_var = torch.cat([m.log_var.detach() for m in masks])
    assert log_var.abs().max() < 1  # from -9; the KL term is thousands of times weaker there
    assert 0.1 < kept_part(masks) < 0.9
    stays = torch.cat([m.keep() for m in masks])
    assert torch.equal(stays, torch.cat([m.mu.detach().abs() for m in masks]) > (0.5 * log_var).exp())


def test_noise_in_every_batch_keeps_what_the_data_term_needs():
    masks, history = compressed_digits(noise="per_sequence")
    assert kept_part(masks) > 0.4
    assert history[-1]["loss"] < 0.7 and history[-1]["validation_accuracy"] > 0.7


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ({}, 5),
        ({"mask_features": False}, 4),
        ({"mask_gates": False}, 1),
        ({"cell": "gru"}, 3),
        ({"cell": "gru", "mask_features": False}, 2),
        ({"layers": 3}, 13),
    ],
)
def test_eq_15_weighs_the_cross_entropy_by_the_number_of_masked_terms(given, terms):
    method = load(find_methods()["vib_lstm"])
    subject = method(method.Settings(hidden=4, scale="eq15", beta=2.0, ramp=0.0, **given))
    model = subject.build(TaskInfo("t", "sequence", 3, 4, 2, False, 50))
    kl = sum(mask.kl() for mask in model.masks())
    assert subject.penalty(model).item() == pytest.approx(2.0 * kl.item() / terms)


@pytest.mark.parametrize(("beta", "ratio"), [(0.0, None), (2.0, None), (2.0, 4)])
def test_features_and_gates_have_weights_of_their_own(beta, ratio):
    """With a ratio their quotient is kept, and the controlled weight is that of the gates."""
    method = load(find_methods()["vib_lstm"])
    subject = method(method.Settings(hidden=4, scale="eq15", beta=beta, beta_features=3.0, ramp=0.0, ratio=ratio))
    model = subject.build(TaskInfo("t", "sequence", 3, 4, 2, False, 50))
    of_gates = sum(mask.kl() for layer in model.layers for mask in layer.gate_masks.values())
    assert subject.penalty(model).item() == pytest.approx((beta * of_gates + 3.0 * model.input_mask.kl()).item() / 5)
