"""Synthetic clips in the official layout of each data set, for dry runs and tests: no network, seconds to make.

The class is the motion of a bright shape (to and fro, up and down, growing, turning: none of them changes its
class when mirrored); the group is the colours of background and shape, so that clips of one group look alike, as
in the real sets. Lengths vary. The same arguments give the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from squeezebench.base.files import hidden_beside
from squeezebench.base.locks import locked
from squeezebench.data.video.catalogue import video_set
from squeezebench.data.video.options import SYNTHETIC_CLASSES as CLASSES

WIDTH, HEIGHT = 32, 24
SHORTEST, LONGEST = 6, 12  # frames
LISTS = (1, 2, 3)
SEED = 0

_UCF11_WORDS = {"basketball": "shooting", "golf_swing": "golf"}  # in clips' names, if not the class itself


def classes_of(source: str) -> tuple[str, ...]:
    """The first classes of the real set."""
    return video_set(source).classes[:CLASSES]


def make_clips(source: str, folder: Path, per_class: int) -> Path:
    """`per_class` clips for each of CLASSES classes of `source` below `folder`, with the official lists where the
    set has them. What is there already is left as it is; an interrupted call leaves nothing. Returns `folder`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f".{folder.name}.lock")):  # tasks that share the clips are prepared side by side
        if not folder.exists():
            _make(source, folder, per_class)
    return folder


def _make(source: str, folder: Path, per_class: int) -> None:
    temporary = hidden_beside(folder)
    temporary.mkdir()
    try:
        classes = classes_of(source)
        {"ucf11": _ucf11, "ucf101": _ucf101, "hmdb51": _hmdb51}[source](temporary, classes, per_class)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _ucf11(folder: Path, classes: tuple[str, ...], per_class: int) -> None:
    root = folder / "UCF11_updated_mpg"
    for label, name in enumerate(classes):
        word = _UCF11_WORDS.get(name, name)
        (root / name / "Annotation").mkdir(parents=True)
        for group, number, frames in _clips(label, per_class):
            path = root / name / f"v_{word}_{group:02}" / f"v_{word}_{group:02}_{number:02}.mpg"
            write_clip(path, frames, "mpeg1video")


def _ucf101(folder: Path, classes: tuple[str, ...], per_class: int) -> None:
    groups = _groups(per_class)
    parts: dict[str, list[str]] = {f"{kind}list{n:02}": [] for kind in ("train", "test") for n in LISTS}
    for label, name in enumerate(classes):
        for group, number, frames in _clips(label, per_class):
            clip = f"{name}/v_{name}_g{group:02}_c{number:02}.avi"
            write_clip(folder / "UCF-101" / clip, frames, "mpeg4")
            for n in LISTS:
                test = _is_test(group, groups, n)
                parts[f"{'test' if test else 'train'}list{n:02}"].append(clip if test else f"{clip} {label + 1}")
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    parts["classInd"] = [f"{number} {name}" for number, name in enumerate(classes, 1)]
    for name, lines in parts.items():
        (lists / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def _hmdb51(folder: Path, classes: tuple[str, ...], per_class: int) -> None:
    groups = _groups(per_class)
    lists = folder / "testTrainMulti_7030_splits"
    lists.mkdir()
    for label, name in enumerate(classes):
        lines: dict[int, list[str]] = {n: [] for n in LISTS}
        for group, number, frames in _clips(label, per_class):
            clip = f"Film{group:02}_{name}_u_cm_np1_fr_med_{number - 1}.avi"
            write_clip(folder / name / clip, frames, "mpeg4")
            for n in LISTS:
                lines[n].append(f"{clip} {2 if _is_test(group, groups, n) else 1} ")
        for n in LISTS:
            (lists / f"{name}_test_split{n}.txt").write_text("".join(f"{line}\n" for line in lines[n]))


def _groups(per_class: int) -> int:
    """Groups of a class: 3 at least, so that each part of a group-aware split gets one."""
    return max(3, per_class // 2)


def _is_test(group: int, groups: int, number: int) -> bool:
    """About a third of the groups is test, another third in each list; train always has two groups at least."""
    return (group - number) % 3 == 0 and group <= groups - groups % 3


def _clips(label: int, per_class: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(group from 1, number within the group from 1, (F, H, W, 3) uint8) of one class."""
    groups = _groups(per_class)
    for place in range(per_class):
        group, number = place % groups + 1, place // groups + 1
        generator = np.random.default_rng([SEED, label, group, number])
        yield group, number, draw(label, np.random.default_rng([SEED, group]), generator)


def draw(label: int, colours: np.random.Generator, generator: np.random.Generator) -> np.ndarray:
    """(F, HEIGHT, WIDTH, 3) uint8 of the motion `label` (0..CLASSES-1): `colours` sets the group's look,
    `generator` this clip's length, speed and phase."""
    corners = colours.integers(0, 120, (2, 2, 3)).astype(np.uint8)
    background = cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    colour = colours.integers(150, 256, 3).tolist()
    phase, speed = generator.uniform(0, 2 * np.pi), generator.uniform(0.5, 0.9)
    frames = []
    for step in range(int(generator.integers(SHORTEST, LONGEST + 1))):
        image, angle = background.copy(), phase + speed * step
        swing = np.sin(angle)
        centre = np.array([WIDTH / 2, HEIGHT / 2])
        if label == 3:
            reach = 9 * np.array([np.cos(angle / 2), np.sin(angle / 2)])
            cv2.line(image, *((centre + sign * reach).astype(int).tolist() for sign in (-1, 1)), colour, 3)
        else:
            shift = [(10 * swing, 0), (0, 7 * swing), (0, 0)][label]
            radius = 6.5 + 4 * swing if label == 2 else 4
            cv2.circle(image, (centre + shift).astype(int).tolist(), int(radius), colour, -1)
        frames.append(image)
    return np.stack(frames)


def write_clip(path: Path, frames: np.ndarray, codec: str) -> None:
    """Encode (F, H, W, 3) uint8 RGB at 25 frames a second; the container follows from the file's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", "qscale": "3"})
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.bit_rate = 400_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
