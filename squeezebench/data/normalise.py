"""Normalisation by the training part's statistics: one pass in pieces, so memory maps are never loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.data.frames import choose_steps

if TYPE_CHECKING:
    from squeezebench.data.dataset import Dataset

PIECE_BYTES = 16 << 20  # of float64, the width that statistics are summed in
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # mean and std of the colours, of pixels in 0..1
CONSTANT = 1e-9  # a feature whose std is below this share of its mean is constant: it is only centred


@dataclass(frozen=True)
class Affine:
    """out = raw * factor - shift, per feature, float32 (D,) or scalars."""

    factor: np.ndarray
    shift: np.ndarray

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """(..., D) of any numeric dtype -> float32, new array. Wide types are computed in float64 first."""
        wide = raw.dtype.itemsize > {"i": 2, "u": 2, "f": 4}.get(raw.dtype.kind, 4)  # in either byte order
        if wide:
            return (raw * self.factor.astype(np.float64) - self.shift.astype(np.float64)).astype(np.float32)
        out = raw.astype(np.float32)
        out *= self.factor
        out -= self.shift
        return out

    def zero(self, channels: int) -> np.ndarray | None:
        """What the raw value 0 becomes in each of the `channels` parts of D, (C,); None if a part is not uniform."""
        factor, shift = self.factor.reshape(channels, -1), self.shift.reshape(channels, -1)
        uniform = (factor == factor[:, :1]).all() and (shift == shift[:, :1]).all()
        return 0.0 - shift[:, 0] if uniform else None  # 0 - 0 is 0, not -0


def fit(kind: str, data: Dataset, rows: np.ndarray, frames: int | None) -> Affine:
    """Statistics of the valid steps of `rows` (with `frames`: of the uniform choice), as an Affine.

    "none": the scale alone. "std": divided by one standard deviation over all features. "standard": mean 0
    and standard deviation 1 for each feature; constant features become 0. "channel": the same for each channel of
    an image, over all its pixels. "imagenet": the published statistics of ImageNet's colours, whatever the data:
    networks that somebody else has trained expect them.
    """
    check_rule(kind, data.name, data.frame)
    inputs = data.x.shape[2]
    scale = np.ones(inputs) if data.scale is None else data.scale.astype(np.float64)
    if kind == "none":
        return _affine(data, scale, np.zeros(inputs))
    if kind == "imagenet":
        mean, std = (np.repeat(values, inputs // 3) for values in IMAGENET)
        return _affine(data, scale / std, mean / std)
    mean, variance = _moments(data, rows, frames)
    mean, variance = mean * scale, variance * scale**2
    if kind == "std":
        std = float(np.sqrt(variance.mean() + mean.var()))  # of all numbers together
        return _affine(data, scale / (std if std > CONSTANT * abs(mean.mean()) else 1.0), np.zeros(inputs))
    if kind == "channel":
        mean, variance = _of_channels(data, mean, variance)
    std = np.sqrt(variance)
    std = np.where(std > CONSTANT * np.abs(mean), std, 1.0)
    return _affine(data, scale / std, mean / std)


def _of_channels(data: Dataset, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (D,) of the pixels of each channel together, from those of each pixel."""
    mean, variance = (array.reshape(data.frame[0], -1) for array in (mean, variance))
    together = np.stack([mean.mean(1), variance.mean(1) + mean.var(1)])
    return tuple(np.repeat(together, mean.shape[1], axis=1))


def check_rule(rule: str, where: str, frame: tuple[int, int, int] | None) -> None:
    """Raises InputError if the steps are not the images that the rule is for."""
    if rule == "imagenet" and (frame is None or frame[0] != 3):
        raise InputError(f"{where}: normalise: imagenet is for colour images; give channel, standard, std or none")
    if rule == "channel" and frame is None:
        raise InputError(f"{where}: normalise: channel is for images; give standard, std or none")


def _affine(data: Dataset, factor: np.ndarray, shift: np.ndarray) -> Affine:
    with np.errstate(over="ignore"):
        narrow = Affine(factor.astype(np.float32), shift.astype(np.float32))
    bad = ~(np.isfinite(narrow.factor) & np.isfinite(narrow.shift))
    if bad.any():
        raise InputError(f"{data.name}: feature {int(bad.argmax())} is too large to normalise in float32; rescale it")
    return narrow


def _moments(data: Dataset, rows: np.ndarray, frames: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (D,) of the raw numbers, float64, merged piece by piece (Chan et al. 1979)."""
    steps_in_all, inputs = data.x.shape[1:]
    steps = frames or steps_in_all
    length = np.full(len(data.y), steps_in_all) if data.length is None else data.length
    count, mean, squares = 0, np.zeros(inputs), np.zeros(inputs)
    piece = max(1, PIECE_BYTES // (8 * steps * inputs))
    for start in range(0, len(rows), piece):
        piece_rows = rows[start : start + piece]
        chosen, valid = choose_steps(length[piece_rows], steps, frames, None)
        raw = data.x[piece_rows[:, None], chosen]
        numbers = raw[np.arange(steps) < valid[:, None]].astype(np.float64)  # (M, D)
        new, new_mean = len(numbers), numbers.mean(0)
        numbers -= new_mean
        gap = new_mean - mean
        squares += np.einsum("md,md->d", numbers, numbers) + gap**2 * (count * new / (count + new))
        mean += gap * (new / (count + new))
        count += new
    return mean, squares / count
