"""Motion classes by (Skip-)Sideways and by back-propagation, and the stability study, on made-up videos.

    python -m benchmarks.sideways_stability recognise [--epochs 30] [--every 2] [--json FILE]
    python -m benchmarks.sideways_stability stability [--epochs 10] [--groups 40] [--json FILE]

`recognise`: test accuracy of every rule and shortcut on eight motions that no single frame tells apart (12.5 % by
chance): without shortcuts no rule can see motion. `stability`: accuracy on the training clips for learning rates x
frame rates x Sideways / Skip-Sideways, and for montages of two or three clips, one after the other or interleaved.
"""

from __future__ import annotations

import argparse
import time
from functools import lru_cache, partial

import torch
from torch import Tensor

from benchmarks.timing import machine, write_json
from squeezebench.nn.sideways import Setting, VideoVGG, stability, train
from squeezebench.nn.sideways.study import accuracy, cosine, grid
from squeezebench.task import TaskSpec, load_task

NETWORKS = {"Sideways": "none", "Skip-Sideways": "concat", "Skip-Sideways, sum": "sum"}


def network(shortcut: str) -> VideoVGG:
    """Four units: the third and the top read the first and the second past the one between."""
    return VideoVGG((1, 16, 16), 8, (8, 8, 16, 32), (2, 3), shortcut, span=2)


@lru_cache
def videos(every: int, groups: int, part: str) -> tuple[Tensor, Tensor]:
    """x (N, 16, 256) in units of the training clips' standard deviation, y (N,)."""
    options = {"every": every, "groups": groups}
    task = load_task(TaskSpec(name="moving_shapes", options=options, normalise="std"))
    names = ("train", "validation") if part == "train" else (part,)
    batches = [task.batch(name, range(task.size(name))) for name in names]
    x, y = ([torch.from_numpy(getattr(batch, name)) for batch in batches] for name in ("x", "y"))
    return torch.cat(x), torch.cat(y)


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
                   "test": accuracy(net, *videos(every, groups, "test")),
                   "cpu_seconds": time.process_time() - started}  # fmt: skip
            print(f"{rule:16} {shortcut:7} train {row['train']:.3f} test {row['test']:.3f} "
                  f"{row['cpu_seconds']:.0f} s of one core", flush=True)  # fmt: skip
            rows.append(row)
    return rows


def study(epochs: int, groups: int) -> list[dict[str, object]]:
    """Every setting once from seed 0 (SGD), on the training clips."""
    plain = grid(["Sideways", "Skip-Sideways"])
    cuts = [
        Setting("Skip-Sideways", rate, clips=clips, interleaved=mixed)
        for rate in (0.01, 0.1, 1.0)
        for clips in (2, 3)
        for mixed in (False, True)
    ]
    rows = []
    for setting in [*plain, *cuts]:
        made = {name: partial(network, shortcut) for name, shortcut in NETWORKS.items()}
        found = stability([setting], made, lambda every: videos(every, groups, "train"), epochs)
        last = found[-1]
        print(f"{setting.network:14} lr {setting.learning_rate:<5} every {setting.every} clips {setting.clips} "
              f"{'interleaved' if setting.interleaved else '':11} loss {last['loss']:.3f} "
              f"accuracy {last['accuracy']:.3f}", flush=True)  # fmt: skip
        rows += found
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("recognise", "stability"))
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--every", type=int, default=2, help="recognise: every n-th frame of the smooth videos")
    parser.add_argument("--groups", type=int, default=180, help="shapes, eight clips each")
    parser.add_argument("--rate", type=float, default=0.001, help="recognise: Adam's learning rate")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.what == "recognise":
        rows = recognise(args.epochs, args.every, args.groups, args.rate)
    else:
        rows = study(args.epochs, args.groups)
    if args.json:
        write_json(args.json, {"machine": machine(), "rows": rows})


if __name__ == "__main__":
    main()
