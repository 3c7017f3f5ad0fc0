"""UCF11 (YouTube Action): 1,600 clips of 11 actions as CNN features or pixels; no official split.

25 groups of clips a class: the clips of one group show the same person and place and are near-copies, so the
default split keeps groups together. The papers split by clip (60:40 or 80:20, `split: random`), which leaks.
Features are made by `squeezebench data prepare` (see squeezebench/data/video), which fetches the clips (1 GB). Source:
Liu, Luo and Shah, Recognizing realistic actions from videos in the wild, CVPR 2009.

Licence: none is stated; the clips come from YouTube and are for research. Cite the paper.

Leak: `split: random`, which the papers use, has near-copies of a clip in every part. Experiment `paper/table2`
measures what that is worth.
"""

from __future__ import annotations

from functools import partial

from squeezebench.data.video import options as video

DEFAULT_SPLIT = "group"
PREPARED = True


class Options(video.VideoOptions):
    """Which features."""


load = partial(video.load, "ucf11")
expected = partial(video.expected, "ucf11")
stamp = partial(video.stamp, "ucf11")
outline = partial(video.outline, "ucf11")
