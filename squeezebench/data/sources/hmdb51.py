"""HMDB51: 6,766 clips of 51 actions from films and the web as CNN features or pixels; the official lists 1 to 3.

Clips of one film are one group; the official lists keep them together. Features are made by `squeezebench data
prepare` (see squeezebench/data/video), which fetches the clips (2 GB). Source: Kuehne, Jhuang, Garrote, Poggio and
Serre, HMDB: a large video database for human motion recognition, ICCV 2011.

Licence: CC BY 4.0, as the authors' page states; the clips are taken from films.

Leak: clips of one film are alike. The official lists keep them together; `split: random` does not.
"""

from __future__ import annotations

from functools import partial

from squeezebench.data.video import options as video

DEFAULT_SPLIT = "official"
PREPARED = True
TRAIN = (3570, 3570, 3570)  # clips in the official training lists


class Options(video.ListedOptions):
    """Which features, and which official list."""


load = partial(video.load, "hmdb51")
expected = partial(video.expected, "hmdb51", train=TRAIN)
stamp = partial(video.stamp, "hmdb51")
outline = partial(video.outline, "hmdb51")
