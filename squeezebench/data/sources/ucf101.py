"""UCF101: 13,320 clips of 101 actions as CNN features or pixels; the official lists 1 to 3.

25 groups of clips a class, each from one video; the official lists keep groups together. Features are made by
`squeezebench data prepare` (see squeezebench/data/video), which fetches the clips (6.9 GB). Source: Soomro, Zamir and
Shah (2012), CRCV-TR-12-01, arXiv:1212.0402.

Licence: none is stated; the clips come from YouTube and are for research. Cite the report.

Leak: clips of a group are cut from one video. The official lists keep groups together; `split: random` does not.
"""

from __future__ import annotations

from functools import partial

from squeezebench.data.video import options as video

DEFAULT_SPLIT = "official"
PREPARED = True
TRAIN = (9537, 9586, 9624)  # clips in the official training lists


class Options(video.ListedOptions):
    """Which features, and which official list."""


load = partial(video.load, "ucf101")
expected = partial(video.expected, "ucf101", train=TRAIN)
stamp = partial(video.stamp, "ucf101")
outline = partial(video.outline, "ucf101")
