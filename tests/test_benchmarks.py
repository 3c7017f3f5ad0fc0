"""Benchmarks run and write what they print; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.timing import compare  # noqa: E402


def test_variants_are_interleaved_and_warmed_up():
    calls = []
    timings = compare({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=4, warmup=2)
    assert len(calls) == 12 and all(set(calls[k : k + 2]) == {"a", "b"} for k in range(0, 12, 2))
    assert all(0 <= t.low <= t.median <= t.high for t in timings.values())


@pytest.mark.parametrize(
    "arguments",
    [
        ["benchmarks.inference", "--repeats", "1", "--dense", "32", "32", "--compact", "4", "2"],
        ["benchmarks.recurrence", "--repeats", "1", "--only", "32x32x64x128"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_benchmark_prints_a_table_and_writes_json(arguments, tmp_path):
    name = "PyTorch, oneDNN off" if arguments[0] == "benchmarks.inference" else "nn.LSTM"
    file = tmp_path / "out.json"
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "--json", str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout and "median" in done.stdout
    assert name in json.dumps(json.loads(file.read_text()))
