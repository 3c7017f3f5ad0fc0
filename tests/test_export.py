"""Exported networks compute what the scored module does, in ONNX Runtime and under PyTorch's own names."""

from __future__ import annotations

import itertools
import json

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data.normalise import Affine
from squeezebench.data.task import load_task, task_spec
from squeezebench.engine.measurement.files import save_model
from squeezebench.engine.measurement.normalisation import write_normalisation
from squeezebench.method.discovery import find_methods, load
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.pruning.shrink import compact_masked
from squeezebench.nn.rnn.cells import cell_of, known_cells
from squeezebench.nn.rnn.cells.base import OnnxOperator
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.schema.record import Kept, Record, Shape, read_record, write_record
from squeezebench.tools.export import export, read_run
from squeezebench.tools.export.quantised import int8_model
from squeezebench.tools.export.runtime import one_by_one, session
from squeezebench.tools.export.standard import standard

SETTINGS = {  # what makes a short run on digits compact
    "vib_lstm": ["--set", "keep_inputs=5", "--set", "keep_hidden=7"],
    "vectors": ["--set", "keep_hidden=7", "--set", "finalise=vectors"],
    "gru": ["--set", "keep_hidden=7", "--set", "cell=gru"],
    "min_gru": ["--set", "cell=min_gru"],
}
IDENTITY = Affine(np.ones(6, np.float32), np.zeros(6, np.float32))
GATES = {name: cell_of(name).gates for name in known_cells()}
METHODS = {n: n for n, file in find_methods([]).items() if n != "pooled_linear" and "sequence" in load(file).kinds} | {
    "vectors": "vib_lstm",
    "gru": "vib_lstm",
    "min_gru": "small_dense",
}


def made(folder, model, lengths=False, affine=IDENTITY):
    """A run's folder that holds `model`, whose data are normalised by `affine`."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = Shape(inputs=6, steps=9, classes=3, has_lengths=lengths)
    record = Record(
        status="ok", task="t", method="m", settings={}, seed=0, shape=shape, kept=Kept(of_inputs=6), class_names=["a"],
        normalisation=write_normalisation(folder, "standard", affine),
    )  # fmt: skip
    write_record(folder, record)
    save_model(folder / "model.safetensors", model.eval())
    return folder


def masked(cell="lstm", layers=1, keep_factors=False, **options):
    """A compact model with 5 of 6 inputs and masks that are not all one."""
    torch.manual_seed(0)
    model = recurrent_classifier(6, 5, 3, cell, layers, **options)
    model.input_mask = BottleneckMask(6)
    for layer in model.layers:
        layer.gate_masks.update({gate: BottleneckMask(5) for gate in GATES[cell]})
    with torch.no_grad():
        for mask in model.masks():
            mask.mu.uniform_(0.4, 0.95)  # above 1 a GRU's state would grow without bound
        model.input_mask.log_var[2] = 9.0
        model.layers[0].gate_masks[model.cell.state_gate].log_var[4] = 9.0
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d)):
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias)
    return compact_masked(model.eval(), keep_factors).eval()


def in_onnxruntime(path, x, length=None):
    """Logits of an exported file, by a session of its own."""
    given = {"x": x.numpy()} | ({} if length is None else {"length": length.numpy()})
    return torch.from_numpy(session(path.read_bytes()).run(None, given)[0])


# ---------------------------------------------------------------------- every method, on digits


OTHERS = {"small_dense", "random_units", "low_rank", "tr_lstm", "bt_lstm", "ht_lstm", "fdht_lstm"}


# The others leave the same module as one of these: a dense network, or one whose factorized layer is multiplied out.
@pytest.fixture(
    scope="module", params=[pytest.param(n, marks=pytest.mark.long if n in OTHERS else ()) for n in METHODS]
)
def run(request, tmp_path_factory):
    """A short real run of each method on digits."""
    folder = tmp_path_factory.mktemp(request.param)
    arguments = ["run", "--task", "digits", "--method", METHODS[request.param], "--train", "epochs=4"]
    arguments += ["--set", "hidden=16", *SETTINGS.get(request.param, []), "--out", str(folder)]
    if METHODS[request.param] == "small_dense":
        arguments += ["--set", "ratio=3"]
    assert main(arguments) == 0
    return folder


def test_every_method_runs_in_onnx_runtime_as_in_torch(run):
    record, model = read_run(run)
    done = export(run, "onnx")
    task = load_task(task_spec("digits"), 0)
    x, raw = (torch.from_numpy(read("test", np.arange(200)).x) for read in (task.batch, task.raw))
    with torch.no_grad():
        expected = model(x)
    found = in_onnxruntime(done.path, raw)
    assert (found - expected).abs().max() < 1e-5 and done.gap < 1e-5
    file = onnx.load(done.path)
    kinds = [node.op_type for node in file.graph.node]
    operator = None if record.counts.mask_vectors else model.cell.onnx
    cell = operator.name if operator else "Scan"
    assert kinds.count(cell) == 1 and not {"LSTM", "GRU", "Scan", "Loop"} - {cell} & set(kinds)
    assert ("Gather" in kinds) == (model.input_index is not None)
    about = {p.key: p.value for p in file.metadata_props}
    assert about["method"] == record.method and json.loads(about["classes"]) == record.class_names


def test_every_standard_method_loads_into_torch_by_name(run):
    record, model = read_run(run)
    if record.counts.mask_vectors:
        with pytest.raises(InputError, match="mask vectors on gates f and i"):
            export(run, "torch")
        return
    content = torch.load(export(run, "torch").path, weights_only=True)
    x, state = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0)), content["state"]
    read = x if "input_index" not in state else x[..., state["input_index"]]
    tensors = load_file(export(run, "safetensors").path)
    assert torch.equal(tensors["head.weight"], state["head.weight"])
    if content["cell"] == "min_gru":  # torch.nn has none; its two equations are read off the file
        w, b = (tensors[name] for name in ("weight_ih_l0", "bias_ih_l0"))
        h = torch.zeros(())
        for step in x.unbind(1):
            z, new = nn.functional.linear(step, w, b).chunk(2, 1)
            h = (1 - z.sigmoid()) * h + z.sigmoid() * new
        with torch.no_grad():
            logits = nn.functional.linear(h, state["head.weight"], state["head.bias"])
            assert (logits - model(x)).abs().max() < 1e-5
        return
    module = {"lstm": nn.LSTM, "gru": nn.GRU}[content["cell"]](**content["arguments"])
    module.load_state_dict({k: v for k, v in tensors.items() if "_l" in k})
    with torch.no_grad():
        logits = nn.functional.linear(module(read)[0][:, -1], state["head.weight"], state["head.bias"])
        assert (logits - model(x)).abs().max() < 1e-5
    assert all(torch.equal(state[f"rnn.{k}"], v) for k, v in module.state_dict().items())
    with safe_open(export(run, "safetensors").path, "pt") as file:
        assert json.loads(file.metadata()["arguments"]) == content["arguments"]


# ---------------------------------------------------------------------- int8


def graphs(graph):
    """A graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g)


def numbers(path):
    """(types of operators, float32 constants that are matrices, int8 constants), subgraphs included."""
    every = list(graphs(onnx.load(path).graph))
    constants = [numpy_helper.to_array(one) for graph in every for one in graph.initializer]
    matrices = [c for c in constants if c.dtype == np.float32 and sum(n > 1 for n in c.shape) > 1]
    return {node.op_type for graph in every for node in graph.node}, matrices, [c for c in constants if c.dtype == "i1"]


def test_every_method_in_int8_is_scored_as_the_file_that_was_written(run):
    record, _ = read_run(run)
    done = export(run, "onnx", precision="int8")
    assert done.path.name == "model.int8.onnx" and done.bytes == done.path.stat().st_size
    task = load_task(task_spec("digits"), 0)
    x, labels = task.raw("test", np.arange(task.size("test"))).x, task.labels("test")
    running, plain = session(done.path.read_bytes()), session(export(run, "onnx").path.read_bytes())
    found = np.concatenate([running.run(["logits"], {"x": one[None]})[0] for one in x])
    assert done.test == np.mean(found.argmax(-1) == labels) and done.not_scored is None
    assert done.float32_test == record.accuracy.test and abs(done.test - done.float32_test) < 0.05
    assert done.gap == pytest.approx(np.abs(found - plain.run(["logits"], {"x": x})[0]).max(), abs=1e-4)
    assert done.gap > 1e-5  # it is another model

    kinds, matrices, integers = numbers(done.path)
    assert not matrices and not kinds & {"LSTM", "GRU", "MatMul", "Gemm"} and "MatMulInteger" in kinds
    assert "DynamicQuantizeLSTM" in kinds or "Scan" in kinds
    assert all(np.abs(one).max() <= 64 for one in integers)  # 7 of 8 bits: no sum overflows on any CPU
    cell = record.settings["cell"]
    assert any(f"no {cell_of(cell).title} in int8" in note for note in done.notes) == (cell != "lstm")


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("keep_factors", [False, True], ids=["standard", "vectors"])
@pytest.mark.parametrize("options", [{}, {"front": True, "head": "two_layers"}, {"front": False}], ids=str)
def test_int8_of_two_layers_with_lengths_is_near_and_stored_as_integers(cell, keep_factors, options):
    if "front" in options:
        options = options | {"front": TemporalSegments(6, 3, pool=options["front"])}
    model = masked(cell, 2, keep_factors, **options)
    content, _ = int8_model(standard(model, 6), True, {})
    x, length = torch.randn(4, 12, 6, generator=torch.Generator().manual_seed(1)), np.array([1, 5, 12, 7])
    with torch.no_grad():
        expected = model(x, torch.from_numpy(length)).numpy()
    found = one_by_one(session(content), x.numpy(), length)
    assert 0 < np.abs(found - expected).max() < 0.05 * max(1, np.abs(expected).max())


def test_where_the_data_are_not_there_int8_is_not_scored_and_says_why(tmp_path, capsys):
    done = export(made(tmp_path / "old", masked()), "onnx", precision="int8")
    assert done.test is None and "does not say which data" in done.not_scored and 0 < done.gap < 0.1
    assert main(["run", "--task", "digits", "--method", "dense", "--train", "epochs=1", "--out", str(tmp_path)]) == 0
    record = read_record(tmp_path / "record.json")
    gone = record.task_spec | {"source": "file", "options": {"path": str(tmp_path / "gone.npz")}}
    other = record.provenance.model_copy(update={"split_digest": "another"})
    for changes, says in [({"task_spec": gone}, "gone.npz"), ({"provenance": other}, "are not those of the record")]:
        write_record(tmp_path, record.model_copy(update=changes))
        capsys.readouterr()
        assert main(["export", str(tmp_path), "--precision", "int8"]) == 0
        assert f"{says}" in capsys.readouterr().out.split("not scored: ")[1]
    with pytest.raises(InputError, match="--precision int8 is for --format onnx and c, not torch"):
        export(tmp_path, "torch", precision="int8")


# ---------------------------------------------------------------------- parts


FORMS = ({}, {"front": True}, {"front": False, "head": "two_layers"})


def shapes() -> list:
    """(layers, lengths, options): one layer as it is, two with the rest; the full product in the long form."""
    every = itertools.product((1, 2), (False, True), FORMS)
    return [
        pytest.param(
            *one, marks=() if one in ((1, False, {}), *((2, True, form) for form in FORMS)) else pytest.mark.long
        )
        for one in every
    ]


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("keep_factors", [False, True], ids=["standard", "vectors"])
@pytest.mark.parametrize(("layers", "lengths", "options"), shapes())
def test_batch_time_and_lengths_are_free(tmp_path, cell, layers, keep_factors, lengths, options):
    if "front" in options:
        options = options | {"front": TemporalSegments(6, 3, pool=options["front"])}
    model = masked(cell, layers, keep_factors, **options)
    done = export(made(tmp_path, model, lengths), "onnx")
    running = session(done.path.read_bytes())
    generator = torch.Generator().manual_seed(1)
    for batch, steps in [(1, 1), (4, 13), (2, 30)]:
        x = torch.randn(batch, steps, 6, generator=generator)
        length = torch.randint(1, steps + 1, (batch,), generator=generator) if lengths else None
        given = {"x": x.numpy()} | ({"length": length.numpy()} if lengths else {})
        with torch.no_grad():
            gap = np.abs(running.run(["logits"], given)[0] - model(x, length).numpy()).max()
        assert gap < 1e-5, (batch, steps)


def test_what_follows_the_last_valid_step_has_no_influence(tmp_path):
    done = export(made(tmp_path, masked(), lengths=True), "onnx")
    x, length = torch.randn(3, 8, 6), torch.tensor([1, 5, 8])
    noisy = x.clone()
    noisy[torch.arange(8) >= length[:, None]] = 50.0
    assert torch.equal(in_onnxruntime(done.path, x, length), in_onnxruntime(done.path, noisy, length))


def test_lengths_follow_the_record_unless_asked_for(tmp_path):
    folder = made(tmp_path, masked(), lengths=True)

    def inputs(**options):
        return [i.name for i in onnx.load(export(folder, "onnx", **options).path).graph.input]

    assert inputs() == ["x", "length"] and inputs(lengths=False) == ["x"]


def test_a_map_of_cores_is_multiplied_out_and_said_so(tmp_path):
    arguments = ["run", "--task", "digits", "--method", "tt_lstm", "--set", "hidden=16", "--set", "compact_to=cores"]
    assert main([*arguments, "--train", "epochs=2", "--out", str(tmp_path)]) == 0
    done = export(tmp_path, "safetensors", tmp_path / "out.safetensors")
    stored = read_record(tmp_path / "record.json").counts.input_to_hidden
    assert f"TensorTrainMap with {stored:,} parameters, is multiplied out to a matrix of 512" in done.notes[0]
    assert load_file(done.path)["weight_ih_l0"].shape == (64, 8)


# ---------------------------------------------------------------------- what cannot be exported


def test_a_difference_is_found(tmp_path, monkeypatch):
    """The gate order of PyTorch, left as it is, would be wrong in ONNX."""
    folder = made(tmp_path, masked())
    monkeypatch.setattr(type(cell_of("lstm")), "onnx", OnnxOperator("LSTM", (0, 1, 2, 3)))
    with pytest.raises(InputError, match="differs from the module by"):
        export(folder, "onnx")
    assert not (folder / "model.onnx").exists()


def test_layers_of_different_widths_are_for_onnx_only(tmp_path):
    folder = made(tmp_path, masked(layers=2))
    with pytest.raises(InputError, match="layers of 4, 5 units are no single torch"):
        export(folder, "torch")
    assert export(folder, "onnx").gap < 1e-5


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert (
        main(["run", "--task", "digits", "--method", "pooled_linear", "--train", "epochs=1", "--out", str(tmp_path)])
        == 0
    )
    folder = made(tmp_path / "good", masked())
    (tmp_path / "good" / "empty").mkdir()
    cases = {
        str(tmp_path): "holds a MeanPoolLinear, not a recurrent classifier of squeezebench; export writes no other",
        str(folder / "model.safetensors"): "is no record; give the folder of a run, or its record.json",
        str(tmp_path / "good" / "empty"): "has no record.json; give the folder of one run",
        str(tmp_path / "none"): "cannot be read",
        f"{folder} --out {folder}/model.safetensors": "is the run's own file",
    }
    broken = made(tmp_path / "broken", masked())
    (broken / "model.safetensors").write_bytes(b"\x80\x04junk")
    cases[str(broken)] = "not a model file of squeezebench"
    gone = made(tmp_path / "gone", masked())
    (gone / "model.safetensors").unlink()
    cases[str(gone)] = "make the run again"
    failed = tmp_path / "failed"
    write_record(failed, Record(status="failed", reason="diverged", task="t", method="m", settings={}, seed=0))
    cases[str(failed)] = "the run is failed (diverged)"
    capsys.readouterr()
    for arguments, says in cases.items():
        assert main(["export", *arguments.split(" ")]) == 2, arguments
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1, arguments


def test_standard_needs_no_number_that_the_file_does_not_hold():
    model = masked()
    assert standard(model).inputs == 6 and standard(model, 9).inputs == 9
