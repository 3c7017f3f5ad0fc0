"""One table of every ratio that the benchmarks are about: what was measured, the target, and whether it is reached.

    python -m benchmarks.summary [--run] [--only NAME ...] [--folder results/bench]

`--run` first runs each benchmark in its short form, one after the other, and keeps what it writes in the folder. The
table is made of these files. A benchmark that fails, is missing or does not say a figure is a line that says so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scale import exponent
from squeezebench.schema.inference import INT8

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 20_000  # runs
# The short form of each benchmark, beside `--json FILE`.
SHORT = {
    "recurrence": ["--repeats", "7"],
    "tensor_maps": ["--no-peers", "--repeats", "7"],
    "memory": [],
    "inference": [],
    "throughput": [],
    "scale": ["--runs", "500", "2500", "10000", str(LARGEST)],
    "report": [],
    "clips": ["--repeats", "1", "--weights", "random"],
    "c_file": ["--repeats", "5", "--core", "real"],
}
PATIENCE = 3600  # seconds for one benchmark


@dataclass(frozen=True)
class Row:
    """One figure: the benchmark that measures it, how it is read from what that writes, and the largest that is good.

    most: None: it is stated, and no target was set. before: the figure at the time when the target was set.
    """

    benchmark: str
    what: str
    read: Callable[[Any], float]
    most: float | None = None
    before: str = ""
    unit: str = ""


def _step(title: str, name: str, reference: str) -> Callable[[Any], float]:
    """Ratio of medians in the table of benchmarks/recurrence.py whose title holds `title`."""

    def read(content: Any) -> float:
        table = next(table for table in content["results"] if title in table["title"])["timings"]
        return table[name]["median"] / table[reference]["median"]

    return read


def _training(cell: str, shape: str) -> Callable[[Any], float]:
    return _step(f"{cell}, cpu, {shape}, forward + backward", "masked, ours", f"nn.{cell}")


def _map(name: str, reference: str) -> Callable[[Any], float]:
    return lambda content: content["lstm"][name]["median"] / content["lstm"][reference]["median"]


def _arithmetic(name: str) -> Callable[[Any], float]:
    """The seconds that the operations of a map take at the rate of a large matrix product, of those that it takes."""
    return lambda content: next(iter(content["arithmetic"].values()))[name]["share_of_gemm_rate"]


def _peak(case: str) -> Callable[[Any], float]:
    return lambda content: content["peak_memory"][case]["megabytes"]


def _scale(step: str, field: str) -> Callable[[Any], float]:
    return lambda content: content["costs"][str(LARGEST)][step][field]


def _growth(step: str) -> Callable[[Any], float]:
    """Exponent of the core seconds, see benchmarks/scale.py. Raises ValueError if they do not grow."""

    def read(content: Any) -> float:
        sizes = sorted(map(int, content["costs"]))
        growth = exponent(sizes, [content["costs"][str(size)][step]["processor_seconds"] for size in sizes])
        if growth is None:
            raise ValueError("flat")
        return growth

    return read


def _inference(batch: int) -> Callable[[Any], float]:
    title = f"LSTM, cpu, inference, B {batch}, "
    return _step(title, "unmasked, ours", "nn.LSTM")


def _float32(ratios: dict[str, float]) -> list[float]:
    return [ratio for name, ratio in ratios.items() if name != INT8]


def _c_file(content: Any) -> float:
    timings = content["cores"]["real"]["timings"]
    others = [timing["median"] for name, timing in timings.items() if name.startswith("compact, ") and " C" not in name]
    return timings["compact, C"]["median"] / min(others)


WIDE, FRAMES, SMALL, NARROW = (
    "B 16, T 8, D 2048, H 2048", "B 16, T 6, D 57600, H 256", "B 32, T 32, D 64, H 128", "B 32, T 16, D 320, H 64",
)  # fmt: skip
PLANNED = "snakemake -n, few jobs: planned"
ROWS = [
    *(Row("recurrence", f"masked LSTM of nn.LSTM, {shape}", _training("LSTM", shape), most, before)
      for shape, most, before in ((WIDE, None, "0.36"), (FRAMES, None, "0.24"), (SMALL, 1.0, "1.36"),
                                  (NARROW, 1.0, ""))),
    *(Row("recurrence", f"masked GRU of nn.GRU, {shape}", _training("GRU", shape), None, before)
      for shape, before in ((WIDE, "0.33"), (SMALL, "0.90"), (NARROW, ""))),
    *(Row("recurrence", f"compact LSTM 46-9, inference, of nn.LSTM, B {batch}", _inference(batch), 1.0, "1.4 to 1.7")
      for batch in (1, 10)),
    Row("tensor_maps", "BT LSTM of TT LSTM", _map("BT LSTM", "TT LSTM"), 2.2, "5.0"),
    *(Row("tensor_maps", f"{name} LSTM of nn.LSTM", _map(f"{name} LSTM", "nn.LSTM"), most, before)
      for name, most, before in (("TT", 0.8 * 0.054, "0.054"), ("TR", 0.8 * 0.037, "0.037"),
                                 ("HT", 0.8 * 0.055, "0.055"))),
    *(Row("tensor_maps", f"{name} alone: its arithmetic at the rate of a matrix product", _arithmetic(name))
      for name in ("TT", "TR", "HT", "BT")),
    *(Row("memory", f"peak of a run, {case}", _peak(case), most, "", "MB")
      for case, most in (("end to end, dense", 2000.0), ("end to end, magnitude", 2000.0),
                         ("end to end, vib_lstm", 2000.0), ("end to end, bt_lstm", 2000.0),
                         ("D 57,600, H 2048", None), ("feature cache", None))),
    Row("inference", "compact of the fastest dense LSTM, batch 1",
        lambda content: 1 / max(_float32(content["models"][0]["comparisons"][0]["against_fastest"]))),
    Row("throughput", "core seconds outside training", lambda content: content["throughput"]["share_outside"], 0.12,
        "0.268"),
    Row("scale", f"{LARGEST:,} runs planned", _scale(PLANNED, "seconds"), 20.0, "", "s"),
    Row("scale", f"{LARGEST:,} runs planned, memory", _scale(PLANNED, "megabytes"), 300.0, "", "MB"),
    Row("scale", f"{LARGEST:,} runs gathered", _scale("gather", "seconds"), 10.0, "", "s"),
    Row("scale", "planning grows with runs to the power", _growth(PLANNED)),
    Row("scale", "gathering grows with runs to the power", _growth("gather")),
    Row("report", "report on 2,000 records", lambda content: content["processor_seconds"], None, "", "s"),
    Row("clips", "features of clips of the backbone alone",
        lambda content: content["timings"]["features"]["median"] / content["timings"]["backbone alone"]["median"],
        1.3),
    Row("c_file", "exported C file of the fastest other runtime, batch 1", _c_file),
]  # fmt: skip


def verdict(value: float, most: float | None) -> str:
    """Whether a value is at most `most`, and if not by how much it is larger."""
    if most is None:
        return "no target"
    return "reached" if value <= most else f"missed by {value / most - 1:.0%}"


def line_of(row: Row, folder: Path) -> list[str]:
    """The cells of a row; if there is no figure, why."""
    try:
        content = json.loads((folder / f"{row.benchmark}.json").read_bytes())
    except FileNotFoundError:
        return _cells(row, "-", f"not measured: `python -m benchmarks.summary --run --only {row.benchmark}`")
    except (OSError, ValueError) as error:
        return _cells(row, "-", f"{row.benchmark}.json cannot be read ({type(error).__name__})")
    if "failed" in content:
        return _cells(row, "-", f"the benchmark failed: {content['failed']}")
    try:
        value = float(row.read(content))
    except (LookupError, TypeError, ValueError, StopIteration, ZeroDivisionError) as error:
        return _cells(row, "-", f"{row.benchmark}.json does not say ({type(error).__name__}: {error})")
    return _cells(row, _number(value, row.unit), verdict(value, row.most))


def _cells(row: Row, value: str, words: str) -> list[str]:
    target = "" if row.most is None else f"at most {_number(row.most, row.unit)}"
    return [row.benchmark, row.what, row.before, value, target, words]


def _number(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit and value >= 100 else f"{value:.3g} {unit}".rstrip()


def table(folder: Path, rows: list[Row] | None = None) -> str:
    """The summary of the files in `folder`."""
    head = ["benchmark", "what", "before", "now", "target", "verdict"]
    lines = [head, *(line_of(row, folder) for row in (ROWS if rows is None else rows))]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]).rstrip()
        for line in lines
    )


def run(name: str, folder: Path) -> None:
    """Run one benchmark; if it fails, its file says so with its last line."""
    path = folder / f"{name}.json"
    path.unlink(missing_ok=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *SHORT[name], "--json", str(path.absolute())]
    started, said = time.monotonic(), ""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=PATIENCE
        )
        said = done.stdout.strip().rpartition("\n")[2]
        (folder / f"{name}.txt").write_text(done.stdout)
        failed = done.returncode != 0 or not path.exists()
    except subprocess.TimeoutExpired:
        failed, said = True, f"took longer than {PATIENCE} s"
    if failed:
        path.write_text(json.dumps({"failed": said or "it said nothing"}))
    print(f"{name}: {'failed: ' + said if failed else f'{time.monotonic() - started:.0f} s'}", flush=True)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="measure first; else the table of what was measured before")
    parser.add_argument("--only", nargs="+", choices=list(SHORT), default=list(SHORT), metavar="NAME")
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "bench")
    wanted = parser.parse_args(argv)
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for name in wanted.only if wanted.run else []:
        run(name, wanted.folder)
    print(table(wanted.folder, [row for row in ROWS if row.benchmark in wanted.only]))


if __name__ == "__main__":
    main()
