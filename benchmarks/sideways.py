"""Memory and speed of (Skip-)Sideways against exact back-propagation over the clip, on this machine.

    python -m benchmarks.sideways [--repeats 5] [--frames 4 8 16 32 64] [--json FILE]

Memory: the largest number of live bytes besides clips and weights in one training step, counted tensor by tensor, so it
is the same on every machine. Speed: one process for each module against all modules in one process; the model is that a
tick takes max_j T(H_j) with D processors and sum_j T(H_j) with one (supplementary of CVPR 2021, section 5). Pipelines
of more modules than this machine has cores are shown with modules that *sleep* instead of computing: they take their
time without a core, so those rows show what the pipeline's own machinery costs and nothing of real arithmetic.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.studies.pipeline_processes import PipelineProcesses
from benchmarks.studies.sleeper import Sleeper
from benchmarks.timing import machine, parser_of, write_json
from squeezebench.engine.measurement.memory import Allocations
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.training import backpropagation_step, sideways_step
from squeezebench.nn.sideways.vgg import video_vgg

SGD = partial(torch.optim.SGD, lr=0.01)
RULES = {
    "Sideways": ("none", sideways_step),
    "Skip-Sideways, sum": ("sum", sideways_step),
    "Skip-Sideways, concat": ("concat", sideways_step),
    "BP over the clip": ("none", backpropagation_step),
    "BP over the clip, concat": ("concat", backpropagation_step),
}


class Dense(nn.Module):
    """A unit of real arithmetic: `layers` square matrices with tanh between them."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))

    def forward(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = torch.tanh(layer(h))
        return h


def memory(frames: list[int], batch: int = 8) -> list[dict[str, object]]:
    """Peak bytes of a step of each rule, for clips of each number of frames of 16 x 16 pixels."""
    rows = []
    for name, (shortcut, step) in RULES.items():
        net = video_vgg("vgg_8", (1, 16, 16), 8, shortcut=shortcut)
        for count in frames:
            x, y = torch.randn(batch, count, 256), torch.arange(batch) % 8
            optimiser = SGD(net.parameters())
            with Allocations([x, *net.parameters(), *net.buffers()]) as seen:
                step(net, x, None, y, optimiser)
            rows.append({"rule": name, "frames": count, "bytes": seen.peak})
    return rows


def speed(name: str, net: SidewaysNet, batch: int, steps: int, repeats: int) -> dict[str, object]:
    """Ticks a second with one process and with one for each module; medians, the two interleaved.

    The model's times are the modules' own, measured in their processes while all of them run.
    """
    x, y = torch.randn(batch, steps, net.shape[0]), torch.zeros(batch, dtype=torch.int64)
    ticks, optimiser = net.timetable(steps).ticks, SGD(net.parameters())
    seconds: dict[str, list[float]] = {"one": [], "each": []}
    busy: list[list[float]] = []
    with PipelineProcesses(net, batch, steps, SGD) as processes:
        processes.step(x, y)
        for _ in range(repeats):
            started = time.perf_counter()
            sideways_step(net, x, None, y, optimiser)
            seconds["one"].append(time.perf_counter() - started)
            started = time.perf_counter()
            reports = processes.measured_step(x, y)
            seconds["each"].append(time.perf_counter() - started)
            busy.append([report.busy / report.ticks for report in reports])
    modules = [statistics.median(times) for times in zip(*busy, strict=True)]
    single, each = (ticks / statistics.median(times) for times in seconds.values())
    return {"pipeline": name, "modules": net.depth, "one_process": single, "process_each": each,
            "speed_up": each / single, "model_sum": 1 / sum(modules), "model_max": 1 / max(modules),
            "model_speed_up": sum(modules) / max(modules), "of_max": each * max(modules)}  # fmt: skip


def together(units: str, frames: int, repeats: int, batch: int = 32) -> dict[str, object]:
    """Milliseconds of one training step by three rules on the same clips, one thread; medians, interleaved."""
    net = video_vgg(units, (1, 16, 16), 4, 8, "concat")
    x, y, optimiser = torch.randn(batch, frames, 256), torch.arange(batch) % 4, SGD(net.parameters())
    steps = {"one_by_one": sideways_step, "together": partial(sideways_step, together=True),
             "backpropagation": backpropagation_step}  # fmt: skip
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step(net, x, None, y, optimiser)
            times[name].append(1e3 * (time.perf_counter() - started))
    return {"units": units, "frames": frames} | {name: statistics.median(found[1:]) for name, found in times.items()}


def print_memory(rows: list[dict[str, object]], frames: list[int]) -> None:
    print("\nlargest live memory of a training step, KiB, by frames of a clip")
    print(f"{'':26}" + "".join(f"{count:>10}" for count in frames))
    for name in RULES:
        cells = [row["bytes"] for row in rows if row["rule"] == name]
        print(f"{name:26}" + "".join(f"{value / 1024:10.0f}" for value in cells))


def print_speed(rows: list[dict[str, object]]) -> None:
    print("\nticks a second (a tick: every module once); the model from the modules' own times, without messages")
    heads = ("one process", "a process each", "speed-up", "1/sum T", "1/max T", "model's", "of 1/max T")
    print(f"{'':30}" + "".join(f"{head:>15}" for head in heads))
    for row in rows:
        keys = ("one_process", "process_each", "speed_up", "model_sum", "model_max", "model_speed_up", "of_max")
        print(f"{row['pipeline']:30}" + "".join(f"{row[key]:15.2f}" for key in keys))


def print_together(rows: list[dict[str, object]]) -> None:
    print("\nSkip-Sideways in one process, ms a step: tick by tick; all ticks of a unit together; back-propagation")
    for row in rows:
        a, b, c = (row[key] for key in ("one_by_one", "together", "backpropagation"))
        print(
            f"{row['units']}, {row['frames']} frames{a:14.0f}{b:10.0f}{c:10.0f}   tick by tick / together {a / b:.2f}"
        )


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, nargs="+", default=[4, 8, 16, 32, 64])
    parser.add_argument("--asleep", type=int, nargs="*", default=[2, 4], help="depths of the sleeping pipelines")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = memory(args.frames)
    print_memory(rows, args.frames)
    real = {
        "D = 1, dense": [Dense(512, 4)],
        "D = 2, dense, equal": [Dense(512, 2), Dense(512, 2)],
        "D = 2, dense, 1 : 3": [Dense(512, 1), Dense(512, 3)],
    }
    speeds = [
        speed(name, SidewaysNet(units, (512,)), 64, 16, args.repeats)
        for name, units in real.items()
        if len(units) <= (os.cpu_count() or 1)
    ]
    for depth in args.asleep:
        equal = SidewaysNet([Sleeper(64, 0.02 / 3, 8) for _ in range(depth)], (64,))  # both passes of a clip: 20 ms
        speeds.append(speed(f"D = {depth}, asleep, 20 ms each", equal, 8, 16, min(args.repeats, 3)))
    print_speed(speeds)
    steps = [together(units, frames, args.repeats) for units in ("vgg_4", "vgg_8") for frames in args.frames[-2:]]
    print_together(steps)
    write_json(args.json, {"machine": machine(), "memory": rows, "speed": speeds, "together": steps})


if __name__ == "__main__":
    main()
