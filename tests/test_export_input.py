"""What an exported file reads and says of itself: raw data, as somebody without squeezebench has them."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from altered_records import alter
from safetensors import safe_open
from test_export import GATES, in_onnxruntime, made, masked

from squeezebench.cli.main import main
from squeezebench.data.normalise import Affine
from squeezebench.data.task import load_task, task_spec
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.schema.record import NORMALISATION_NAME, read_record
from squeezebench.tools.export import export, read_run

FORMATS = ("onnx", "torch", "safetensors")
ALONE = "import sys; sys.modules['squeezebench'] = None  # whoever imports it fails\n"
PRINTS = {  # what is added to the printed lines: the classes of x, by name
    "onnx": "",
    "torch": "import numpy; x = torch.from_numpy(numpy.load('x.npy')).float()\n"
    "print([file['classes'][number] for number in model(x).argmax(1)])",
    "safetensors": "print([json.loads(about['classes'])[number] for number in logits.argmax(1)])",
}
BEFORE = {"safetensors": "import numpy, torch; x = torch.from_numpy(numpy.load('x.npy')).float()\n"}


@pytest.fixture(scope="module", params=["digits", "japanese_vowels"])
def run(request, tmp_path_factory):
    """(folder of a run that reads some of its inputs, its task); the sequences of japanese_vowels differ in length."""
    folder = tmp_path_factory.mktemp(request.param)
    arguments = ["run", "--task", request.param, "--method", "vib_lstm", "--train", "epochs=4", "--out", str(folder)]
    assert main([*arguments, "--set", "hidden=16", "--set", "keep_inputs=6"]) == 0
    return folder, load_task(task_spec(request.param), 0)


def answers(folder, task, kind, **options) -> list[str]:
    """The class of each test sequence by the lines that `export` prints, in a process without squeezebench."""
    done = export(folder, kind, folder / f"exported.{kind}", **options)
    raw = task.raw("test", np.arange(task.size("test")))
    np.save(folder / "x.npy", raw.x.astype(np.float64))
    np.save(folder / "length.npy", np.zeros(0) if raw.length is None else raw.length)
    lines = ALONE + BEFORE.get(kind, "") + "\n".join(done.lines) + "\n" + PRINTS[kind]
    call = subprocess.run([sys.executable, "-I", "-c", lines], cwd=folder, capture_output=True, text=True, check=False)
    assert call.returncode == 0, call.stderr
    return json.loads(call.stdout.replace("'", '"'))


@pytest.mark.parametrize("kind", FORMATS)
def test_the_printed_lines_answer_on_raw_data_as_the_scored_module_did(run, kind):
    folder, task = run
    if kind == "onnx" or not task.has_lengths:  # else a process for each length, with the same lines
        right = np.array(answers(folder, task, kind)) == np.array(task.classes)[task.labels("test")]
        assert right.mean() == pytest.approx(read_record(folder / "record.json").accuracy.test, abs=1 / len(right))


def test_a_file_in_int8_answers_on_raw_data_too(run):
    folder, task = run
    right = np.array(answers(folder, task, "onnx", precision="int8")) == np.array(task.classes)[task.labels("test")]
    assert right.mean() == export(folder, "onnx", folder / "m.onnx", precision="int8").test


def test_lines_are_few(run):
    folder, _ = run
    number = {kind: len(export(folder, kind, folder / "lines").lines) for kind in FORMATS}
    assert number["onnx"] == 5 and number["torch"] <= 11 and number["safetensors"] <= 7


# ---------------------------------------------------------------------- every form of the module

AFFINE = Affine(np.linspace(0.01, 30, 6, dtype=np.float32), np.linspace(-2, 50, 6, dtype=np.float32))
FORMS = ({}, {"front": True}, {"front": False, "head": "two_layers"})


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("options", FORMS, ids=str)
@pytest.mark.parametrize("layers", [1, 2])
def test_the_torch_module_of_the_lines_is_the_scored_one(tmp_path, cell, options, layers):
    if "front" in options:
        options = options | {"front": TemporalSegments(6, 3, pool=options["front"])}
    model = masked(cell, **options) if layers == 1 else recurrent_classifier(6, 5, 3, cell, 2, **options).eval()
    folder = made(tmp_path, model, affine=AFFINE)
    scope = {}
    exec("\n".join(export(folder, "torch").lines), scope)
    for steps in (1, 2, 9):
        raw = torch.randn(5, steps, 6, generator=torch.Generator().manual_seed(1))
        x = raw * torch.from_numpy(AFFINE.factor) - torch.from_numpy(AFFINE.shift)
        with torch.no_grad():
            assert torch.allclose(scope["model"](raw), model(x), rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------- what the file says


def metadata(path, kind):
    if kind == "onnx":
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    if kind == "torch":
        return torch.load(path, weights_only=True)["about"]
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("kind", FORMATS)
def test_statistics_classes_and_the_input_are_in_the_metadata(run, kind):
    folder, task = run
    done = export(folder, kind, folder / "m")
    about = metadata(done.path, kind)
    assert json.loads(about["classes"]) == list(task.classes) and about["input"] == done.input
    told = json.loads(about["normalisation"])
    assert told["rule"] == "standard" and told["in_model"] is True
    for name in ("factor", "shift"):
        assert np.array_equal(np.array(told[name], np.float32), getattr(task.affine, name))
    words = f"x (batch, time, {task.inputs}) float32: raw numbers of {task.name}, which the file normalises (standard)"
    assert done.input.startswith(words)
    assert ("length (batch,)" in done.input) == (task.has_lengths and kind == "onnx")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bare_network_reads_normalised_data_and_says_so(run, kind, capsys):
    folder, task = run
    path = folder / "bare"
    call = ["export", str(folder), "--format", kind, "--out", str(path), "--without-normalisation"]
    assert main([*call, *(["--no-lengths"] if kind == "onnx" else [])]) == 0
    says = f"input: x (batch, time, {task.inputs}) float32: numbers of {task.name} normalised by its training part"
    assert says in capsys.readouterr().out
    told = json.loads(metadata(path, kind)["normalisation"])
    assert told["in_model"] is False and np.array_equal(np.array(told["shift"], np.float32), task.affine.shift)
    if kind == "onnx":
        x = torch.randn(3, 5, task.inputs)
        with torch.no_grad():
            assert (in_onnxruntime(path, x) - read_run(folder)[1](x)).abs().max() < 1e-5


# ---------------------------------------------------------------------- where the statistics come from


@pytest.fixture
def own(tmp_path):
    """A run on data of a file: features far from 0, stored as integers with a scale, and steps that are chosen."""
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    x = rng.integers(1000, 1100, (40, 6, 3)) + 400 * y[:, None, None]
    np.savez(tmp_path / "own.npz", x=x.astype(np.int16), y=y, scale=np.array([0.5, 2, 3]))
    task = ["--task", f"file:{tmp_path / 'own.npz'}", "--method", "dense", "--set", "hidden=4"]
    assert main(["run", *task, "--train", "epochs=2", "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


def test_statistics_are_kept_beside_the_record_and_need_no_data(own):
    (own / "../own.npz").resolve().unlink()
    told = json.loads(metadata(export(own, "onnx").path, "onnx")["normalisation"])
    assert np.allclose(np.array(told["shift"]) / np.array(told["factor"]), 1250, rtol=0.1)  # of the stored integers


@pytest.mark.parametrize("damage", ["gone", "altered", "half"])
def test_statistics_that_are_not_those_of_the_record_are_computed_again(own, damage):
    whole = export(own, "torch").path.read_bytes()
    path = own / NORMALISATION_NAME
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-4] + b"abcd" if damage == "altered" else content[: len(content) // 2])
    assert export(own, "torch").path.read_bytes() == whole


def test_without_statistics_nothing_is_written_but_the_bare_network(own, complaint):
    alter(own, normalisation=None)  # as versions before have left it
    assert export(own, "torch").gap < 1e-5
    with np.load(own / "../own.npz") as arrays:
        changed = dict(arrays) | {"x": arrays["x"] + 1}
    for other, says in ((changed, "the data, or their split, are not those of the record"), (None, "own.npz")):
        (own / "../own.npz").resolve().unlink()
        if other:
            np.savez((own / "../own.npz").resolve(), **other)
        (own / "model.pt").unlink(missing_ok=True)
        error = complaint("export", own, "--format", "torch")
        assert says in error and "--without-normalisation writes the bare network" in error
        assert not (own / "model.pt").exists()
        done = export(own, "torch", normalise=False)
        assert "normalised by its training part (standard)" in done.input
        assert json.loads(metadata(done.path, "torch")["normalisation"]) == {"rule": "standard", "in_model": False}


def test_what_float32_cannot_hold_of_raw_data_is_said(tmp_path):
    affine = Affine(np.full(6, 1e-2, np.float32), np.full(6, 2e4, np.float32))
    assert any(
        "varies by 1/20,000 of its mean" in note
        for note in export(made(tmp_path, masked(), affine=affine), "onnx").notes
    )
