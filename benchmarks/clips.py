"""What the features of a clip cost beside the forward pass of the backbone alone, and how many clips a second come out.

    python -m benchmarks.clips [--folder FOLDER] [--features efficientnet_lite0] [--json FILE]

Without a folder of videos (class/clip or class/group/clip), clips of 150 frames of 320 x 240 are drawn. Every variant
works through the same clips; all use all cores. `features` is what `squeezebench data prepare` does: threads decode
ahead while the network runs. `one after the other` decodes a clip, then runs the network on it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch

from benchmarks.timing import compare, machine, parser_of, print_table, write_json
from squeezebench.data.store import opened
from squeezebench.data.video.backbones import backbone
from squeezebench.data.video.clips import Clip, cores
from squeezebench.data.video.features import arrays, fill, read_views
from squeezebench.data.video.options import BACKBONES, FrameOptions
from squeezebench.data.video.own import list_own
from squeezebench.data.video.synthetic import write_clip

FRAMES = 150  # of a drawn clip, 320 x 240


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, and write JSON."""
    parser = parser_of(__doc__)
    parser.add_argument("--folder", type=Path, help="of videos; without it, clips are drawn")
    parser.add_argument("--features", default="efficientnet_lite0", choices=list(BACKBONES))
    parser.add_argument("--weights", default="imagenet", choices=["imagenet", "random"])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", type=int)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        clips = _clips(given.folder, Path(folder), given.clips)
        timings = _measure(given, clips, Path(folder))
    title = f"{given.features}: {len(clips)} clips, {given.frames} frames each, {cores()} cores"
    print_table(title, timings, "backbone alone")
    print(f"{len(clips) / timings['features'].median:.2f} clips a second")
    write_json(given.json, {"title": title, "machine": machine(), "timings": timings})
    return 0


def _clips(folder: Path | None, drawn: Path, count: int) -> list[Clip]:
    if folder is not None:
        clips = list_own(folder)[0].clips
        return [clips[place] for place in np.linspace(0, len(clips) - 1, count).astype(int)]
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    scene = cv2.resize(noise, (320 + 2 * FRAMES, 240), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([scene[:, 2 * step : 2 * step + 320] for step in range(FRAMES)])
    for number in range(count):
        write_clip(drawn / f"{number}.avi", frames, "mpeg4")
    return [Clip(drawn / f"{number}.avi", 0, "", str(number)) for number in range(count)]


def _measure(given: argparse.Namespace, clips: list[Clip], folder: Path):
    torch.set_num_threads(cores())
    cv2.setNumThreads(1)
    shared = {"features": given.features, "frames": given.frames, "size": given.size}
    options = FrameOptions(**shared)
    side = given.size or BACKBONES[given.features].size
    network = backbone(given.features, given.weights, side, "cpu")
    views = [read_views(clip, options, folder).plain[0] for clip in clips]
    runs = iter(range(10**6))

    def features() -> None:
        with opened(folder / f"store-{next(runs)}", {}, arrays(options)) as store:
            fill(store, clips, options, folder / "flow", network)

    def one_after_the_other() -> None:
        for clip in clips:
            network.features(read_views(clip, options, folder).plain[0])

    def flow() -> None:
        with_flow = FrameOptions(**shared, stream="flow")
        for clip in clips[:1]:
            read_views(clip, with_flow, folder / f"flow-{next(runs)}")

    return compare(
        {
            "backbone alone": lambda: [network.features(frames) for frames in views],
            "features": features,
            "one after the other": one_after_the_other,
            "decoding alone, one core": lambda: [read_views(clip, options, folder) for clip in clips],
            "decoding and flow of one clip, one core": flow,
        },
        repeats=given.repeats,
        warmup=1,
    )


if __name__ == "__main__":
    sys.exit(main())
