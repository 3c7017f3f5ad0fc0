"""The control for every way of choosing channels on images: choose them at random."""

from squeezebench.method.network_pruning import OneShotMethod


class RandomNetwork(OneShotMethod):
    """Units, channels (and pixels) of the trained dense network removed at random, the rest fine-tuned."""

    title = "random channels"
    paper = "control"
    control = True

    def scores(self, groups):
        import torch

        return torch.rand(groups.count + 1)
