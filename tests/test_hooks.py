"""Global state that a method's hooks change is put back, noted in the record, and marked in the report."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from method_files import method_file

from squeezebench.cli.main import main
from squeezebench.engine.hooks import Hooks
from squeezebench.report import build_report
from squeezebench.schema.record import read_record

CHANGES = {  # a sentence's end -> what a hook does
    "seeds torch's generator": lambda: torch.manual_seed(3),
    "seeds NumPy's generator": lambda: np.random.seed(3),
    "seeds Python's generator": lambda: random.seed(3),
    "changes torch's number of threads from 1 to 2": lambda: torch.set_num_threads(2),
    "changes torch's default dtype from torch.float32 to torch.float64": lambda: torch.set_default_dtype(torch.float64),
    "changes torch's default device from cpu to meta": lambda: torch.set_default_device("meta"),
    "changes whether torch keeps gradients from True to False": lambda: torch.set_grad_enabled(False),
    "changes torch's deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=False),
    "changes torch's float32 precision from highest to medium": lambda: torch.set_float32_matmul_precision("medium"),
    "changes torch's autocast from False to True": lambda: torch.set_autocast_enabled("cpu", True),
    "changes torch's anomaly detection from False to True": lambda: torch.autograd.set_detect_anomaly(True),
    "changes whether torch uses oneDNN from True to False": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "changes cuDNN's settings": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "changes NumPy's handling of errors": lambda: np.seterr(divide="raise"),
    "changes the working directory": lambda: os.chdir("/"),
    "changes the environment's variables": lambda: os.environ.update(MKL_CBWR="COMPATIBLE"),
}
DRAWS = {
    "torch": lambda: torch.randn(1000),
    "numpy": lambda: np.random.normal(size=2000),
    "python": lambda: [random.random() for _ in range(2000)],
    "aside": lambda: torch.Generator().manual_seed(3),
    "imports": lambda: os.environ.update(SOMETHING_NEW="1"),
}


def state():
    return (torch.initial_seed(), torch.get_num_threads(), torch.get_default_dtype(), torch.zeros(1).device.type,
            torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision(),
            torch.is_autocast_enabled("cpu"), torch.is_anomaly_enabled(), torch.backends.mkldnn.enabled,
            torch.backends.cudnn.benchmark, np.geterr(), str(Path.cwd()), os.environ.get("MKL_CBWR"))  # fmt: skip


@pytest.mark.parametrize("words", CHANGES)
def test_what_a_hook_changes_is_named_and_put_back(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    before, drawn = state(), (np.random.get_state()[1].tolist(), random.getstate())
    hooks = Hooks()
    for _ in range(2):  # a hook is named once
        with hooks.watching("build()"):
            CHANGES[words]()
    assert len(hooks.changed) == 1 and hooks.changed[0].startswith(f"build() {words}")
    assert state() == before and (np.random.get_state()[1].tolist(), random.getstate()) == drawn


@pytest.mark.parametrize("what", DRAWS)
def test_what_a_hook_may_do_is_not_named_and_stays(monkeypatch, what):
    monkeypatch.delenv("SOMETHING_NEW", raising=False)
    hooks, generators = Hooks(), (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    with hooks.watching("build()"):
        DRAWS[what]()
    assert not hooks.changed
    moved = [not torch.equal(torch.get_rng_state(), generators[0]), not np.array_equal(np.random.get_state()[1],
             generators[1]), random.getstate() != generators[2]]  # fmt: skip
    assert moved == [what == "torch", what == "numpy", what == "python"]


def test_a_state_is_put_back_when_a_hook_fails():
    hooks = Hooks()
    with pytest.raises(KeyError), hooks.watching("penalty()", often=True):
        torch.set_default_dtype(torch.float64)
        raise KeyError
    assert torch.get_default_dtype() == torch.float32 and len(hooks.changed) == 1


def test_the_record_names_the_hook_and_the_report_marks_the_method(tmp_path, undrawn):
    digests = {}
    table = "model.register_buffer('table', torch.zeros(1000), persistent=False)"
    hides = f"def compact(self, model):\n        {table}\n        return model"
    for name, line in (("polite", "pass"), ("rude", "torch.set_num_threads(3); torch.set_grad_enabled(False)")):
        text = method_file(title="plugin", before="import torch", first=line, more=hides if name == "rude" else "")
        (tmp_path / f"{name}.py").write_text(text)
        folder = tmp_path / "results" / "runs" / "digits" / name
        call = ["run", "--task", "digits", "--method", name, "--plugins", str(tmp_path / f"{name}.py")]
        assert main([*call, "--set", "hidden=4", "--train", "epochs=1", "--out", str(folder)]) == 0
        record = read_record(folder / "record.json")
        digests[name] = record.model_digest
        assert bool(record.contract) == (name == "rude")
        assert all(sentence in (folder / "log.txt").read_text() for sentence in record.contract[:-1])
    assert record.contract[-1] == "buffer table holds 1,000 numbers that nobody counts; see counted_buffers"
    assert record.contract[0] == "build() changes torch's number of threads from 1 to 3"
    assert digests["polite"] == digests["rude"]  # nothing of it reached the training
    page = build_report(tmp_path / "results").read_text()
    assert "plugin (rude) (breaks the contract)" in page and "plugin (polite) (breaks" not in page
    assert "<b>1</b> break the contract" in page and "number of threads from 1 to 3" in page
