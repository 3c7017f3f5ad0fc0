"""TV-L1 optical flow between a frame and the next one, as 8-bit planes, cached as one image a clip.

Flow: Zach, Pock and Bischof (2007), as implemented in OpenCV's contributed modules, at the resolution of the caller's
frames (by default half of what the network sees, see options.py). Iterations stop at epsilon 0.03 instead of the
default 0.01. On 8 pairs of J-HMDB frames, this flow at 112 x 112 differs from the default one at 224 x 224 by 0.16 of
its pixels on average and takes 0.07 s instead of 0.87; the default at 112 x 112 differs by 0.21 and takes 0.24.
A displacement of u pixels becomes round(128 + 127 u / bound), cut off at +-bound, so that 0 is exactly 128 and
mirroring is exact. The paper says only "rescaled to [0, 255]"; a bound of 20 pixels is that of Simonyan and
Zisserman's successors (Wang et al., ECCV 2016). A backbone for colour images gets (horizontal, vertical,
magnitude), as in Donahue et al. (CVPR 2015).
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np

from squeezebench.base.files import write_atomically

ZERO, SPAN = 128, 127
EPSILON = 0.03
FORMAT = 2  # raise it when what is cached changes


def tvl1(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(H, W), (H, W) uint8 grey -> (H, W, 2) float32: horizontal and vertical displacement in pixels."""
    method = cv2.optflow.createOptFlow_DualTVL1()
    method.setEpsilon(EPSILON)
    return method.calc(first, second, None)


def to_bytes(flow: np.ndarray, bound: float) -> np.ndarray:
    """Displacements in pixels -> uint8, 0 at 128, +-bound at 255 and 1."""
    scaled = np.rint(np.clip(flow / bound, -1, 1) * SPAN)
    return (scaled + ZERO).astype(np.uint8)


def mirror(planes: np.ndarray) -> np.ndarray:
    """(..., H, W, 2): the planes of the mirrored clip; horizontal displacement changes its sign."""
    out = planes[..., ::-1, :].copy()
    out[..., 0] = 2 * ZERO - out[..., 0].astype(np.int16)  # 1..255 stays 1..255
    return out


def as_image(planes: np.ndarray) -> np.ndarray:
    """(..., H, W, 2) uint8 -> (..., H, W, 3) uint8: horizontal, vertical, magnitude (bound at 255)."""
    centred = planes.astype(np.float32) - ZERO
    magnitude = np.hypot(centred[..., 0], centred[..., 1]) * (255 / SPAN)
    return np.concatenate([planes, np.minimum(np.rint(magnitude), 255).astype(np.uint8)[..., None]], axis=-1)


def flow_pairs(indices: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """(F,), (F,): the frames between which the flow at `indices` is computed, each frame and the next one.

    The last of the `total` frames has no next one: its flow is that of the pair before it, and a clip of one frame
    has flow 0.
    """
    starts = np.minimum(indices, max(0, total - 2))
    return starts, np.minimum(starts + 1, total - 1)


def planes_of(grey: dict[int, np.ndarray], indices: np.ndarray, total: int, bound: float) -> np.ndarray:
    """(F, H, W, 2) uint8 from the grey frames (H, W) uint8, by index. bound: in pixels of these frames."""
    done: dict[int, np.ndarray] = {}
    starts, ends = flow_pairs(indices, total)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        if start not in done:
            done[start] = to_bytes(tvl1(grey[start], grey[end]), bound)
    return np.stack([done[start] for start in starts.tolist()])


def write_planes(image: Path, planes: np.ndarray) -> None:
    """Keep (F, H, W, 2) uint8 as a lossless grey PNG, whole or not at all: the frames below each other, the two planes
    side by side."""
    sheet = np.concatenate([planes[..., 0], planes[..., 1]], axis=2)  # (F, H, 2W)
    _, data = cv2.imencode(".png", sheet.reshape(-1, sheet.shape[2]), [cv2.IMWRITE_PNG_COMPRESSION, 6])
    write_atomically(image, data.tobytes())


def read_planes(image: Path, frames: int) -> np.ndarray | None:
    """What `write_planes` kept of so many frames; None if there is nothing, or nothing whole."""
    with contextlib.suppress(FileNotFoundError):
        sheet = cv2.imdecode(np.frombuffer(image.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
        if sheet is not None and sheet.shape[0] % frames == 0 and sheet.shape[1] % 2 == 0:
            sheet = sheet.reshape(frames, sheet.shape[0] // frames, 2, sheet.shape[1] // 2)
            return np.ascontiguousarray(sheet.transpose(0, 1, 3, 2))
    return None
