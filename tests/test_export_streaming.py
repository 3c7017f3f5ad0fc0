"""Stateful ONNX models: a sequence that is fed in chunks gives what the whole sequence gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from test_export import GATES, made, masked
from test_export_input import AFFINE, answers, run  # noqa: F401  (`run` is a fixture)

from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.tools.export import export
from squeezebench.tools.export.formats import in_chunks
from squeezebench.tools.export.runtime import session


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("keep_factors", [False, True], ids=["standard", "vectors"])
def test_chunks_of_any_size_give_what_the_whole_sequence_gives(tmp_path, cell, keep_factors):
    """At the end of each chunk the logits are those of all steps so far."""
    folder = made(tmp_path, masked(cell, 2, keep_factors, head="two_layers"), affine=AFFINE)
    done = export(folder, "onnx", stateful=True)
    assert done.path.name == "model.stateful.onnx" and done.gap < 1e-5
    whole, stateful = (session(path.read_bytes()) for path in (export(folder, "onnx").path, done.path))
    x = torch.randn(4, 13, 6, generator=torch.Generator().manual_seed(1)).numpy()
    for sizes in ((), (1,) * 12, (5, 1, 4)):
        gap = np.abs(in_chunks(stateful, sizes)(x, None) - whole.run(["logits"], {"x": x})[0]).max()
        assert gap < 1e-5, sizes
    kinds = {node.op_type for node in onnx.load(done.path).graph.node}
    assert "Scan" in kinds if keep_factors or cell == "min_gru" else "Scan" not in kinds


def test_states_are_inputs_and_outputs_by_name(tmp_path):
    folder = made(tmp_path, masked("lstm", 2))
    graph = onnx.load(export(folder, "onnx", stateful=True).path).graph
    widths = {i.name: i.type.tensor_type.shape.dim[1].dim_value for i in graph.input[1:]}
    assert widths == {"h_0": 4, "c_0": 4, "h_1": 5, "c_1": 5}
    assert [output.name for output in graph.output] == ["logits", *(f"{name}_next" for name in widths)]


def test_a_stateful_file_in_int8_is_near(tmp_path):
    done = export(made(tmp_path, masked("lstm")), "onnx", precision="int8", stateful=True)
    x = np.random.default_rng(0).normal(size=(1, 9, 6)).astype(np.float32)
    plain = session(export(tmp_path, "onnx").path.read_bytes()).run(["logits"], {"x": x})[0]
    gap = np.abs(in_chunks(session(done.path.read_bytes()))(x, None) - plain).max()
    assert 0 < gap < 0.05 * max(1, np.abs(plain).max())


def test_the_printed_lines_feed_it_step_by_step(run):  # noqa: F811
    folder, task = run
    if not task.has_lengths:
        assert answers(folder, task, "onnx", stateful=True) == answers(folder, task, "onnx")


def test_what_cannot_be_streamed_is_one_line(tmp_path, complaint):
    folder = made(tmp_path / "a", masked())
    segments = made(tmp_path / "b", recurrent_classifier(6, 5, 3, front=TemporalSegments(6, 3)))
    cases = {
        f"{segments} --stateful": "its head (TemporalSegments) divides the whole sequence",
        f"{folder} --stateful --format torch": "--stateful is for --format onnx, not torch",
        f"{folder} --stateful --lengths": "--stateful and --lengths exclude each other",
    }
    for arguments, says in cases.items():
        assert says in complaint("export", *arguments.split(" "))
    assert not list(tmp_path.glob("*/*.onnx"))
