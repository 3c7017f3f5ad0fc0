"""What the suite does on one GPU: recurrences, tensor maps, backbones and whole runs, in at most six minutes.

    python -m benchmarks.on_gpu --out FOLDER [--device cuda] [--budget 330] [--quick]

The script needs no data and no network: features are drawn at random in the shapes of `ucf11_features` (1,280 inputs,
8 frames) and of the end-to-end experiment (57,600 inputs, 6 frames). It writes gpu.json and gpu.md after every section.
A section that no longer fits the budget, and a variant that fails, leave one line instead of figures.

Times come from CUDA events (a wall clock on the CPU); the variants of a table are interleaved in one process, and a
table shows their medians. cuDNN uses TF32 by default and PyTorch's matrix products do not: each recurrence is therefore
measured twice, without TF32 on either side and with TF32 on both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import recurrence, tensor_maps
from benchmarks.timing import Step, Timing, card, compare, machine, wall_seconds, write_json
from squeezebench.engine.run import execute
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.cnn.named import named_network
from squeezebench.schema.record import Record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings


@dataclass(frozen=True)
class Scale:
    """Sizes of one measurement."""

    shapes: list[tuple[int, int, int]]  # T, D, H of the recurrences
    batches: list[int]
    repeats: int
    warmup: int
    map_batches: list[int]
    sequences: int  # of the synthetic task of the whole runs
    steps: int
    inputs: int
    hidden: int
    kept: tuple[int, int]  # inputs and units that VIB-LSTM keeps
    epochs: dict[str, int]
    pixels: int
    images: int


FULL = Scale(
    [(8, 1280, 2048), (6, 57_600, 256), (32, 64, 128)], [16, 64], 30, 5, [16, 64],
    1600, 8, 1280, 2048, (46, 9), {"dense": 4, "vib_lstm": 8}, 224, 64,
)  # fmt: skip
QUICK = Scale([(3, 8, 8)], [2], 1, 0, [1], 66, 3, 12, 8, (5, 4), {"dense": 1, "vib_lstm": 4}, 64, 1)


@dataclass
class Bench:
    """The results so far, the clock of the whole script, and where both are written."""

    device: torch.device
    scale: Scale
    out: Path
    budget: float
    started: float = field(default_factory=time.monotonic)
    tables: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        print(line, flush=True)
        self.notes.append(line)

    def allows(self, what: str, seconds: float) -> bool:
        """Whether `seconds` more fit the budget; a note says so if they do not."""
        left = self.budget - (time.monotonic() - self.started)
        if left < seconds:
            self.note(f"{what}: skipped, it needs about {seconds:.0f} s and {left:.0f} s of the budget remain")
        return left >= seconds

    def table(self, title: str, rows: list[dict[str, Any]]) -> None:
        print(f"\n{title}", *(f"  {row}" for row in rows), sep="\n", flush=True)
        self.tables.append({"title": title, "rows": rows})

    def timed(self, title: str, variants: dict[str, Step], reference: str) -> None:
        """Add a table of the variants' medians and of their ratios to `reference`."""
        variants = {name: step for name, step in variants.items() if self._works(f"{title}: {name}", step)}
        seconds = cuda_seconds if self.device.type == "cuda" else wall_seconds
        timings = compare(variants, repeats=self.scale.repeats, warmup=self.scale.warmup, seconds=seconds)
        self.table(title, [_row(name, timing, timings.get(reference)) for name, timing in timings.items()])

    def _works(self, name: str, step: Step) -> bool:
        try:
            step()
        except RuntimeError as error:  # an operation that this card or this version of PyTorch does not have
            self.note(f"{name}: fails: {str(error).splitlines()[0][:200]}")
            return False
        return True

    def write(self) -> None:
        """Write gpu.json and gpu.md."""
        about = machine() | card(self.device.type)
        self.out.mkdir(parents=True, exist_ok=True)
        write_json(self.out / "gpu.json", {"machine": about, "tables": self.tables, "notes": self.notes})
        (self.out / "gpu.md").write_text(page(about, self.tables, self.notes), encoding="utf-8")


def _row(name: str, timing: Timing, reference: Timing | None) -> dict[str, Any]:
    return {
        "variant": name,
        "median ms": round(timing.median * 1e3, 4),
        "quartiles ms": f"{timing.low * 1e3:.3f} to {timing.high * 1e3:.3f}",
        "times the reference": round(timing.median / reference.median, 3) if reference else None,
    }


def cuda_seconds(step: Step) -> float:
    """Seconds of one call between two events on the current stream."""
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    step()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1e3


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 in cuDNN and in matrix products alike; both settings are restored afterwards."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def recurrences(bench: Bench) -> None:
    """(a) A training step of the masked LSTM and GRU against nn.LSTM and nn.GRU."""
    device = bench.device.type
    for allowed in (False, True) if device == "cuda" else (False,):
        for T, D, H in bench.scale.shapes:
            for B in bench.scale.batches:
                shape = f"B {B}, T {T}, D {D}, H {H}, {'TF32' if allowed else 'float32'}, forward + backward"
                if not bench.allows(f"recurrences, {shape}", 8):
                    return
                with tf32(allowed):
                    lstm = recurrence.lstm_variants(B, T, D, H, device, graphs=False)
                    bench.timed(f"LSTM, {shape}", lstm, "nn.LSTM")
                    bench.timed(f"GRU, {shape}", recurrence.gru_variants(B, T, D, H, device), "nn.GRU")


def maps(bench: Bench) -> None:
    """(b) Tensor maps against a dense linear map, alone and as the input-to-hidden part of an LSTM."""
    D, H, T = tensor_maps.D, tensor_maps.H, tensor_maps.T
    for B in bench.scale.map_batches:
        if not bench.allows(f"tensor maps, B {B}", 15):
            return
        with torch.device(bench.device):
            x = torch.randn(T, B, D)
            dense, lstm = nn.Linear(D, 4 * H, bias=False), nn.LSTM(D, H)
            ours = {name: module.to(bench.device) for name, module in tensor_maps.our_maps().items()}
            alone = {name: (m, list(m.parameters())) for name, m in ({"nn.Linear": dense} | ours).items()}
            whole = {"nn.LSTM": (lambda x, lstm=lstm: lstm(x)[0], list(lstm.parameters()))}
            whole |= {f"{name} LSTM": tensor_maps.lstm_over(module) for name, module in ours.items()}
        shape = f"B {B}, T {T}, D {D}, H {H}, float32, forward + backward"
        for title, variants, reference in (("Map alone", alone, "nn.Linear"), ("Whole LSTM", whole, "nn.LSTM")):
            with tf32(False):
                steps = {name: tensor_maps.step(run, weights, x) for name, (run, weights) in variants.items()}
                bench.timed(f"{title}, {shape}", steps, reference)


def backbones(bench: Bench) -> None:
    """(d) Forward passes of CNN backbones over frames, in images per second."""
    for name in ("resnet_50", "mobilenet_v2"):
        if not bench.allows(f"backbone {name}", 12):
            return
        side, count = bench.scale.pixels, bench.scale.images
        network = named_network(name, (3, side, side), 1000).to(bench.device).eval()
        images = torch.randn(count, 3, side, side, device=bench.device)
        variants = {"float32": _inference(network, images, False, None)}
        if bench.device.type == "cuda":
            variants["TF32"] = _inference(network, images, True, None)
            variants["bfloat16 autocast"] = _inference(network, images, True, torch.bfloat16)
        bench.timed(f"Backbone {name}, {count} images of {side} x {side}, forward", variants, "float32")
        for row in bench.tables[-1]["rows"]:
            row["images per second"] = round(count / (row["median ms"] / 1e3), 1)


def _inference(network: nn.Module, images: torch.Tensor, allowed: bool, dtype: torch.dtype | None) -> Step:
    @torch.inference_mode()
    def run() -> None:
        with tf32(allowed), torch.autocast(images.device.type, dtype, enabled=dtype is not None):
            network(images)

    return run


def whole_runs(bench: Bench) -> None:
    """(c) Short runs of `dense` and `vib_lstm` by the engine, on the GPU and on the CPU; dense on the GPU twice."""
    gpu = bench.device.type
    calls = [("dense", gpu), ("dense", gpu), ("vib_lstm", gpu)]
    calls += [("dense", "cpu"), ("vib_lstm", "cpu")] if gpu != "cpu" else []
    records: dict[tuple[str, str], list[Record]] = {}
    with tempfile.TemporaryDirectory() as folder:
        task = synthetic_task(Path(folder), bench.scale)
        for number, (method, device) in enumerate(calls):
            if bench.allows(f"run of {method} on {device}", 45):
                record = one_run(bench.scale, task, method, device, Path(folder, f"run-{number}"))
                if record.status != "ok":
                    bench.note(f"run of {method} on {device}: {record.status}: {record.reason}")
                    continue
                records.setdefault((method, device), []).append(record)
    torch.use_deterministic_algorithms(False)  # the engine switched them on
    scale = bench.scale
    bench.table(
        f"Runs on {scale.sequences} synthetic sequences, T {scale.steps}, D {scale.inputs}, H {scale.hidden}, batch 16",
        [_run_row(method, device, record) for (method, device), runs in records.items() for record in runs],
    )
    for (method, device), runs in records.items():
        if len(runs) > 1:
            same = len({record.model_digest for record in runs}) == 1
            bench.note(f"{method} twice on {device} with one seed: {'the same bits' if same else 'different bits'}")
        if device != "cpu" and (other := records.get((method, "cpu"))):
            agree = runs[0].counts == other[0].counts
            bench.note(f"{method}: counts on {device} and on the CPU {'agree' if agree else 'DIFFER'}")


def synthetic_task(folder: Path, scale: Scale) -> TaskSpec:
    """A `file` task of 11 classes whose features are noise around one mean per class."""
    rng, classes = np.random.default_rng(0), 11
    y = np.arange(scale.sequences) % classes
    x = rng.standard_normal((scale.sequences, scale.steps, scale.inputs), np.float32)
    x += rng.standard_normal((classes, 1, scale.inputs), np.float32)[y]
    np.savez(folder / "features.npz", x=x, y=y)
    return TaskSpec(name="synthetic", source="file", options={"path": str(folder / "features.npz")})


def one_run(scale: Scale, task: TaskSpec, method: str, device: str, out: Path) -> Record:
    """A run by the engine, as `squeezebench run` makes it. VIB-LSTM keeps a fixed number of inputs and units, so that
    rounding cannot decide what is counted."""
    chosen: dict[str, Any] = {"hidden": scale.hidden}
    if method == "vib_lstm":
        chosen |= {"keep_inputs": scale.kept[0], "keep_hidden": scale.kept[1]}
    file = find_methods()[method]
    settings = settings_of(load(file), chosen, "on_gpu")
    spec = RunSpec(
        task=task,
        method=method,
        settings=settings.model_dump(mode="json"),
        training=TrainingSettings(epochs=scale.epochs[method], batch_size=16, device=device),
        model=settings.shared().model_dump(mode="json"),
    )
    return execute(spec, file, out, out / "starts")


def _run_row(method: str, device: str, record: Record) -> dict[str, Any]:
    epochs, seconds = (sum(getattr(stage, name) for stage in record.stages) for name in ("epochs", "seconds"))
    return {
        "method": method,
        "device": device,
        "epochs": epochs,
        "seconds per epoch": round(seconds / epochs, 4),
        "whole run s": round(record.seconds.total, 1),
        "parameters": record.counts.size,
        "test accuracy": round(record.accuracy.test, 4),
    }


def graphs(bench: Bench) -> None:
    """(e) The same LSTM step captured once and replayed, which leaves out the time for launching kernels."""
    for T, D, H in bench.scale.shapes if bench.device.type == "cuda" else ():
        for B in bench.scale.batches:
            if not bench.allows(f"CUDA graphs, D {D}, B {B}", 8):
                return
            with tf32(False):
                variants = recurrence.lstm_variants(B, T, D, H, "cuda", graphs=True)
                kept = {name: step for name, step in variants.items() if name == "nn.LSTM" or "graph" in name}
                bench.timed(f"LSTM as CUDA graph, B {B}, T {T}, D {D}, H {H}, float32", kept, "nn.LSTM")


def page(about: dict[str, Any], tables: list[dict[str, Any]], notes: list[str]) -> str:
    """The results in Markdown."""
    lines = ["# On a GPU", "", "Written by `python -m benchmarks.on_gpu`; its docstring says how times are taken.", ""]
    lines += [f"- {name}: {value}" for name, value in about.items()]
    lines += ["", "## Notes", "", *(f"- {note}" for note in notes)] if notes else []
    for table in tables:
        lines += ["", f"## {table['title']}", ""]
        if table["rows"]:
            names = list(table["rows"][0])
            lines += [_cells(names), _cells(["---"] * len(names))]
            lines += [_cells(["" if row.get(n) is None else row[n] for n in names]) for row in table["rows"]]
    return "\n".join(lines) + "\n"


def _cells(values: list[Any]) -> str:
    return "| " + " | ".join(map(str, values)) + " |"


SECTIONS = {"recurrences": recurrences, "maps": maps, "runs": whole_runs, "backbones": backbones, "graphs": graphs}


def main(argv: list[str] | None = None) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.json and gpu.md")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--budget", type=float, default=330, metavar="S", help="seconds for everything")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), default=list(SECTIONS))
    options = parser.parse_args(argv)
    torch.manual_seed(0)
    bench = Bench(torch.device(options.device), QUICK if options.quick else FULL, options.out, options.budget)
    for name in options.only:
        before = time.monotonic()
        try:
            SECTIONS[name](bench)
        except RuntimeError as error:  # the other sections are still worth their time
            bench.note(f"{name}: fails: {str(error).splitlines()[0][:200]}")
        bench.note(f"{name}: {time.monotonic() - before:.1f} s")
        bench.write()


if __name__ == "__main__":
    main()
