"""Spoken digits: up to 16 steps of 320 log-mel features, 10 classes, 6 speakers, 3,000 recordings.

Embedded, no download: 40 log-mel bands (25 ms every 10 ms) of the Free Spoken Digit Dataset, see
`squeezebench/data/embedded/README.md` for the licence (CC BY-SA 4.0) and for what was changed. A step stacks 8 frames,
and the next step begins 4 frames later, so that a step covers 95 ms. Each band is taken relative to its mean over the
recording, which removes the level and the colour of the microphone (Atal 1974). On held-out speakers of the training
part this raised the accuracy of a dense LSTM of 64 units from 60 to 76 %; dividing by the standard deviation as well
lowered it to 43 %.

`split: group`, the default, tests speakers that training has not heard: two speakers are the test part, one of the
other four is the validation part (the run's seed rotates it), and three train. `split: official` tests recordings 0
to 4 of each digit and speaker, so that every speaker is in every part; it is much easier.
`split: leave_one_group_out` tests one speaker.

Licence: CC BY-SA 4.0, other than the rest of squeezebench.

Leak: `split: official` and `split: random` have every speaker in every part. The default does not.
"""

from __future__ import annotations

import numpy as np

from squeezebench.base.contents import digest_of_content
from squeezebench.base.places import PACKAGE
from squeezebench.data.dataset import Dataset, Expected, NoOptions

DEFAULT_SPLIT = "group"
Options = NoOptions

FILE = PACKAGE / "data" / "embedded" / "spoken_digits.npz"
SIZE, HOP, STEPS = 8, 4, 16  # frames of a step, frames from one step to the next, steps at most
DECIBELS = 2.0  # of one unit of a stored byte


def load(options: Options) -> Dataset:
    """x (3000, 16, 320) float32 decibels, zero-padded, with lengths; a step's features are 8 frames of 40 bands."""
    with np.load(FILE, allow_pickle=False) as file:
        arrays = dict(file)
    recordings = np.split(arrays["frames"], np.cumsum(arrays["count"], dtype=np.int64)[:-1])
    length = 1 + (arrays["count"].astype(np.int64) - SIZE) // HOP
    x = np.zeros((len(recordings), STEPS, SIZE * arrays["frames"].shape[1]), np.float32)
    for row, frames in enumerate(recordings):
        x[row, : length[row]] = stacked(DECIBELS * (frames - frames.mean(0)))
    return Dataset(
        name="spoken_digits",
        x=x,
        y=arrays["digit"].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        length=length,
        group=arrays["speaker"],
        subset=np.where(arrays["index"] < 5, "test", "train"),
        origin="Free Spoken Digit Dataset, commit 26eb9aaf, CC BY-SA 4.0",
    )


def stacked(frames: np.ndarray) -> np.ndarray:
    """(F, D) -> (1 + (F - 8) // 4, 8 D): 8 frames one after another in each step; F is 8 or more."""
    windows = np.lib.stride_tricks.sliding_window_view(frames, SIZE, axis=0)[::HOP]  # (steps, D, 8)
    return windows.swapaxes(1, 2).reshape(len(windows), -1)


def expected(options: Options) -> Expected:
    """What the embedded file holds."""
    return Expected(3000, STEPS, SIZE * 40, 10, disk_bytes=0, download_bytes=0, train=2700, groups=True)


def fingerprint(options: Options) -> str:
    """A digest of the embedded file."""
    return digest_of_content(FILE)
