"""The uncompressed feed-forward network: what every ratio on images and on videos with a CNN-LSTM is taken against."""

from typing import ClassVar

from squeezebench.method import DenseMethod, NetworkSettings, setting
from squeezebench.schema.start import OwnStart


class DenseNetwork(DenseMethod):
    """The dense network that `model:` names, trained for the whole budget; from a file, trained on for as long."""

    title = "dense network"
    paper = "control"
    control = True
    kinds: ClassVar = ("image", "video")

    class Settings(NetworkSettings):
        start: OwnStart = setting("scratch", "`scratch`, or `{file: PATH}`: trained weights", later=True)
