"""The control for every way of choosing units: choose them at random."""

from squeezebench.method.unit_pruning import OneShotUnits


class RandomUnits(OneShotUnits):
    """Units (and inputs) of the trained dense network are removed at random, and the rest is fine-tuned."""

    title = "random units"
    paper = "control"
    control = True

    def kept_inputs(self, dense, count):
        return _drawn(dense.inputs, count)

    def kept_units(self, dense, layer, count):
        return _drawn(dense.hidden[layer], count)


def _drawn(width, count):
    import torch

    return torch.randperm(width)[:count].sort().values
