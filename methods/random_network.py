"""The control for every way of choosing channels on images and videos: choose them at random."""

from typing import ClassVar

from squeezebench.method.network_pruning import OneShotMethod


class RandomNetwork(OneShotMethod):
    """Units, channels (and pixels) of the trained dense network removed at random, the rest fine-tuned.

    An LSTM above the network loses units in the same way.
    """

    title = "random channels"
    paper = "control"
    control = True
    kinds: ClassVar = ("image", "video")

    def scores(self, groups):
        import torch

        return torch.rand(groups.count + 1)

    def hidden_scores(self, recurrent, layer):
        import torch

        return torch.rand(recurrent.hidden[layer])
