"""UCF11 (YouTube Action): 1,600 clips of 11 actions as CNN features or pixels; no official split.

25 groups of clips a class: the clips of one group show the same person and place and are near-copies, so the
default split keeps groups together. The papers split by clip (60:40 or 80:20, `split: random`), which leaks.
Features are made by `squeezebench data prepare` (see squeezebench/data/video), which fetches the clips (1 GB). Source:
Liu, Luo and Shah, Recognizing realistic actions from videos in the wild, CVPR 2009.
"""

from __future__ import annotations

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.video import options as _video

DEFAULT_SPLIT = "group"
PREPARED = True


class Options(_video.VideoOptions):
    """Which features."""


def load(options: Options) -> Dataset:
    """x (1600, 32, D), memory-mapped; D is 2048 or 1280 for CNN features, 57,600 for pixels."""
    return _video.load("ucf11", options)


def expected(options: Options) -> Expected:
    """Sizes without the data."""
    return _video.expected("ucf11", options)


def stamp(options: Options) -> str:
    """Changes when the features are prepared anew."""
    return _video.stamp("ucf11", options)
