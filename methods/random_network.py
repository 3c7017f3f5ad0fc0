"""The control for every way of choosing channels on images and videos: choose them at random."""

from typing import ClassVar

from squeezebench.method import Stage, dense_classifier, setting
from squeezebench.method.network_pruning import OneShotMethod, PartSettings, anew
from squeezebench.schema.start import AnyStart


class RandomNetwork(OneShotMethod):
    """Units, channels (and pixels) of the trained dense network removed at random, the rest fine-tuned.

    An LSTM above the network loses units in the same way. With `start: scratch` the smaller network is initialised anew
    and trained for all of the epochs: the control for what the weights of a larger network are worth (Liu et al.,
    Rethinking the Value of Network Pruning, ICLR 2019), in any widths.
    """

    title = "random channels"
    paper = "control"
    control = True
    kinds: ClassVar = ("image", "video")

    class Settings(PartSettings):
        start: AnyStart = setting(
            "dense", "`scratch`, `dense` (the dense pretraining), or `{file: PATH}`: trained weights", later=True
        )

    def stages(self):
        return [Stage("train", 1.0)] if self.settings.start == "scratch" else super().stages()

    def build(self, task):
        dense = dense_classifier(task, self.settings)
        return anew(self.load_dense(dense, dense)) if self.settings.start == "scratch" else dense

    def scores(self, groups):
        import torch

        return torch.rand(groups.count + 1)

    def hidden_scores(self, recurrent, layer):
        import torch

        return torch.rand(recurrent.hidden[layer])
