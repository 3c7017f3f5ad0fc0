"""Timing for the benchmarks: variants interleaved in one process, medians with spread, ratios.

Interleaving matters more than repeating: a slow minute of a shared machine then falls on every variant alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

Step = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median, and the quartiles as its spread."""

    median: float
    low: float
    high: float


def wall_seconds(step: Step) -> float:
    """Seconds of one call by the wall clock."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def compare(
    variants: dict[str, Step], *, repeats: int = 15, warmup: int = 3, seconds: Callable[[Step], float] = wall_seconds
) -> dict[str, Timing]:
    """Time each variant `repeats` times, one call of each per round, after `warmup` untimed rounds.

    seconds: makes one call of a variant and returns how long it took.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    samples: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(warmup + repeats):
        names = list(variants)
        shift = round_ % len(names) if names else 0  # no variant always runs after the same neighbour
        for name in names[shift:] + names[:shift]:
            elapsed = seconds(variants[name])
            if round_ >= warmup:
                samples[name].append(elapsed)
    return {name: _summary(times) for name, times in samples.items()}


def _summary(times: list[float]) -> Timing:
    if len(times) == 1:
        return Timing(times[0], times[0], times[0])
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, low, high)


def enough(call: Step, seconds: float = 0.01) -> int:
    """How many calls take about `seconds`: a short call is timed in a row of many, in its steady state."""
    call()
    return max(1, min(1000, round(seconds / wall_seconds(call))))


def within(context: Callable[[], AbstractContextManager], step: Step) -> Step:
    """The step in a context that is made anew for each call."""

    def run() -> object:
        with context():
            return step()

    return run


def repeated(step: Step, count: int) -> Step:
    """`count` calls of the step as one."""

    def run() -> None:
        for _ in range(count):
            step()

    return run


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser that shows the docstring of a script as it is written and takes `--json`, the file of `write_json`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE")
    return parser


def print_table(title: str, timings: dict[str, Timing], reference: str | None = None) -> None:
    """One row per variant: median and quartiles in ms, and the ratio of medians to `reference`."""
    width = max((len(name) for name in timings), default=8)
    print(f"\n{title}")
    print(f"{'':{width}}  {'median ms':>10}  {'quartiles ms':>19}  {'ratio':>8}")
    for name, timing in timings.items():
        spread = f"{timing.low * 1e3:.2f} .. {timing.high * 1e3:.2f}"
        ratio = f"{timing.median / timings[reference].median:.4f}" if reference in timings else "-"
        print(f"{name:{width}}  {timing.median * 1e3:10.2f}  {spread:>19}  {ratio:>8}")


def machine() -> dict[str, object]:
    """What a reader needs to judge the figures: versions, processor, threads."""
    import torch

    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def card(device: str) -> dict[str, object]:
    """Name, memory and driver of the GPU, and the versions of CUDA and cuDNN."""
    import torch

    if device != "cuda":
        return {"device": "cpu"}
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout.split("\n")[0]
    except (OSError, subprocess.TimeoutExpired):
        driver = "unknown"
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "memory GiB": round(properties.total_memory / 2**30, 1),
        "driver": driver,
        "CUDA": torch.version.cuda,
        "cuDNN": torch.backends.cudnn.version(),
    }


def write_json(path: str | os.PathLike[str] | None, payload: object) -> None:
    """Write `payload`, unless there is no path; `Timing` values become dictionaries."""
    if path:
        Path(path).write_text(json.dumps(payload, indent=2, default=_jsonable) + "\n", encoding="utf-8")


def _jsonable(value: object) -> object:
    if isinstance(value, Timing):
        return asdict(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
