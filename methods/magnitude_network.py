"""Magnitude pruning of a feed-forward network: the smallest units and channels go at once, the rest is fine-tuned."""

from squeezebench.method.network_pruning import OneShotMethod


class MagnitudeNetwork(OneShotMethod):
    """Units by the norm of all weights that go with them: those that make them and those that read them.

    In each set of coupled channels the `keep` largest stay. Li et al. take the L1 norm of a filter alone; the channels
    removed here are coupled, and the columns that read a unit count too. There is one cut, from the dense pretraining;
    the published schedules prune and fine-tune more than once. A pixel has readers only: a pixel that is always black
    keeps its initial weights, and with them a norm, unless weights decay.
    """

    title = "magnitude (network)"
    paper = "Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017; Han et al., NIPS 2015"
    control = True

    def scores(self, groups):
        return groups.square_norms() + groups.square_norms_of_makers()
