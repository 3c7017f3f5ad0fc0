"""Where (Skip-)Sideways ends, on synthetic shapes that every frame shows.

    python -m benchmarks.sideways_limits gap [--units vgg_4 vgg_8] [--seeds 0 1 2] [--folder FOLDER]
    python -m benchmarks.sideways_limits cosine [--units vgg_4 vgg_8] [--seeds 0] [--folder FOLDER]

`gap`: held-out accuracy minus that of back-propagation with the same batch norm, on the same network, against the
pixels that a shape moves between a pseudo-gradient and its Jacobian. `cosine`: the cosine between the pseudo-gradient
and the gradient of each unit along the training, for a slow and for a fast motion. Nothing is chosen by these numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.sideways_figures import band, draw, table, write_all
from benchmarks.studies.sideways_limits import AGAINST, ARMS, Clips, cosine_rows, limit_rows, relative
from benchmarks.timing import machine, parser_of, write_json
from squeezebench.data.task import load_task
from squeezebench.nn.sideways.vgg import VideoVGG, video_vgg
from squeezebench.schema.task import TaskSpec

SIZE = 16  # pixels of a frame's side
MOTIONS = (0.0625, 0.25, 0.5, 1.0, 2.0, 4.0)  # times the source's own speed, 0.72 pixels a frame on average
TWO = (0.25, 2.0)  # of the cosines


@lru_cache
def clips(motion: float, part: str, groups: int, frames: int) -> Clips:
    """The clips of a part, in units of the training clips' standard deviation. Above 1, frames are left out."""
    if motion > 1 and motion != int(motion):
        raise ValueError(f"motion {motion}: above 1 give whole numbers, every n-th frame")
    pace = {"speed": motion} if motion <= 1 else {"every": int(motion)}
    options = {"appearances": 4, "groups": groups, "frames": frames, "size": SIZE} | pace
    task = load_task(TaskSpec(name="moving_shapes", options=options, normalise="std"))
    batch = task.batch(part, range(task.size(part)))
    return torch.from_numpy(batch.x), torch.from_numpy(batch.y)


def network(units: str, width: int, shortcut: str) -> VideoVGG:
    return video_vgg(units, (1, SIZE, SIZE), 4, width, shortcut, span=3)


def gap_figure(rows: Sequence[dict[str, Any]]) -> str:
    """Held-out accuracy relative to back-propagation, in points, against the pixels of the largest gap."""
    differences = relative(rows)
    panels = []
    for units in sorted({row["units"] for row in differences}):
        here = [row for row in differences if row["units"] == units]
        bands = {
            arm: band([(row["pixels_a_gap"], 100 * row["held_out"]) for row in here if row["arm"] == arm])
            for arm in AGAINST if any(row["arm"] == arm for row in here)
        }  # fmt: skip
        panels.append((f"{units} units", bands))
    up = "held-out accuracy minus BP, points"
    return draw(panels, "pixels moved in a gap", up, "Accuracy against the gap", guide=0, logarithmic=True)


def cosine_figures(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By file name: the cosine of each unit of a network over the epochs, a panel for each rule and motion."""
    files = {}
    for units in sorted({row["units"] for row in rows}):
        panels = []
        for arm, motion in dict.fromkeys((row["arm"], row["motion"]) for row in rows):
            here = [row for row in rows if (row["units"], row["arm"], row["motion"]) == (units, arm, motion)]
            bands = {
                f"unit {unit}": band([(row["epoch"], row["cosine"]) for row in here if row["unit"] == unit])
                for unit in range(1, units + 1)
            }
            panels.append((f"{arm}, motion {motion:g}", bands))
        title = f"Cosine to the true gradient of {units} units"
        files[f"cosine_{units}.svg"] = draw(
            panels, "epoch", "cosine", title, guide=0, limits=(-1.05, 1.05), ordered=True
        )
    return files


def told(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Print each row as it comes."""
    for row in rows:
        values = (f"{name} {value:.3f}" if isinstance(value, float) else str(value) for name, value in row.items())
        print(" ".join(values), flush=True)
        yield row


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=("gap", "cosine"))
    parser.add_argument("--units", nargs="+", choices=("vgg_4", "vgg_8"), default=["vgg_4", "vgg_8"])
    parser.add_argument("--motions", nargs="+", type=float, help="times the source's own speed")
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2, of the cosines 0")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--groups", type=int, default=120)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.01, help="Adam's learning rate")
    parser.add_argument("--folder", metavar="FOLDER", type=Path, help="writes the table and the figure")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    shown = partial(clips, groups=args.groups, frames=args.frames)
    given = {"epochs": args.epochs, "rate": args.rate}
    rows: list[dict[str, Any]] = []
    for units in args.units:
        make = partial(network, units, args.width)
        if args.what == "gap":
            seeds = args.seeds or [0, 1, 2]
            measured = limit_rows(args.motions or MOTIONS, ARMS, make, shown, seeds=seeds, size=SIZE, **given)
        else:
            arms = [arm for arm in ARMS if arm.name in AGAINST]
            measured = cosine_rows(args.motions or TWO, arms, make, shown, seeds=args.seeds or [0], **given)
        for row in told(measured):
            rows.append(row)
            if args.folder:  # an hour of training is not lost with the next one
                write_all({f"{args.what}.csv": table(rows)}, args.folder)
    if args.folder:
        write_all({"gap.svg": gap_figure(rows)} if args.what == "gap" else cosine_figures(rows), args.folder)
    write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
