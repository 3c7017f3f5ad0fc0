"""The exported C file, compiled without a warning for this machine and for 64-bit Arm, computes what PyTorch does."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_export import GATES, made, masked
from test_export_input import AFFINE, run  # noqa: F401  (a fixture)

from squeezebench.cli.main import main
from squeezebench.engine.measurement.files import quantised
from squeezebench.nn.rnn.classifier import recurrent_classifier
from squeezebench.nn.rnn.heads.segments import TemporalSegments
from squeezebench.tools.export import export, read_run
from squeezebench.tools.export.c.arrays import prefix_of, string
from squeezebench.tools.export.c.compiled import compiled
from squeezebench.tools.export.c.source import c_source
from squeezebench.tools.export.standard import standard

STRICT = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2")
ABOUT = {"task": "t */ ??/", "classes": '["a", "b\\"\\u00fc", "@?"]', "input": "x (time, 6) float32"}
MACHINES = {
    "this machine": (["gcc"], STRICT, []),
    "64-bit Arm": (["aarch64-linux-gnu-gcc"], (*STRICT, "-static"), ["qemu-aarch64"]),
}
FORMS = {"last": {}, "segments": {"front": True}, "every step": {"front": False, "head": "two_layers"}}


def machine_of(name: str):
    """(compiler, flags, emulator); skips the test if one is missing."""
    cc, flags, emulator = MACHINES[name]
    for tool in (*cc, *emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)")
    return cc, flags, emulator


def answer_of(form, folder: Path, machine, int8=False):
    """What the C of `form` answers, compiled for `machine`."""
    out, (cc, flags, emulator) = Path("some net-1.c"), machine
    return compiled(form, out, c_source(form, ABOUT, out, int8), folder, cc, flags, emulator)


def sequences(steps: int = 9):
    """(x, lengths) of 7 sequences, one with fewer steps than there are segments."""
    x = torch.randn(7, steps, 6, generator=torch.Generator().manual_seed(1))
    return x, torch.tensor([1, 2, 3, 4, 7, steps - 1, steps])


def forms():
    """(machine, shape, whether mask vectors stay): all shapes here, one on Arm; the others in the long form."""
    for machine, shape, vectors in itertools.product(MACHINES, FORMS, (False, True)):
        usual = vectors == (shape != "last") and (machine == "this machine" or shape == "segments")
        yield pytest.param(machine, shape, vectors, marks=() if usual else pytest.mark.long)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize(("machine", "shape", "vectors"), forms())
def test_two_layers_with_selected_normalised_inputs(tmp_path, machine, cell, shape, vectors):
    options = dict(FORMS[shape])
    if "front" in options:
        options["front"] = TemporalSegments(6, 3, pool=options["front"])
    model = masked(cell, 2, vectors, **options)
    form = replace(standard(model, 6), normalisation=AFFINE)
    x, length = sequences()
    with torch.no_grad():
        expected = model(x * torch.from_numpy(AFFINE.factor) - torch.from_numpy(AFFINE.shift), length).numpy()
    gap = np.abs(answer_of(form, tmp_path, machine_of(machine))(x.numpy(), length.numpy()) - expected).max()
    assert gap < 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("machine", MACHINES)
def test_int8_computes_with_the_rounded_weights_of_a_record(tmp_path, machine):
    model = recurrent_classifier(6, 9, 3, "lstm", 2).eval()
    x, length = sequences()
    with torch.no_grad():
        plain = model(x, length).numpy()
        found = answer_of(standard(model), tmp_path, machine_of(machine), int8=True)(x.numpy(), length.numpy())
        for weight in (p for p in model.parameters() if p.dim() > 1):
            integers, scale = quantised(weight)
            weight.copy_(integers * scale[:, None])
        assert np.abs(found - model(x, length).numpy()).max() < 1e-5
    assert 1e-4 < np.abs(found - plain).max() < 0.1


def test_an_export_is_compiled_compared_and_scored(run, tmp_path, capsys):  # noqa: F811
    folder, task = run
    out = tmp_path / "net.c"
    assert main(["export", str(folder), "--format", "c", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (
        "logits differ from the module's by at most" in printed and f"x (time, {task.inputs}) float32: raw" in printed
    )
    whole = export(folder, "c", out)
    assert whole.gap < 1e-5
    small = export(folder, "c", tmp_path / "small.c", precision="int8")
    record, _ = read_run(folder)
    assert small.float32_test == record.accuracy.test and abs(small.test - small.float32_test) < 0.05
    assert small.gap > 1e-5 and "int8_t small_W_0" in (tmp_path / "small.c").read_text()


def test_the_printed_lines_are_a_program(tmp_path):
    cc, *_ = machine_of("this machine")
    folder = made(tmp_path, masked(front=TemporalSegments(6, 3)))
    lines = export(folder, "c", tmp_path / "net.c").lines
    main_function = ["int main(void)", "{", "size_t t, steps = 2; float x[2 * NET_INPUTS] = {0};", *lines[3:]]
    answer = ['printf("%.9g %.9g %.9g", (double)logits[0], (double)logits[1], (double)logits[2]);', "return 0;", "}"]
    (tmp_path / "program.c").write_text("\n".join(["#include <stdio.h>", *lines[1:3], *main_function, *answer]))
    subprocess.run([*cc, *STRICT, "program.c", "net.c", "-lm", "-o", "program"], cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout
    with torch.no_grad():
        expected = read_run(folder)[1](torch.zeros(1, 2, 6))[0]
    assert np.allclose([float(word) for word in said.split()], expected, rtol=1e-5, atol=1e-5)


def test_a_factorized_map_becomes_a_matrix(tmp_path):
    arguments = ["run", "--task", "digits", "--method", "tt_lstm", "--set", "hidden=16", "--set", "compact_to=cores"]
    assert main([*arguments, "--train", "epochs=1", "--out", str(tmp_path)]) == 0
    done = export(tmp_path, "c")
    assert done.gap is None or done.gap < 1e-5
    assert "is multiplied out to a matrix of 512" in done.notes[0]
    assert "model_W_0[512]" in done.path.read_text()


def test_without_a_compiler_it_is_written_and_says_that_it_was_not_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("squeezebench.tools.export.c.compiled.compiler", lambda: None)
    folder = made(tmp_path, masked())
    assert main(["export", str(folder), "--format", "c"]) == 0
    said = capsys.readouterr().out
    assert "not run here" in said and "has neither $CC nor cc" in said and (folder / "model.c").exists()
    assert "has neither $CC nor cc" in export(folder, "c", precision="int8").not_scored


def test_what_has_no_c_is_one_line_and_leaves_no_file(tmp_path, complaint, monkeypatch):
    good, bad = made(tmp_path / "good", masked()), masked()
    with torch.no_grad():
        bad.head.bias[0] = torch.nan
    cases = [
        (["--stateful"], "the C file always keeps its states in a struct"),
        ([], "more than 10 numbers, too many for C source"),
    ]
    monkeypatch.setattr("squeezebench.tools.export.c.arrays.MOST", 10)
    for options, says in cases:
        assert says in complaint("export", good, "--format", "c", *options)
    assert not list(good.glob("*.c"))
    monkeypatch.undo()
    said = complaint("export", made(tmp_path / "bad", bad), "--format", "c")
    assert "head_0_bias has numbers that are not finite" in said


def test_names_and_texts_are_those_that_c_allows():
    names = {
        "net.c": "net",
        "some net-1.c": "some_net_1",
        "3.c": "model_3",
        "model.int8.c": "model_int8",
        "ü": "model__",
    }
    assert {name: prefix_of(Path(name)) for name in names} == names
    assert string('b"ü@?') == r'"b\042\303\274\100\077"'  # no letter of it is a trigraph or the prefix's place
