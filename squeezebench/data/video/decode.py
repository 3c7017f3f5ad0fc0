"""Frames of a clip, by PyAV (FFmpeg): counted by decoding, chosen evenly, resized, RGB.

A container's own frame count is often wrong (UCF11's MPEG files have none), so a clip is decoded twice: once
to count, once to convert the chosen frames alone. Both passes use one thread and skip packets that cannot be
decoded, so that the same file gives the same frames everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np

from squeezebench.base.errors import InputError

Size = tuple[int, int]  # (height, width)

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


def scan(path: Path) -> Scan:
    """Decode the clip once. Raises ClipError if there is no frame at all."""
    frames = damaged = 0
    for frame in _decode(path):
        frames, damaged = frames + (frame is not None), damaged + (frame is None)
    if frames == 0:
        raise ClipError("no frame can be decoded")
    return Scan(frames, damaged)


def spread(total: int, frames: int) -> np.ndarray:
    """Indices (F,) int64 of F = min(total, frames) frames: the middles of `frames` equal segments, or all of them."""
    if total <= frames:
        return np.arange(total)
    return (2 * np.arange(frames) + 1) * total // (2 * frames)


def read_frames(path: Path, indices: np.ndarray, size: Size | None = None) -> np.ndarray:
    """The frames at `indices` (rising, of the decodable ones) as (F, H, W, 3) uint8 RGB.

    `size` is (height, width); the aspect ratio is not kept (as in the papers' code). Shrinking averages areas,
    enlarging is bilinear (OpenCV INTER_AREA, INTER_LINEAR). None: the clip's own size.
    Raises ClipError if an index is behind the last decodable frame.
    """
    wanted = {int(index): place for place, index in enumerate(indices)}
    last, number = max(wanted), 0
    out: list[np.ndarray | None] = [None] * len(wanted)
    shape: Size | None = size
    for frame in _decode(path):
        if frame is None:
            continue
        if number in wanted:
            image = frame.to_ndarray(format="rgb24")
            shape = shape or image.shape[:2]  # a clip that changes its size keeps that of its first frame
            out[wanted[number]] = resize(image, shape)
        number += 1
        if number > last:
            break
    if number <= last:
        raise ClipError(f"frame {last} was asked for, but only {number} can be decoded")
    return np.stack(out)


def resize(image: np.ndarray, size: Size) -> np.ndarray:
    """(h, w, C) uint8 -> (*size, C) uint8."""
    if image.shape[:2] == size:
        return image
    shrinks = size[0] < image.shape[0] and size[1] < image.shape[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _decode(path: Path) -> Iterator[av.VideoFrame | None]:
    """Every decodable frame in order, and None for each packet that cannot be decoded.

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
