"""ITPCC on recurrent networks: coupled sets and their sizes, Eq. 20, folding, residual stacks, what goes."""

from __future__ import annotations

from math import exp, log

import pytest
import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.files import load_model, save_model
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.engine.training.loop import Trainer, describe
from squeezebench.method import Method, RecurrentSettings
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.coupled_units import CoupledUnits, coupled_units, mask_units, units_kl
from squeezebench.nn.pruning.shrink import compact_masked, surviving_units
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.residual import ResidualClassifier
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.export.standard import standard
from squeezebench.tools.tiny_tasks import tiny_task

INPUTS, HIDDEN, CLASSES, STEPS, BATCH = 5, 6, 3, 4, 7
GONE = (1, 4)  # units and inputs under the threshold in `masked`
NETWORKS = {"plain": (1, False), "stacked": (2, False), "residual": (3, True)}  # layers, with additions

ITPCC = load(find_methods()["itpcc_lstm"])


def network(form: str, cell: str = "lstm"):
    torch.manual_seed(0)
    layers, residual = NETWORKS[form]
    model = recurrent_classifier(INPUTS, HIDDEN, CLASSES, cell, layers)
    return (ResidualClassifier.of(model) if residual else model).double().eval()


def masked(form: str, cell: str = "lstm"):
    """`network` with masks whose mu differ from 1 and from each other, on units and inputs."""
    model = mask_units(network(form, cell))
    model.input_mask = BottleneckMask(INPUTS)
    with torch.no_grad():
        for number, mask in enumerate(model.masks()):
            mask.mu.copy_(torch.linspace(0.4, 1.6, mask.units) + 0.1 * number)
            mask.log_var.fill_(-6.0)
            mask.log_var[list(GONE)] = 6.0
    return model.double().eval()


def unit_masks(model) -> list[BottleneckMask]:
    return [mask for mask in model.masks() if mask is not model.input_mask]


def batch():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(BATCH, STEPS, INPUTS, generator=generator, dtype=torch.float64)
    return x, torch.tensor([4, 1, 2, 4, 3, 3, 2])


def written_out(model, x, z, additions: bool):
    """Logits of full-length sequences; z[l] (B, H) or (H,) multiplies h of layer l for all that reads it."""
    states = x.transpose(0, 1)
    for number, layer in enumerate(model.layers):
        h = c = torch.zeros(len(x), layer.hidden, dtype=torch.float64)  # h: before it is masked
        found = []
        for step in states:
            a = nn.functional.linear(step, layer.input_map.weight, layer.bias_ih)
            u = nn.functional.linear(z[number] * h, layer.hidden_map.weight, layer.bias_hh)
            if model.cell.name == "gru":
                (a_r, a_z, a_n), (u_r, u_z, u_n) = a.chunk(3, 1), u.chunk(3, 1)
                keep = (a_z + u_z).sigmoid()
                h = (1 - keep) * (a_n + (a_r + u_r).sigmoid() * u_n).tanh() + keep * h
            else:
                i, f, g, o = (a + u).chunk(4, 1)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
            found.append(z[number] * h)
        made = torch.stack(found)
        states = states + made if additions and number else made
    return model.head(states[-1])


# ---------------------------------------------------------------------- the sets


@pytest.mark.parametrize(
    ("form", "cell", "expected"),
    [
        ("plain", "lstm", [CoupledUnits((0,), HIDDEN, 4)]),  # one unit: four gates
        ("plain", "gru", [CoupledUnits((0,), HIDDEN, 3)]),
        ("stacked", "lstm", [CoupledUnits((0,), HIDDEN, 4), CoupledUnits((1,), HIDDEN, 4)]),
        ("residual", "lstm", [CoupledUnits((0, 1, 2), HIDDEN, 12)]),  # unit j of three layers: 3 x 4
        ("residual", "gru", [CoupledUnits((0, 1, 2), HIDDEN, 9)]),
    ],
)
def test_a_set_is_a_unit_with_its_gates_and_under_additions_that_of_all_layers(form, cell, expected):
    model = mask_units(network(form, cell))
    assert coupled_units(model) == expected
    assert len(model.masks()) == len(expected)  # one (mu, sigma) for each set, however many layers it lives in


def test_a_set_is_all_that_goes_with_a_unit():
    """Without one set of a residual stack nothing of the unit is left: gates, biases, columns in U, W and the head."""
    model = masked("residual")
    compact = compact_masked(model)
    kept = HIDDEN - len(GONE)
    for number, layer in enumerate(compact.layers):
        reads = INPUTS - len(GONE) if number == 0 else kept
        assert layer.input_map.weight.shape == (4 * kept, reads) and layer.hidden_map.weight.shape == (4 * kept, kept)
        assert layer.bias_ih.shape == layer.bias_hh.shape == (4 * kept,)
    assert compact.head.weight.shape == (CLASSES, kept)


# ---------------------------------------------------------------------- masked, and compact


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("form", NETWORKS)
def test_the_mask_is_a_factor_on_the_state_that_is_read(form, cell):
    model, (x, _) = masked(form, cell), batch()
    z = [next(iter(layer.gate_masks.values())).deterministic() for layer in model.layers]
    with torch.no_grad():
        expected = written_out(model, x * model.input_mask.deterministic(), z, NETWORKS[form][1])
        assert torch.allclose(model(x), expected, atol=1e-12)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("form", NETWORKS)
def test_the_compact_network_is_plain_and_gives_the_masked_ones_output(form, cell):
    model = masked(form, cell)
    compact = compact_masked(model)
    assert type(compact) is type(model) and not compact.masks() and not any(layer.factors for layer in compact.layers)
    assert compact.hidden == [HIDDEN - len(GONE)] * NETWORKS[form][0] and compact.inputs == INPUTS - len(GONE)
    with torch.no_grad():
        assert (compact(*batch()) - model(*batch())).abs().max() < 1e-10


def test_noise_of_a_set_is_drawn_once_for_all_its_layers():
    model, (x, _) = masked("residual").train(), batch()
    model.input_mask = None
    (mask,) = unit_masks(model)
    torch.manual_seed(5)
    found = model(x)
    torch.manual_seed(5)
    z = mask(BATCH)
    assert z.shape == (BATCH, HIDDEN) and not torch.equal(z[0], z[1])
    assert torch.allclose(found, written_out(model, x, [z] * 3, True), atol=1e-12)


def test_a_residual_network_of_layers_that_cannot_be_added_is_refused():
    layers = [*network("plain").layers, *recurrent_classifier(HIDDEN, HIDDEN + 1, 2).layers]
    with pytest.raises(ValueError, match="residual layers must have one width, got 6, 7"):
        ResidualClassifier(layers, nn.Linear(HIDDEN + 1, 2))


def test_a_residual_network_is_counted_like_its_stack_saved_and_not_exported(tmp_path):
    model = network("residual").float()
    plain = recurrent_classifier(INPUTS, HIDDEN, CLASSES, layers=3)
    assert count(model) == count(plain)
    assert macs(model, INPUTS, STEPS) == closed_form_macs(model, STEPS) == macs(plain, INPUTS, STEPS)
    save_model(tmp_path / "m.safetensors", model)
    again = load_model(tmp_path / "m.safetensors", Method.restore)
    x = batch()[0].float()
    assert type(again) is ResidualClassifier and torch.equal(model(x), again(x))
    with pytest.raises(InputError, match="joined by additions"):
        standard(model)


# ---------------------------------------------------------------------- the penalty


@pytest.mark.parametrize(("form", "sizes"), [("plain", [4]), ("stacked", [4, 4]), ("residual", [12])])
def test_the_penalty_is_equation_20(form, sizes):
    layers, residual = NETWORKS[form]
    method = ITPCC(ITPCC.Settings(hidden=HIDDEN, layers=layers, residual=residual, gamma=0.7))
    method.clock.examples = 50
    model, total = masked(form), 0.0
    for size, mask in [*zip(sizes, unit_masks(model), strict=True), (1, model.input_mask)]:
        for mu, log_var in zip(mask.mu.tolist(), mask.log_var.tolist(), strict=True):
            total += size * log(1 + mu**2 / exp(log_var))
    assert float(method.penalty(model).detach()) == pytest.approx(0.7 / 50 * total, rel=1e-5)
    model.input_mask = None
    assert float(method.penalty(model).detach()) == pytest.approx(0.7 / 50 * float(units_kl(model).detach()))


# ---------------------------------------------------------------------- the method


def trained(epochs: int = 8, **setting_names):
    """(stages that ran, compact model) on the contract's small task."""
    task = tiny_task()
    training = TrainingSettings(epochs=epochs, batch_size=12, learning_rate=5e-3)
    method = ITPCC(ITPCC.Settings(hidden=10, start=setting_names.pop("start", "scratch"), **setting_names))
    trainer = Trainer(method, task, training, 0)
    model = trainer.run(None, epochs)
    return [stage.name for stage in trainer.stages], method.compact(model), trainer.history.rows


@pytest.mark.parametrize("residual", [False, True])
def test_training_removes_units_and_more_gamma_removes_more(residual):
    setting_names = {
        "layers": 2,
        "residual": residual,
        "mask_learning_rate": 0.3,
        "start": "dense" if residual else "scratch",
    }
    epochs = 24 if residual else 8  # the start of its own takes a third, and the masks need their steps
    stages, small, rows = trained(epochs, gamma=8.0, **setting_names)
    _, large, _ = trained(epochs, gamma=0.0, **setting_names)
    assert stages == ["dense pretraining"] * residual + ["prune", "fine-tune"]
    assert large.hidden == [10, 10] and sum(small.hidden) < 20
    assert not residual or small.hidden[0] == small.hidden[1]
    assert rows[-1]["kept_hidden"] == sum(small.hidden) and rows[0]["kept_hidden"] == 20


def test_a_residual_stack_trains_its_own_start_and_the_others_share_theirs():
    plain, own = (ITPCC(ITPCC.Settings(layers=2, residual=residual)) for residual in (False, True))
    assert plain.start_share() == 0.3 and own.start_share() == 0.0
    shares = {stage.name: stage.share for stage in own.stages()}
    assert shares == pytest.approx({"dense pretraining": 0.3, "prune": 0.7 * 0.6, "fine-tune": 0.7 * 0.4})
    assert not own.build(describe(tiny_task())).masks()  # they come with the pruning stage
    assert type(plain.settings.shared()) is type(own.settings.shared()) is RecurrentSettings


def test_inputs_are_masked_only_where_asked_for():
    info = describe(tiny_task())
    masks = [len(ITPCC(ITPCC.Settings(hidden=4, mask_features=on)).build(info).masks()) for on in (True, False)]
    assert masks == [2, 1]


def test_one_layer_has_nothing_to_add():
    with pytest.raises(InputError, match="residual: true needs layers: 2 or more"):
        settings_of(ITPCC, {"residual": True}, "e.yaml")


def test_a_network_never_loses_its_last_set():
    model = masked("residual")
    with torch.no_grad():
        unit_masks(model)[0].log_var.fill_(9.0)
    kept = surviving_units(model)
    assert [one.tolist() for one in kept] == [[HIDDEN - 1]] * 3  # of largest mu, the same unit in every layer
