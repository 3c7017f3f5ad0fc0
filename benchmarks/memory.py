"""Peak memory of whole runs, each a process of its own: the end-to-end task, a very wide network, a feature cache.

    python -m benchmarks.memory [--only TEXT] [--steps 3] [--json FILE]

The clips are synthetic and have the numbers and sizes of the real ones: 274 of UCF11 as 12 frames of 57,600 bytes
(config/real/ucf11_end_to_end.yaml), and 6,766 of HMDB51 as 8 steps of 1,280 features. A few steps of training are
enough, since every step needs the same memory. The peak is the resident set, memory maps included. Of the very wide
network the table also says how many times the 16 bytes that Adam keeps for a parameter (value, gradient, two moments).
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.scale import measured
from benchmarks.timing import machine, parser_of, write_json

LIMIT = 2_000  # megabytes, of the end-to-end task
ADAM = 16  # bytes for each parameter: float32 value, gradient and two moments
UCF11, WIDE, HMDB51 = (274, 12, 57_600), (48, 6, 57_600), (6_766, 8, 1_280)


@dataclass(frozen=True)
class Case:
    """A run: the shape of its data, its method with settings, the limit, and the parameters to compare with."""

    shape: tuple[int, int, int]
    method: str
    settings: tuple[str, ...]
    frames: int | None = 6
    limit: float | None = None
    parameters: int | None = None


TENSOR = ("in_modes=8x20x20x18", "hidden_modes=4x4x4x4", "rank=4", "compact_to=cores")
CASES = {
    "end to end, dense": Case(UCF11, "dense", ("hidden=256", "dropout=0.5"), limit=LIMIT),
    "end to end, magnitude": Case(UCF11, "magnitude", ("hidden=256", "dropout=0.5", "ratio=100"), limit=LIMIT),
    "end to end, vib_lstm": Case(UCF11, "vib_lstm", ("hidden=256", "dropout=0.5", "ratio=100"), limit=LIMIT),
    "end to end, bt_lstm": Case(UCF11, "bt_lstm", ("hidden=256", *TENSOR, "blocks=2"), limit=LIMIT),
    "D 57,600, H 2048": Case(WIDE, "dense", ("hidden=2048",), parameters=4 * 2048 * (57_600 + 2048 + 2)),
    "feature cache": Case(HMDB51, "dense", ("hidden=64",), frames=None),
}


def write_clips(folder: Path, shape: tuple[int, int, int]) -> None:
    """Arrays that `source: file` maps into memory: bytes for pixels, float32 for features. Written in pieces."""
    folder.mkdir()
    clips, _, inputs = shape
    dtype = np.uint8 if inputs == UCF11[2] else np.float32
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", dtype, shape)
    rng = np.random.default_rng(0)
    for start in range(0, clips, 64):
        piece = x[start : start + 64]
        x[start : start + 64] = rng.integers(0, 256, piece.shape, np.uint8)
    x.flush()
    np.save(folder / "y.npy", np.arange(clips) % 9)


def command(case: Case, clips: Path, out: Path, steps: int) -> list[str]:
    """`squeezebench run` with the split, the frames and the batch of the end-to-end task."""
    words = ["--split", "random", "--test-share", "0.4", "--validation-share", "0.15", "--normalise", "standard"]
    words += ["--frames", str(case.frames), "--sampling", "random"] if case.frames else []
    words += [word for setting in case.settings for word in ("--set", setting)]
    words += ["--train", "batch_size=16", "--steps", str(steps), "--threads", "1", "--no-progress"]
    return [sys.executable, "-m", "squeezebench", "run", "--task", f"file:{clips}", "--method", case.method,
            *words, "--out", str(out)]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="the cases whose name has this text")
    parser.add_argument("--steps", type=int, default=3, help="gradient steps of each run")
    wanted = parser.parse_args(argv)
    chosen = {name: case for name, case in CASES.items() if wanted.only in name}
    if not chosen:
        raise SystemExit(f"--only: no case has {wanted.only!r} in its name; they are {', '.join(CASES)}")
    results = {}
    print(f"{'peak memory of a run':24}{'MB':>8}{'limit MB':>10}{'ratio':>8}{'seconds':>9}")
    with tempfile.TemporaryDirectory() as place:
        for number, (name, case) in enumerate(chosen.items()):
            clips = Path(place) / "x".join(map(str, case.shape))
            if not clips.exists():
                write_clips(clips, case.shape)
            cost = measured(command(case, clips, Path(place) / f"run{number}", wanted.steps), Path(place))
            limit = case.parameters * ADAM / 1e6 if case.parameters else case.limit
            results[name] = asdict(cost) | {"limit_megabytes": limit, "ratio": limit and cost.megabytes / limit}
            ratio = f"{limit:10,.0f}{cost.megabytes / limit:8.2f}" if limit else f"{'-':>10}{'-':>8}"
            print(f"{name:24}{cost.megabytes:8,.0f}{ratio}{cost.seconds:9.1f}", flush=True)
    write_json(wanted.json, {"machine": machine(), "peak_memory": results})


if __name__ == "__main__":
    main()
