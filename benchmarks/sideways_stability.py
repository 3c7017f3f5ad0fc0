"""The stability study of (Skip-)Sideways, on synthetic or real videos.

    python -m benchmarks.sideways_stability stability [--epochs 6] [--seeds 0 1 2] [--folder FOLDER]
    python -m benchmarks.sideways_stability clips --clips FOLDER --lists FOLDER [--seeds 0 1 2] [--folder FOLDER]

`stability`: accuracy on the training clips for learning rates x frame rates x Sideways / Skip-Sideways, beside exact
back-propagation (BP) on the same networks with the same batch normalisation, and for montages of two or three clips,
one after the other or interleaved, as a table and as the supplementary's Figures 3 to 5. Its classes are the moving
shapes, which Sideways can learn too: between motions, which it cannot see, nothing would be stable or unstable.
`clips`: the same on J-HMDB, 32 frames of a clip at 30 frames a second, 16, 8 and 4 at 15, 7 and 4, with accuracy on
held-out clips as well; a montage has the first 16 frames of each of its clips, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.sideways_figures import table, write_all, write_study
from benchmarks.studies import real_frames
from benchmarks.studies.sideways_stability import LARGE_STEPS, Setting, grid, stability
from benchmarks.timing import machine, parser_of, write_json
from squeezebench.data.sources import moving_shapes
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.sideways.vgg import Shortcut, VideoVGG, video_vgg

NETWORKS = {"Sideways": "none", "Skip-Sideways": "concat", "BP": "none", "BP, concat": "concat"}


def network(shortcut: str, classes: int) -> VideoVGG:
    """Four units: the third and the top read the first and the second past the one between."""
    return VideoVGG((1, 16, 16), classes, (8, 8, 16, 32), (2, 3), shortcut, span=2)


@lru_cache
def shapes(every: int, groups: int) -> tuple[Tensor, Tensor]:
    """All clips (8 groups, 16, 256) in units of their standard deviation, labelled by the shape that moves."""
    data = moving_shapes.load(moving_shapes.Options(every=every, groups=groups))
    x = torch.from_numpy(data.x).float()
    return x / x.std(), torch.from_numpy(data.group)


Rows = list[dict[str, Any]]

PLAIN = grid(["Sideways", "Skip-Sideways"])
CUTS = grid(["Skip-Sideways"], every=(1,), clips=(2, 3), interleaved=(False, True))
EXACT = [replace(setting, rule="backpropagation_per_tick") for setting in grid(["BP", "BP, concat"])]  # the control


def study(settings: Sequence[Setting], seeds: Sequence[int], epochs: int, groups: int) -> Iterator[Rows]:
    """The rows of each training: every setting from each seed (SGD, batches of 16), on the training clips."""
    networks = {name: partial(network, shortcut, groups) for name, shortcut in NETWORKS.items()}
    for seed, setting in product(seeds, settings):
        yield stability([setting], networks, lambda every: shapes(every, groups), epochs, batch=16, seed=seed)


def study_of_clips(
    given: dict[str, object], settings: Sequence[Setting], seeds: Sequence[int], epochs: int, width: int
) -> Iterator[Rows]:
    """The same in bfloat16 on training and held-out clips: VGG8 on patches of 2 x 2 pixels of real clips."""
    frame, classes = real_frames.frame_shape(given), real_frames.classes(given)

    def made(shortcut: Shortcut) -> VideoVGG:
        return arrange(video_vgg("vgg_8", frame, classes, width, shortcut, unshuffle=2), torch.channels_last)

    networks = {name: partial(made, shortcut) for name, shortcut in NETWORKS.items()}
    scale = real_frames.clips_of(given, "train")[0].float().std()

    def clips(every: int, part: str, cut: bool) -> tuple[Tensor, Tensor]:
        x, y = real_frames.clips_of(given, part)
        return ((x[:, : x.shape[1] // 2] if cut else x)[:, ::every] - 0.5) / scale.half(), y

    for seed, setting in product(seeds, settings):
        train, held_out = (partial(clips, part=part, cut=setting.clips > 1) for part in ("train", "test"))
        how = {"held_out": held_out, "batch": 16, "seed": seed, "steps": LARGE_STEPS}
        yield stability([setting], networks, train, epochs, **how)


def tell(last: dict[str, Any]) -> None:
    """Print the last row of a training."""
    held_out = f" held out {last['held_out']:.3f}" if "held_out" in last else ""
    print(f"{last['network']:14} lr {last['learning_rate']:<5} every {last['every']} clips {last['clips']} "
          f"{'interleaved' if last['interleaved'] else '':11} seed {last['seed']} loss {last['loss']:.3f} "
          f"accuracy {last['accuracy']:.3f}{held_out}", flush=True)  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("what", choices=("stability", "clips"))
    parser.add_argument("--epochs", type=int, default=6, help="of each training")
    parser.add_argument("--groups", type=int, default=16, help="stability: shapes, eight clips each")
    parser.add_argument("--clips", help="clips: their folder; without: synthetic ones, for a dry run")
    parser.add_argument("--lists", help="clips: the folder of the official lists")
    parser.add_argument("--size", type=int, default=48, help="clips: height of a frame")
    parser.add_argument("--frames", type=int, default=real_frames.FRAMES, help="clips: of a clip at full rate")
    parser.add_argument("--width", type=int, default=16, help="clips: channels of the narrowest units")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="+", help="only these learning rates")
    parser.add_argument("--folder", metavar="FOLDER", type=Path, help="writes the table and its figures")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    settings = [setting for setting in [*PLAIN, *CUTS, *EXACT] if not args.rates or setting.learning_rate in args.rates]
    if args.what == "clips":
        given = real_frames.options(args.clips, args.lists, args.size, args.frames)
        classes = real_frames.classes(given)
        trainings = study_of_clips(given, settings, args.seeds, args.epochs, args.width)
    else:
        classes = args.groups
        trainings = study(settings, args.seeds, args.epochs, args.groups)
    rows: Rows = []
    for training in trainings:
        tell(training[-1])
        rows += training
        if args.folder:  # an hour of training is not lost with the next one
            write_all({"stability.csv": table(rows)}, args.folder)
    if args.folder:
        write_study(rows, args.folder, 1 / classes)
    write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
