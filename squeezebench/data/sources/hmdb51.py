"""HMDB51: 6,766 clips of 51 actions from films and the web as CNN features or pixels; the official lists 1 to 3.

Clips of one film are one group; the official lists keep them together. Features are made by `squeezebench data
prepare` (see squeezebench/data/video), which fetches the clips (2 GB). Source: Kuehne, Jhuang, Garrote, Poggio and
Serre, HMDB: a large video database for human motion recognition, ICCV 2011.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.video import options as _video

DEFAULT_SPLIT = "official"
PREPARED = True
TRAIN = (3570, 3570, 3570)  # clips in the official training lists


class Options(_video.VideoOptions):
    """Which features, and which official list."""

    frames: int = Field(default=25, ge=1, description="frames kept of each clip, evenly spaced")
    split_list: Literal[1, 2, 3] = Field(default=1, description="official list of train and test clips")


def load(options: Options) -> Dataset:
    """x (6766, 25, D), memory-mapped; D is 2048 or 1280 for one stream, twice that for both."""
    return _video.load("hmdb51", options)


def expected(options: Options) -> Expected:
    """Sizes without the data."""
    return _video.expected("hmdb51", options, TRAIN)


def stamp(options: Options) -> str:
    """Changes when the features are prepared anew."""
    return _video.stamp("hmdb51", options)
