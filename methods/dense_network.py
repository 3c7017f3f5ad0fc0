"""The uncompressed feed-forward network: what every ratio on images and on videos with a CNN-LSTM is taken against."""

from typing import ClassVar

from squeezebench.method import DenseMethod, NetworkSettings


class DenseNetwork(DenseMethod):
    """The dense network that `model:` names, trained for the whole budget."""

    title = "dense network"
    paper = "control"
    control = True
    kinds: ClassVar = ("image", "video")

    class Settings(NetworkSettings):
        pass
