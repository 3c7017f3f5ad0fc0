"""Benchmarks run and write what they print; how fast anything is, no test says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import forked
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import c_file, clips, inference, on_gpu, recurrence  # noqa: E402
from benchmarks.timing import compare  # noqa: E402


def run(module: ModuleType, *words: str, folder: Path) -> subprocess.CompletedProcess:
    """The script's `main` in a process of its own, as `python -m` calls it. clips computes on all cores: a copy of this
    process, whose threads have worked, would wait for them."""
    if module is clips:
        command = [sys.executable, "-m", "benchmarks.clips", *words]
        return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return forked.call(list(words), folder, folder / "log", lambda: None, module.main)


def test_variants_are_interleaved_and_warmed_up():
    calls = []
    timings = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=4, warmup=2)
    assert len(calls) == 12 and all(set(calls[k : k + 2]) == {"a", "b"} for k in range(0, 12, 2))
    assert all(0 <= t.low <= t.median <= t.high for t in timings.values())


@pytest.mark.parametrize(
    ("module", "words", "name"),
    [
        (inference, "--repeats 1 --dense 32 32 --compact 4 2", "PyTorch, oneDNN off"),
        (recurrence, "--repeats 1 --only 32x32x64x128", "nn.LSTM"),
        (clips, "--repeats 1 --clips 1 --frames 2 --size 32 --weights random", "backbone alone"),
        pytest.param(
            *(c_file, "--repeats 1 --dense 32 32 --compact 4 2", "compact, C int8"),
            marks=pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
        ),
    ],
    ids=("inference", "recurrence", "clips", "c_file"),
)
def test_a_benchmark_prints_a_table_and_writes_json(module, words, name, tmp_path):
    file = tmp_path / "out.json"
    done = run(module, *words.split(), "--json", str(file), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert name in done.stdout and "median" in done.stdout
    assert name in json.dumps(json.loads(file.read_text()))


def test_the_script_for_a_gpu_runs_every_section_on_the_cpu_and_writes_its_page(tmp_path):
    done = run(on_gpu, "--device", "cpu", "--quick", "--out", str(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    results = json.loads((tmp_path / "gpu.json").read_text())
    titles = " ".join(table["title"] for table in results["tables"])
    assert all(word in titles for word in ("LSTM, B", "GRU, B", "Map alone", "Whole LSTM", "Runs on", "Backbone"))
    assert "dense twice on cpu with one seed: the same bits" in results["notes"]
    assert not [note for note in results["notes"] if "fails" in note or "skipped" in note]
    page = (tmp_path / "gpu.md").read_text()
    assert "| vib_lstm | cpu |" in page and results["machine"]["torch"] in page


def test_a_section_that_does_not_fit_the_budget_of_the_gpu_leaves_a_line(tmp_path):
    bench = on_gpu.Bench(torch.device("cpu"), on_gpu.QUICK, tmp_path, budget=1)
    on_gpu.whole_runs(bench)
    bench.write()
    assert "run of dense on cpu: skipped" in (tmp_path / "gpu.md").read_text()
