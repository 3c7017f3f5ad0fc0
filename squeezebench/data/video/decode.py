"""Frames of a clip, by PyAV (FFmpeg): counted by decoding, chosen evenly, resized, RGB.

A container's own frame count is often wrong (UCF11's MPEG files have none), so frames are counted by decoding. The
packets, which are counted without decoding, tell which frames to convert on the way; only if fewer or more frames come
out than there are packets is the clip decoded again. One thread decodes a clip and skips packets that cannot be
decoded, so that the same file gives the same frames everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.data.frames import choose_steps

Size = tuple[int, int]  # (height, width)
Kept = TypeVar("Kept")

NO_FRAME = "no frame can be decoded"

_CONTENT = (  # FFmpeg's errors that are the file's fault
    av.error.InvalidDataError, av.error.EOFError, av.error.PatchWelcomeError, av.error.ArgumentError,
    av.error.DecoderNotFoundError, av.error.DemuxerNotFoundError, av.error.UndefinedError, av.error.UnknownError,
)  # fmt: skip


class ClipError(InputError):
    """A clip that cannot be used; the message says why, without the clip's name."""


@dataclass(frozen=True)
class Scan:
    """What decoding a whole clip found."""

    frames: int  # that can be decoded
    damaged: int  # packets that cannot


def sample(
    path: Path, choose: Callable[[int], np.ndarray], keep: Callable[[np.ndarray], Kept]
) -> tuple[Scan, dict[int, Kept]]:
    """The frames at `choose(number of decodable frames)`, each as `keep` makes it from (H, W, 3) uint8 RGB, by index.

    Raises ClipError if there is no frame at all.
    """
    total = _packets(path)
    while True:
        wanted, kept = set(map(int, choose(total))), {}
        frames = damaged = 0
        for frame in _decode(path):
            if frame is not None and frames in wanted:
                kept[frames] = keep(frame.to_ndarray(format="rgb24"))
            frames, damaged = frames + (frame is not None), damaged + (frame is None)
        if frames == 0:
            raise ClipError(NO_FRAME)
        if frames == total:
            return Scan(frames, damaged), kept
        total = frames


def spread(total: int, frames: int) -> np.ndarray:
    """Indices (F,) int64 of F = min(total, frames) frames: the middles of `frames` equal segments, or all of them."""
    return choose_steps(np.array([total]), min(total, frames), frames, None)[0][0]


def check_first_frame(path: Path) -> None:
    """Raises ClipError if no frame comes out of the clip; reads as far as its first one."""
    if not any(frame is not None and frame.to_ndarray(format="rgb24").size for frame in _decode(path)):
        raise ClipError(NO_FRAME)


def resize(image: np.ndarray, size: Size, share: float | None = None) -> np.ndarray:
    """(h, w, C) or (h, w) uint8 -> (*size, C) or size uint8.

    share: first cut a square out of the middle, with this share of the shorter side; None: squeeze the whole image.
    """
    if share is not None:
        side = round(min(image.shape[:2]) * share)
        top, left = ((length - side) // 2 for length in image.shape[:2])
        image = image[top : top + side, left : left + side]
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] and size[1] < image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _packets(path: Path) -> int:
    """How many packets of the clip hold something: the number of its frames, if it is as it should be."""
    with _opened(path) as (container, stream):
        count = 0
        try:
            for packet in container.demux(stream):
                count += packet.size > 0
        except _CONTENT:
            pass  # decoding tells how many frames there are
        return count


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    """The container and its first video stream.

    Raises ClipError for a file that is no video; what the machine is to blame for (no such file, no
    permission, a disk error) stays an OSError.
    """
    if path.stat().st_size == 0:
        raise ClipError("the file is empty (0 bytes)")
    try:
        container = av.open(str(path))
    except _CONTENT as error:
        raise ClipError(f"not a readable video ({error.strerror})") from None
    with container:
        if not container.streams.video:
            raise ClipError("there is no video stream in it")
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _decode(path: Path) -> Iterator[av.VideoFrame | None]:
    """Every decodable frame in order, and None for each packet that cannot be decoded. Raises as `_opened` does."""
    with _opened(path) as (container, stream):
        packets = container.demux(stream)  # after an error of its own it ends
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
            except _CONTENT:
                yield None
                continue
            if packet is None:
                return
            yield from frames
