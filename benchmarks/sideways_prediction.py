"""Full-Res networks that predict the frame eight frames ahead: Skip-Sideways, Sideways and back-propagation.

    python -m benchmarks.sideways_prediction shapes [--epochs 20] [--folder FOLDER]
    python -m benchmarks.sideways_prediction clips --clips FOLDER --lists FOLDER [--size 48] [--folder FOLDER]

Held-out error of each rule and seed, beside that of predicting that nothing moves, and pictures as the supplementary's
Figure 6 (Malinowski et al., CVPR 2021): what went in, what came eight frames later, and what each network predicted.
Back-propagation normalises per tick, as the rule does. Of real clips only those count that have all 32 frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sideways_figures import band, draw, table, write_all
from benchmarks.studies import real_frames
from benchmarks.studies.full_res import BLOCKS, FullRes
from benchmarks.studies.prediction import Pairs, predictions
from benchmarks.studies.sideways_stability import LARGE_STEPS, STEPS
from benchmarks.timing import machine, parser_of, write_json
from squeezebench.data.sources import moving_shapes
from squeezebench.report.drawing.svg import new_figure, render, style

MOMENTS = 6  # columns of the pictures


def shapes(groups: int, frames: int, size: int, part: str) -> Tensor:
    """Grey frames (N, T, 1, H, W) in [-1, 1]: the first three quarters of the groups train, the others are held out."""
    data = moving_shapes.load(moving_shapes.Options(groups=groups, frames=frames, size=size))
    kept = (data.group < groups * 3 // 4) == (part == "train")
    return torch.from_numpy(data.x[kept]).float().unflatten(-1, (1, size, size)) / 127.5 - 1


def real(given: dict[str, Any], part: str) -> Tensor:
    """Frames of real clips, (N, T, 3, H, W) in [-1, 1]."""
    x, _ = real_frames.clips_of(given, part, whole=True)
    return (2 * x - 1).unflatten(-1, real_frames.frame_shape(given))


@torch.no_grad()
def pictures(held_out: Pairs, networks: dict[str, FullRes], clip: int = 0) -> str:
    """An SVG: rows for the frames that went in, those that came later, and each network's; columns are moments."""
    x, later = held_out.inputs([clip]), held_out.targets([clip])[0]
    rows = {"input": x[0].unflatten(-1, later.shape[1:]), f"{held_out.ahead} frames later": later}
    rows |= {name: net.eval().frame_logits(x)[0] for name, net in networks.items()}
    moments = torch.linspace(0, len(later) - 1, min(MOMENTS, len(later))).long()
    with style():
        figure = new_figure(1.0 * len(moments) + 1.2, 0.9 * len(rows))
        axes = figure.subplots(len(rows), len(moments), squeeze=False)
        for line, (name, frames) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
            for place, moment in zip(line, moments, strict=True):
                image = (frames[moment].permute(1, 2, 0).clamp(-1, 1) + 1) / 2
                grey = {"cmap": "gray", "vmin": 0, "vmax": 1} if image.shape[-1] == 1 else {}
                place.imshow(image.squeeze(-1).numpy(), interpolation="nearest", **grey)
                place.set(xticks=[], yticks=[])
                place.grid(visible=False)
        title = f"Frames predicted {held_out.ahead} ahead"
        return render(figure, f"pictures-{clip}", title, {})


def curves(rows: Sequence[dict[str, Any]]) -> str:
    """The held-out error over that of predicting that nothing moves, by epoch."""
    arms = dict.fromkeys(row["arm"] for row in rows)
    bands = {arm: band([(row["epoch"] + 1, row["relative"]) for row in rows if row["arm"] == arm]) for arm in arms}
    return draw([("", bands)], "epoch", "held-out error / standing", "Prediction error", guide=1)


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=("shapes", "clips"))
    parser.add_argument("--clips", help="the folder of the clips; without: synthetic ones, for a dry run")
    parser.add_argument("--lists", help="the folder of the official lists")
    parser.add_argument("--size", type=int, help="side of a shape's frame (16), height of a clip's (48)")
    parser.add_argument("--frames", type=int, default=32, help="of a clip, those to predict included")
    parser.add_argument("--groups", type=int, default=40, help="shapes: eight clips each, a quarter held out")
    parser.add_argument("--ahead", type=int, default=BLOCKS, help="blocks of the network, and frames ahead")
    parser.add_argument("--width", type=int, default=8, help="channels from the third block on; the paper's: 32")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rate", type=float, default=0.003, help="Adam's learning rate")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--folder", metavar="FOLDER", type=Path, help="writes the table, the curves and the pictures")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.what == "shapes":
        parts, steps = [shapes(args.groups, args.frames, args.size or 16, part) for part in ("train", "test")], STEPS
    else:
        steps = LARGE_STEPS
        given = real_frames.options(args.clips, args.lists, args.size or 48, args.frames)
        parts = [real(given, part) for part in ("train", "test")]
    pairs, held_out = (Pairs(frames, args.ahead) for frames in parts)
    rows, networks = [], {}
    given = {"seeds": args.seeds, "epochs": args.epochs, "rate": args.rate, "width": args.width,
             "steps": steps}  # fmt: skip
    for measured, net in predictions(pairs, held_out, **given):
        last = measured[-1]
        print(f"{last['arm']:22} seed {last['seed']} loss {last['loss']:.5f} held out {last['held_out']:.5f} "
              f"standing {last['standing']:.5f} relative {last['relative']:.3f}", flush=True)  # fmt: skip
        rows += measured
        networks.setdefault(last["arm"], net)  # of the first seed
        if args.folder:  # after each network: an hour of training is not lost with the next one
            files = {f"prediction_{args.what}.csv": table(rows), f"prediction_{args.what}.svg": curves(rows)}
            chosen = {len(held_out) // 3, 2 * len(held_out) // 3}  # fixed places, not the best clips
            files |= {f"pictures_{args.what}_{clip}.svg": pictures(held_out, networks, clip) for clip in sorted(chosen)}
            write_all(files, args.folder)
    write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
