"""Motion classes by (Skip-)Sideways and by back-propagation, and the stability study, on synthetic videos.

    python -m benchmarks.sideways_stability recognise [--epochs 30] [--every 2] [--json FILE]
    python -m benchmarks.sideways_stability stability [--epochs 6] [--groups 16] [--labels shapes] [--folder FOLDER]

`recognise`: accuracy on the validation part of every rule and shortcut on eight motions that no single frame tells
apart (12.5 % by chance): without shortcuts no rule can see motion. `stability`: accuracy on the training clips for
learning rates x frame rates x Sideways / Skip-Sideways, and for montages of two or three clips, one after the other or
interleaved, as a table and as the supplementary's Figures 3 to 5. Its classes are the moving shapes, which Sideways can
learn too: between motions, which it cannot see, nothing would be stable or unstable.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache, partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.sideways_figures import write_study
from benchmarks.studies.sideways_stability import Setting, accuracy, cosine, grid, stability, train
from benchmarks.timing import machine, write_json
from squeezebench.data.sources import moving_shapes
from squeezebench.data.task import load_task
from squeezebench.nn.sideways.vgg import VideoVGG
from squeezebench.schema.task import TaskSpec

NETWORKS = {"Sideways": "none", "Skip-Sideways": "concat", "Skip-Sideways, sum": "sum"}


def network(shortcut: str, classes: int = 8) -> VideoVGG:
    """Four units: the third and the top read the first and the second past the one between."""
    return VideoVGG((1, 16, 16), classes, (8, 8, 16, 32), (2, 3), shortcut, span=2)


@lru_cache
def videos(every: int, groups: int, part: str) -> tuple[Tensor, Tensor]:
    """x (N, 16, 256) in units of the training clips' standard deviation, y (N,)."""
    options = {"every": every, "groups": groups}
    task = load_task(TaskSpec(name="moving_shapes", options=options, normalise="std"))
    batch = task.batch(part, range(task.size(part)))
    return torch.from_numpy(batch.x), torch.from_numpy(batch.y)


@lru_cache
def shapes(every: int, groups: int) -> tuple[Tensor, Tensor]:
    """All clips (8 groups, 16, 256) in units of their standard deviation, labelled by the shape that moves."""
    data = moving_shapes.load(moving_shapes.Options(every=every, groups=groups))
    x = torch.from_numpy(data.x).float()
    return x / x.std(), torch.from_numpy(data.group)


def recognise(epochs: int, every: int, groups: int, rate: float) -> list[dict[str, object]]:
    """Train each combination once from seed 0 (Adam, cosine); printed as they end."""
    rows = []
    for rule in ("sideways", "backpropagation"):
        for shortcut in NETWORKS.values():
            torch.manual_seed(0)
            net, (x, y) = network(shortcut), videos(every, groups, "train")
            started = time.process_time()
            optimiser = torch.optim.Adam(net.parameters(), lr=rate)
            history = train(net, x, y, optimiser, epochs, rule=rule, schedule=cosine)
            row = {"rule": rule, "shortcut": shortcut, "train": history[-1]["accuracy"],
                   "validation": accuracy(net, *videos(every, groups, "validation")),
                   "cpu_seconds": time.process_time() - started}  # fmt: skip
            print(f"{rule:16} {shortcut:7} train {row['train']:.3f} validation {row['validation']:.3f} "
                  f"{row['cpu_seconds']:.0f} s of one core", flush=True)  # fmt: skip
            rows.append(row)
    return rows


def study(epochs: int, groups: int, labels: str) -> list[dict[str, object]]:
    """Every setting once from seed 0 (SGD, batches of 16), on the training clips."""
    classes = groups if labels == "shapes" else 8
    networks = {name: partial(network, shortcut, classes) for name, shortcut in NETWORKS.items()}
    clips_of = {"shapes": lambda every: shapes(every, groups), "motions": lambda every: videos(every, groups, "train")}
    plain = grid(["Sideways", "Skip-Sideways"])
    cuts = [
        Setting("Skip-Sideways", rate, clips=clips, interleaved=mixed)
        for rate in (0.01, 0.1, 1.0)
        for clips in (2, 3)
        for mixed in (False, True)
    ]
    rows = []
    for setting in [*plain, *cuts]:
        measured = stability([setting], networks, clips_of[labels], epochs, batch=16)
        last = measured[-1]
        print(f"{setting.network:14} lr {setting.learning_rate:<5} every {setting.every} clips {setting.clips} "
              f"{'interleaved' if setting.interleaved else '':11} loss {last['loss']:.3f} "
              f"accuracy {last['accuracy']:.3f}", flush=True)  # fmt: skip
        rows += measured
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recognise", "stability"))
    parser.add_argument("--epochs", type=int, help="default: 30, of each training of the study 6")
    parser.add_argument("--every", type=int, default=2, help="recognise: every n-th frame of the smooth videos")
    parser.add_argument("--groups", type=int, help="shapes, eight clips each; default: 180, of the study 16")
    parser.add_argument("--labels", choices=("shapes", "motions"), default="shapes", help="stability: the classes")
    parser.add_argument("--rate", type=float, default=0.01, help="recognise: Adam's learning rate")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--folder", metavar="FOLDER", type=Path, help="stability: writes its table and its figures")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.what == "recognise":
        rows = recognise(args.epochs or 30, args.every, args.groups or 180, args.rate)
    else:
        groups = args.groups or 16
        rows = study(args.epochs or 6, groups, args.labels)
        if args.folder:
            write_study(rows, args.folder, 1 / (groups if args.labels == "shapes" else 8))
    if args.json:
        write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
