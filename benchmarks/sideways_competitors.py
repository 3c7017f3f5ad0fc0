"""What Table 1 of Skip-Sideways' supplementary compares: steps a second and peak memory on one clip, on this machine.

    python -m benchmarks.sideways_competitors [--frames 16] [--size 32] [--batch 4] [--repeats 5] [--folder FOLDER]

In one process: Sideways and Skip-Sideways, back-propagation over all frames at once and frame by frame, inflated and
causal 3D VGG, I3D, with rematerialisation, space-to-depth and space-time-to-depth. With a process for each module: the
learning rule and GPipe with micro-batches of frames, on two modules of real arithmetic and on modules that sleep,
which need no core and show the schedule alone. Peak memory is counted tensor by tensor and is the same on every
machine; that of a pipeline is the sum over its modules. `--folder` also writes the schedules as Figure 1 draws them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.sideways_figures import table, write_all
from benchmarks.studies.gpipe import GPipeProcesses, gpipe_step
from benchmarks.studies.pipeline_processes import PipelineProcesses
from benchmarks.studies.schedules import Schedule, bubble, gpipe_schedule, sideways_schedule
from benchmarks.studies.sleeper import Sleeper
from benchmarks.studies.video_networks import i3d, vgg_3d, video_step
from benchmarks.timing import compare, machine, parser_of, write_json
from squeezebench.engine.measurement.memory import Allocations
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.training import backpropagation_step, clip_loss, sideways_step
from squeezebench.nn.sideways.vgg import FORMS, VideoVGG, video_vgg
from squeezebench.report.drawing.palette import COLOURS
from squeezebench.report.drawing.svg import GRID, INK, new_figure, render, style

SGD = partial(torch.optim.SGD, lr=0.01)
CLASSES, SLEEPING = 8, 2  # clips of a sleeping pipeline
Step = Callable[[Tensor, Tensor], float]


def frame_by_frame(net: VideoVGG, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer) -> float:
    """Exact gradients with batch normalisation per tick, added up frame by frame: without shortcuts no frame needs
    another one, and only one is held at a time."""
    optimiser.zero_grad(set_to_none=True)
    total = 0.0
    for frame in x.split(1, dim=1):
        loss = clip_loss(net, frame, None, y) / x.shape[1]
        loss.backward()
        total += loss.item()
    optimiser.step()
    return total


def one_process(frame: tuple[int, int, int], width: int, patches: int = 2) -> dict[str, tuple[nn.Module, Callable]]:
    """Name -> (network, step): every row of the table that needs one device. All but the last take patches first."""
    factors, pools = FORMS["vgg_8"]
    widths = [width * factor for factor in factors]
    flat = partial(video_vgg, "vgg_8", frame, CLASSES, width, unshuffle=patches)
    deep = partial(vgg_3d, frame, CLASSES, widths, pools, space=patches)
    rule = lambda net, x, y, optimiser: sideways_step(net, x, None, y, optimiser)  # noqa: E731
    exact = lambda net, x, y, optimiser: backpropagation_step(net, x, None, y, optimiser)  # noqa: E731
    return {
        "Sideways + VGG": (flat(), rule),
        "Skip-Sideways, sum + VGG": (flat(shortcut="sum"), rule),
        "Skip-Sideways, concat + VGG": (flat(shortcut="concat"), rule),
        "BP + VGG, all frames at once": (flat(), exact),
        "BP + VGG, frame by frame": (flat(), frame_by_frame),
        "BP + 3D VGG": (deep(), video_step),
        "BP + 3D VGG (Remat)": (deep(remat=True), video_step),
        "BP + causal 3D VGG, 2x3x3": (deep(frames=2, causal=True), video_step),
        "BP + causal 3D VGG, 3x3x3": (deep(causal=True), video_step),
        "BP + I3D": (i3d(frame, CLASSES, 2 * width, space=patches), video_step),
        "BP + 3D VGG, space-time-to-depth": (deep(time=2), video_step),
        "BP + I3D, space-time-to-depth": (i3d(frame, CLASSES, 2 * width, space=patches, time=2), video_step),
        "BP + 3D VGG, no space-to-depth": (vgg_3d(frame, CLASSES, widths, pools), video_step),
    }


def halves(net: VideoVGG) -> SidewaysNet:
    """The same network in two modules; without shortcuts."""
    units, middle = list(net.units), net.depth // 2
    return SidewaysNet([nn.Sequential(*units[:middle]), nn.Sequential(*units[middle:])], net.shape)


def peak(step: Step, held: Sequence[Tensor], x: Tensor, y: Tensor) -> int:
    """The most bytes besides weights and clips that one step needs at one time."""
    with Allocations([x, y, *held]) as seen:
        step(x, y)
    return seen.peak


def seconds_of(steps: dict[str, Step], x: Tensor, y: Tensor, repeats: int) -> dict[str, float]:
    """The median seconds of a step of each, interleaved, after one step that warms up."""
    timings = compare({name: partial(step, x, y) for name, step in steps.items()}, repeats=repeats, warmup=1)
    return {name: timing.median for name, timing in timings.items()}


def single(x: Tensor, y: Tensor, frame: tuple[int, int, int], width: int, repeats: int) -> list[dict[str, Any]]:
    """Rows of the networks in one process."""
    steps, rows = {}, []
    for name, (net, step) in one_process(frame, width).items():
        steps[name] = partial(lambda x, y, net, step, optimiser: step(net, x, y, optimiser),
                              net=net, step=step, optimiser=SGD(net.parameters()))  # fmt: skip
        held = [*net.parameters(), *net.buffers()]
        rows.append({"row": name, "devices": 1, "parameters": sum(p.numel() for p in net.parameters()),
                     "peak_bytes": peak(steps[name], held, x, y)})  # fmt: skip
    seconds = seconds_of(steps, x, y, repeats)
    return [row | {"steps_a_second": 1 / seconds[row["row"]]} for row in rows]


def pipelines(
    name: str, make: Callable[[], SidewaysNet], x: Tensor, y: Tensor, micros: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Rows of the learning rule and of GPipe with a process for each module of the same network."""
    rows = []
    for micro in (None, *micros):
        net = make()
        given = net, len(x), x.shape[1], SGD
        with PipelineProcesses(*given) if micro is None else GPipeProcesses(*given, micro) as processes:
            seconds = seconds_of({"step": processes.step}, x, y, repeats)["step"]
        twin = make()
        optimiser = SGD(twin.parameters())
        step = (lambda x, y, twin=twin, o=optimiser: sideways_step(twin, x, None, y, o)) if micro is None else (
            lambda x, y, twin=twin, o=optimiser, micro=micro: gpipe_step(twin, x, y, o, micro)
        )  # fmt: skip
        said = f"Sideways, flush {net.flush}" if micro is None else f"GPipe, {micro} micro-batches"
        rows.append({
            "row": f"{said}, {name}", "devices": net.depth, "parameters": sum(p.numel() for p in twin.parameters()),
            "peak_bytes": peak(step, [*twin.parameters(), *twin.buffers()], x, y), "steps_a_second": 1 / seconds,
        })  # fmt: skip
    return rows


def sleepers(depth: int, seconds: float, flush: str = "hold") -> SidewaysNet:
    return SidewaysNet([Sleeper(CLASSES, seconds, SLEEPING) for _ in range(depth)], (CLASSES,), flush=flush)


def schedule_figure(schedules: dict[str, Schedule]) -> str:
    """An SVG of which device works on what, a panel for each schedule, with the bubble in its title."""
    with style():
        width = max(step for schedule in schedules.values() for _, step in schedule) + 1
        figure = new_figure(0.42 * width + 0.8, 1.5 * len(schedules) + 0.2)
        axes = figure.subplots(len(schedules), 1, squeeze=False)[:, 0]
        for place, (name, schedule) in zip(axes, schedules.items(), strict=True):
            devices = max(device for device, _ in schedule)
            for (device, step), label in schedule.items():
                colour = COLOURS[0] if label.startswith("F") else COLOURS[2]
                place.barh(device, 0.92, 0.8, step + 0.04, facecolor=colour, alpha=0.3, edgecolor=GRID)
                place.text(step + 0.5, device, label, ha="center", va="center", fontsize=6, color=INK)
            place.set(xlim=(0, width), ylim=(0.4, devices + 0.6), yticks=range(1, devices + 1), ylabel="device")
            place.grid(visible=False)
            place.set_title(f"{name}: {100 * bubble(schedule):.0f} % of the steps idle", loc="left", fontsize=8)
        axes[-1].set_xlabel("computation step")
        return render(figure, "schedules", "Schedules of GPipe and Sideways", {})


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int, default=32, help="side of a frame in pixels")
    parser.add_argument("--width", type=int, default=8, help="channels of the narrowest units")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--asleep", type=int, nargs="*", default=[2, 4, 8], help="devices of the sleeping pipelines")
    parser.add_argument("--nap", type=float, default=0.01, help="seconds of a sleeping module's forward pass")
    parser.add_argument("--micro", type=int, nargs="+", help="micro-batches of GPipe; default: one a frame, and 4")
    parser.add_argument("--folder", metavar="FOLDER", type=Path, help="writes the table and the schedules")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frame, micros = (3, args.size, args.size), args.micro or [args.frames, 4]
    x, y = torch.randn(args.batch, args.frames, 3 * args.size**2), torch.arange(args.batch) % CLASSES
    rows = single(x, y, frame, args.width, args.repeats)
    vgg = partial(video_vgg, "vgg_8", frame, CLASSES, args.width, unshuffle=2)
    rows += pipelines("VGG in two processes", lambda: halves(vgg()), x, y, micros, args.repeats)
    for depth in args.asleep:
        z, said, repeats = torch.randn(SLEEPING, args.frames, CLASSES), f"{depth} asleep", min(args.repeats, 2)
        make = partial(sleepers, depth, args.nap)
        rows += pipelines(said, make, z, y[:SLEEPING], micros, repeats)
        if depth <= args.frames:
            rows += pipelines(said, partial(make, flush="drop"), z, y[:SLEEPING], [], repeats)
    print(f"{'':36}{'devices':>8}{'parameters':>12}{'peak KiB':>10}{'steps/s':>9}")
    for row in rows:
        print(f"{row['row']:36}{row['devices']:>8}{row['parameters']:>12}{row['peak_bytes'] / 1024:>10.0f}"
              f"{row['steps_a_second']:>9.2f}")  # fmt: skip
    if args.folder:
        drawn = {"GPipe, 4 micro-batches": gpipe_schedule(3, 4), "Sideways, 8 frames": sideways_schedule(3, 8)}
        write_all({"competitors.csv": table(rows), "schedules.svg": schedule_figure(drawn)}, args.folder)
    write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
