"""Your own folder of videos, class/clip.avi or class/group/clip.avi: CNN features or pixels; give it as `folder`.

A column file gives labels, groups and parts instead of the folders, see squeezebench/data/video/own.py. The features
are made once by `squeezebench data prepare`, which an experiment and `squeezebench run` call by themselves, and kept
below $SQUEEZEBENCH_DATA. The clips of a group stay on one side of the default split.

Licence: that of your videos; the weights of EfficientNet-Lite are under the Apache License 2.0.

Leak: clips that were cut from one video are near-copies. Without groups, a random split puts them on both sides.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic import Field

from squeezebench.data.dataset import Dataset, Expected
from squeezebench.data.video import options as video

DEFAULT_SPLIT = None  # official if the column file has a split, else by group if there are groups
MAIN_OPTION = "folder"
PREPARED = True


class Options(video.FrameOptions):
    """Which clips, and which features."""

    folder: str = Field(min_length=1, description="holds class/clip.avi or class/group/clip.avi")
    labels: str | None = Field(
        default=None,
        description="CSV file with columns clip, label, group, split; null: clips.csv in the folder, if any",
    )
    features: video.FeatureName = Field(
        default="efficientnet_lite0",
        description="the CNN whose features are read, or the pixels themselves (end to end)",
    )
    frames: int = Field(default=16, ge=1, description="frames kept of each clip, evenly spaced")


load = partial(video.load, "clips")
stamp = partial(video.stamp, "clips")


def outline(options: Options) -> Dataset:
    """The data set without its features, by the names of the files."""
    from squeezebench.data.video.own import list_own, subset_of

    index, parts = list_own(Path(options.folder), options.labels and Path(options.labels))
    return video.outline_of(index, options, subset_of(index, parts))


def expected(options: Options) -> Expected:
    """The sizes by the names of the files."""
    return video.expected_of(options, outline(options))
