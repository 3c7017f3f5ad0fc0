"""From clips to the prepared arrays: frames and flow are read in parallel, features computed clip by clip.

What is written, in a folder of its own (see store.py): x.npy (N, T, D), flipped.npy (the mirrored clips, where
asked for), y, length, name, group, classes and the subset_K of the official lists. A clip of fewer than T frames
is padded with zeros; its length says so. The folder is a valid `file` task as well.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from squeezebench.base.contents import digest_of_content
from squeezebench.base.errors import InputError
from squeezebench.data.store import Store, cores
from squeezebench.data.video.clips import Clip
from squeezebench.data.video.decode import ClipError, resize, sample, spread
from squeezebench.data.video.flow import as_image, flow_pairs, mirror, planes_of, read_planes, write_planes
from squeezebench.data.video.options import FrameOptions, cut_share, dtype, flow_size, frame_size, inputs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Views:
    """The frames of one clip that pass through a network: (F, H, W, 3) uint8 for each stream."""

    plain: list[np.ndarray]
    mirrored: list[np.ndarray]  # empty if not asked for
    damaged: int  # packets of the clip that could not be decoded

    @property
    def length(self) -> int:
        return len(self.plain[0])


def read_views(clip: Clip, options: FrameOptions, flow_folder: Path) -> Views:
    """Decode (and compute or read the flow of) one clip. Raises ClipError if it cannot be used."""
    size, share = frame_size(options), cut_share(options)
    rgb, flow = options.stream in ("rgb", "both"), options.stream in ("flow", "both")
    side = flow_size(options)
    image = flow_folder / f"{clip.name}-{digest_of_content(clip.path)[:12]}.png"

    def choose(total: int) -> np.ndarray:
        indices = spread(total, options.frames)
        return indices if not flow else np.union1d(indices, np.concatenate(flow_pairs(indices, total)))

    def keep(frame: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        grey = cv2.cvtColor(resize(frame, side, share), cv2.COLOR_RGB2GRAY) if flow else None
        return resize(frame, size, share) if rgb else None, grey

    scan, kept = sample(clip.path, choose, keep)
    indices = spread(scan.frames, options.frames)
    plain, mirrored = [], []
    if rgb:
        frames = np.stack([kept[index][0] for index in indices.tolist()])
        plain.append(frames)
        mirrored.append(frames[:, :, ::-1])
    if flow:
        if (planes := read_planes(image, len(indices))) is None:
            grey = {index: frame for index, (_, frame) in kept.items()}
            planes = planes_of(grey, indices, scan.frames, options.flow_bound * side[0] / size[0])
            write_planes(image, planes)
        planes = np.stack([resize(plane, size) for plane in planes])
        plain.append(as_image(planes))
        mirrored.append(as_image(mirror(planes)))
    return Views(plain, mirrored if options.flip else [], scan.damaged)


def arrays(options: FrameOptions) -> dict[str, tuple[tuple[int, ...], str]]:
    """What a store of these options holds: name -> (shape of a row, dtype)."""
    names = ("x", "flipped") if options.flip else ("x",)
    return {name: ((options.frames, inputs(options)), dtype(options)) for name in names}


def fill(
    store: Store, clips: Sequence[Clip], options: FrameOptions, flow_folder: Path, network: Any, *,
    workers: int | None = None, progress: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Bring `store` to the end of `clips` from wherever it stands. `network`: a Backbone, or None for pixels.

    Returns what this call did: clips made, seconds, clips/s. A clip that cannot be decoded is noted with its
    reason and gets no row.
    """
    todo = clips[len(store.ledger) :]
    started = time.perf_counter()
    bar = tqdm(total=len(clips), initial=len(store.ledger), unit="clip", desc=store.folder.name[:40],
               disable=not progress, file=sys.stderr, smoothing=0.05)  # fmt: skip
    with bar:
        for clip, views in _read_ahead(todo, options, flow_folder, workers or cores()):
            if isinstance(views, ClipError):
                store.skip(clip.name, str(views))
                log.warning("%s: skipped: %s", clip.name, views)
            else:
                rows = {"x": _row(views.plain, options, network)}
                if options.flip:
                    rows["flipped"] = _row(views.mirrored, options, network)
                note = {"damaged": views.damaged} if views.damaged else {}
                store.add(clip.name, views.length, note, **rows)
            bar.update()
    seconds = time.perf_counter() - started
    return {
        "made": len(todo),
        "seconds": round(seconds, 3),
        "clips_per_second": round(len(todo) / seconds, 3) if todo else None,
    }


def _row(views: list[np.ndarray], options: FrameOptions, network: Any) -> np.ndarray:
    """(T, D): each stream's features side by side, zero past the clip's end."""
    if network is None:
        frames = views[0].transpose(0, 3, 1, 2) if options.planes else views[0]
        features = frames.reshape(len(frames), -1)
    else:
        features = np.concatenate([network.features(frames) for frames in views], axis=1)
        if not (np.abs(features) <= np.finfo(np.float16).max).all():  # NaN fails as well
            raise InputError(f"{options.features}: features that are not finite or do not fit float16")
    row = np.zeros((options.frames, features.shape[1]), dtype(options))
    row[: len(features)] = features
    return row


def _read_ahead(
    clips: Sequence[Clip], options: FrameOptions, flow_folder: Path, workers: int
) -> Iterator[tuple[Clip, Views | ClipError]]:
    """Views of the clips in their order, read by `workers` threads that stay a little ahead.

    FFmpeg and OpenCV give the interpreter free while they work; OpenCV's own threads are off meanwhile.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(workers)
    waiting: deque[tuple[Clip, Future[Views]]] = deque()
    try:
        for clip in clips:
            waiting.append((clip, pool.submit(read_views, clip, options, flow_folder)))
            if len(waiting) > workers:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        cv2.setNumThreads(before)


def _result(clip: Clip, future: Future[Views]) -> tuple[Clip, Views | ClipError]:
    try:
        return clip, future.result()
    except ClipError as error:
        return clip, error
