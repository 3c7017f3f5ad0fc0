"""Which steps of a sequence are used: all, evenly spaced ones, or one drawn from each equal segment."""

from __future__ import annotations

import numpy as np


def choose_steps(
    length: np.ndarray, steps: int, frames: int | None, generator: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (B, `steps`) int64 to read, and how many of them are valid (B,) int64.

    Without `frames` all `steps` are read in order. With `frames`, a sequence of L valid steps is cut into
    `frames` equal segments: the middle of each (no generator; evaluation), or one step drawn from each
    (with a generator; the temporal segments of Wang et al., ECCV 2016). Shorter sequences keep all their
    steps and are padded; the padding repeats the last step's index and is cleared by the caller.
    """
    index = np.arange(steps)
    if frames is None:
        return np.broadcast_to(index, (len(length), steps)), length.astype(np.int64)
    valid = np.minimum(length, frames).astype(np.int64)
    wide = length[:, None].astype(np.int64)  # (B, 1)
    if generator is None:
        chosen = (2 * index + 1) * wide // (2 * frames)
    else:
        first, last = index * wide // frames, (index + 1) * wide // frames  # at least one step each where L >= frames
        chosen = generator.integers(first, np.maximum(last, first + 1))
    short = np.minimum(index, wide - 1)
    return np.where(wide >= frames, chosen, short), valid
