"""Every recurrent cell that is found works everywhere, and a new one is one file."""

from __future__ import annotations

import ast
import sys

import numpy as np
import pytest
import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS, PACKAGE
from squeezebench.cli.main import main
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import closed_form_macs, macs
from squeezebench.method import TaskInfo
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.kernels.gemm import plain
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.groups import unit_group_lasso
from squeezebench.nn.pruning.shrink import compact_masked, removable
from squeezebench.nn.rnn import cells, heads
from squeezebench.nn.rnn.cells import Cell, cell_of, known_cells
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.nn.rnn.recurrence import recurrence
from squeezebench.schema.record import read_record
from squeezebench.tools.export.onnx_graph import onnx_model
from squeezebench.tools.export.quantised import int8_model
from squeezebench.tools.export.runtime import session
from squeezebench.tools.export.standard import standard
from squeezebench.tools.export.weights import StandardModule
from squeezebench.tools.latency.runtimes import in_every_runtime

T, B, D, H, CLASSES = 5, 3, 6, 4, 3

NEW_CELL = '''
from squeezebench.nn.rnn.cells.base import Cell


class Elman(Cell):
    """h_t = tanh(W x_t + U h_{t-1} + b)."""

    title = "Elman"
    gates = recurrent = removing = "h"
    state_gate = "h"

    def step(self, x, u, mask, h):
        return (mask("h", (x[0] + u[0]).tanh()),)
'''


@pytest.fixture(params=[*known_cells(), "elman"])
def cell(request, tmp_path, monkeypatch):
    """Each cell of the package, and one whose file lies in another folder."""
    if request.param == "elman":
        (tmp_path / "elman.py").write_text(NEW_CELL)
        monkeypatch.setattr(cells, "__path__", [*cells.__path__, str(tmp_path)])
        yield cell_of("elman")
        cell_of.cache_clear()
        sys.modules.pop("squeezebench.nn.rnn.cells.elman")
    else:
        yield cell_of(request.param)


def network(cell: Cell, layers: int = 2) -> RecurrentClassifier:
    torch.manual_seed(0)
    model = recurrent_classifier(D, H, CLASSES, cell, layers)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


def inputs(cell: Cell, dtype=torch.float64):
    """Input products, U, the bias inside the step, masks, states; each requires a gradient."""
    torch.manual_seed(1)
    rows, products = len(cell.gates) * H, len(cell.recurrent) * H
    _, inside = cell.biases(torch.randn(rows, dtype=dtype), torch.randn(products, dtype=dtype))
    masks = [torch.rand(H, dtype=dtype) for _ in cell.gates]
    states = [torch.randn(B, H, dtype=dtype) for _ in cell.states]
    tensors = [torch.randn(T, B, rows, dtype=dtype), torch.randn(products, H, dtype=dtype), inside, *masks, *states]
    return [t if t is None else t.requires_grad_() for t in tensors]


def test_training_inference_and_the_equations_agree(cell):
    def run(gates, weight_hh, inside, *others):
        masks, states = others[: len(cell.gates)], others[len(cell.gates) :]
        hidden, last = recurrence(cell, gates, weight_hh, inside, masks, states)
        return hidden, *last

    tensors = inputs(cell)
    trained = run(*tensors)
    with torch.no_grad():
        inferred = run(*tensors)
    with plain():
        expected = run(*tensors)
    assert len(expected) == 1 + len(cell.states)
    for ours, lean, equations in zip(trained, inferred, expected, strict=True):
        torch.testing.assert_close(ours, equations)
        torch.testing.assert_close(lean, equations)
    assert torch.autograd.gradcheck(run, tensors)


def test_a_state_can_be_carried_from_call_to_call(cell):
    layer, x = network(cell).layers[0], torch.randn(T, B, D)
    with torch.no_grad():
        whole, end = layer.run(x)
        first, states = layer.run(x[:2])
        second, last = layer.run(x[2:], states=states)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    torch.testing.assert_close(last, end)


def test_counts_and_macs_are_the_formulas(cell):
    model = network(cell)
    counted, formula = count(model), closed_form(D, [H, H], cell.name)
    assert formula == {key: getattr(counted, key) for key in formula}
    assert counted.model_total == sum(p.numel() for p in model.parameters())
    assert closed_form_macs(model, T) == macs(model, D, T)


@pytest.mark.parametrize("letters", ["every", "state"])
def test_compaction_is_exact_and_removes_exactly_the_units_that_contribute_nothing(cell, letters):
    model, x = network(cell, 1), torch.randn(B, T, D)
    for gate in cell.gates if letters == "every" else cell.state_gate:
        mask = BottleneckMask(H)
        with torch.no_grad():
            mask.mu.uniform_(0.5, 0.9)
            mask.log_var[1] = 9.0  # unit 1 goes
        model.layers[0].gate_masks[gate] = mask
    with torch.no_grad():
        hidden = model.eval().stacked(x.transpose(0, 1))
        compact = compact_masked(model, keep_factors=letters == "every").eval()
        assert (compact(x) - model(x)).abs().max() < 1e-6
    assert hidden[..., 1].abs().max() == 0 and compact.hidden == [H - 1]
    assert sorted(compact.layers[0].factors) == (cell.unfolded if letters == "every" else [])
    again = RecurrentClassifier.from_spec(compact.spec())
    again.load_state_dict(compact.state_dict())
    assert torch.equal(again.eval()(x), compact(x))


def test_under_a_loud_mask_on_every_gate_that_vib_lstm_masks_the_state_stays_bounded(cell):
    """On the update gate of a GRU it made h grow to 39,000 in eight steps."""
    method = load(find_methods()["vib_lstm"])
    model = method(method.Settings(cell=cell.name, hidden=64)).build(TaskInfo("t", "sequence", 3, 8, 2, False, 50))
    with torch.no_grad():
        for layer in model.layers:
            for mask in layer.gate_masks.values():
                mask.log_var.fill_(3.0)
        assert model.train().stacked(torch.randn(8, B, 3)).square().mean().sqrt() < 20


def test_a_gate_removes_a_unit_iff_its_mask_at_0_silences_it(cell):
    for gate in cell.gates:
        layer = network(cell, 1).layers[0]
        layer.gate_masks[gate] = BottleneckMask(H).eval()
        with torch.no_grad():
            layer.gate_masks[gate].log_var[2] = 9.0
            silent = layer(torch.randn(T, B, D))[..., 2].abs().max() == 0
        assert removable(layer).tolist() == [False, False, silent, False] and silent == (gate in cell.removing)


def test_the_group_lasso_reaches_every_weight(cell):
    model = network(cell)
    unit_group_lasso(model).backward()
    for layer in model.layers:
        for weight in (layer.input_map.weight, layer.hidden_map.weight):
            assert weight.grad is not None and (weight.grad != 0).all()


@pytest.mark.parametrize("written_out", [False, True])
def test_exported_it_computes_the_same(cell, written_out):
    model, x = network(cell), torch.randn(B, T, D)
    made = standard(model)
    running = session(onnx_model(made, False, {}, written_out).SerializeToString())
    with torch.no_grad():
        expected = model(x)
        assert np.abs(running.run(["logits"], {"x": x.numpy()})[0] - expected.numpy()).max() < 1e-5
        assert (StandardModule(made)(x) - expected).abs().max() < 1e-5
    quantised, notes = int8_model(made, False, {})
    gap = np.abs(session(quantised).run(["logits"], {"x": x.numpy()})[0] - expected.numpy()).max()
    assert gap < 0.1 * expected.abs().max() and bool(notes) == (not (cell.onnx and cell.onnx.int8))


def test_it_is_timed_in_the_runtimes_that_have_it(cell):
    variants, notes = in_every_runtime(network(cell), D, T)
    assert ("PyTorch" in variants) == (cell.torch_module is not None) == (not notes)
    assert {"squeezebench", "ONNX Runtime"} <= set(variants)


def test_a_layer_checks_its_maps(cell):
    with pytest.raises(ValueError, match=f"{cell.name}: the maps must give"):
        RecurrentLayer(DenseMap(D, H * len(cell.gates) + 1), DenseMap(H, H * len(cell.recurrent)), cell)


def test_a_run_with_it_is_recorded_with_its_size_and_speed(cell, tmp_path):
    arguments = ["run", "--task", "digits", "--method", "small_dense", "--train", "epochs=1", "--out", str(tmp_path)]
    for setting in (f"cell={cell.name}", "hidden=16", "ratio=2"):
        arguments += ["--set", setting]
    assert main(arguments) == 0
    record = read_record(tmp_path / "record.json")
    assert record.status == "ok" and record.settings["cell"] == cell.name
    assert record.cost.macs == record.cost.macs_closed_form and record.baseline.name == f"{cell.name} 1 x 16"


# ---------------------------------------------------------------------- the seam


def test_no_other_code_names_a_cell():
    """Defaults of settings aside: `lstm` is also a column of printed tables and of the report, which read no cell."""
    default, others = PACKAGE / "schema/models.py", {PACKAGE / "report", PACKAGE / "schema/reference.py"}
    for path in [*PACKAGE.rglob("*.py"), *METHODS.glob("*.py")]:
        if path.parent == PACKAGE / "nn/rnn/cells" or path == default or others & {path, *path.parents}:
            continue
        words = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
        assert not {*known_cells()} & {word for word in words if isinstance(word, str)}, path


def test_an_unknown_cell_is_one_line(tmp_path, complaint):
    with pytest.raises(InputError, match=r"unknown recurrent cell 'grue'; did you mean gru"):
        cell_of("grue")
    for arguments in (
        ["run", "--task", "digits", "--out", str(tmp_path / "out")],
        ["count", "--input", "4", "--hidden", "4"],
    ):
        said = complaint(*arguments, "--method", "dense", "--set", "cell=lsmt")
        assert "cell: unknown recurrent cell 'lsmt'; did you mean lstm" in said
    file = tmp_path / "e.yaml"
    file.write_text("tasks: [digits]\nmethods: {dense: {}}\nmodel: {cell: peephole}\n")
    said = complaint("plan", file)
    assert f"model: cell: unknown recurrent cell 'peephole'; known: {', '.join(known_cells())}" in said


def test_min_gru_is_its_two_equations():
    """Feng et al. 2024: z = σ(W_z x + b_z), h~ = W_h x + b_h, h_t = (1 - z) h_{t-1} + z h~; 2 h (d + 1) parameters."""
    layer, x = network(cell_of("min_gru"), 1).layers[0], torch.randn(T, B, D)
    (w_z, w_h), (b_z, b_h) = layer.input_map.weight.split(H), layer.bias_ih.split(H)
    h, found = torch.zeros(B, H), layer(x)
    for step, ours in zip(x, found, strict=True):
        z = torch.sigmoid(step @ w_z.T + b_z)
        h = (1 - z) * h + z * (step @ w_h.T + b_h)
        torch.testing.assert_close(ours, h)
    assert closed_form(D, [H], "min_gru")["lstm_total"] == 2 * H * (D + 1)


NEW_HEAD = '''
from squeezebench.nn.rnn.heads.last import LastState


class Head(LastState):
    """The mean of all states."""

    def read(self, hidden, length=None):
        return hidden.mean(0)

    def spec(self):
        return {"head": "mean"}
'''


def test_a_new_head_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "mean.py").write_text(NEW_HEAD)
    monkeypatch.setattr(heads, "__path__", [*heads.__path__, str(tmp_path)])
    torch.manual_seed(0)
    model = recurrent_classifier(D, H, CLASSES, front=heads.head_from_spec({"head": "mean"}))
    x = torch.randn(B, T, D)
    torch.testing.assert_close(model(x), model.head(model.stacked(x.transpose(0, 1)).mean(0)))
    compact = compact_masked(model.eval())
    again = RecurrentClassifier.from_spec(compact.spec())
    again.load_state_dict(compact.state_dict())
    torch.testing.assert_close(again.eval()(x), model(x))
    with pytest.raises(ValueError, match="unknown head 'median'"):
        heads.head_from_spec({"head": "median"})
