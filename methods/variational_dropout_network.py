"""Sparse variational dropout on the pixels, units and channels of a feed-forward network."""

from math import exp
from typing import ClassVar

from squeezebench.method import setting
from squeezebench.method.network_pruning import GatedMethod, GatedSettings


class VariationalDropoutNetwork(GatedMethod):
    """Molchanov et al., ICML 2017, by unit: z = mu + sigma eps under a log-uniform prior, pruned at log a > 3.

    Loss: mean cross-entropy + strength / N sum_j KL(z_j), N training images, with the paper's approximation of the KL
    (Eq. 14), log a = log(sigma^2 / mu^2), and its additive form of the noise (Eq. 11); strength 1 is the variational
    bound. At the end of compression a unit with log a > 3 goes and mu is folded into what reads the others. With a
    `ratio` the weight is controlled so that the expected number of weights meets the budget, and the least log a stay.

    The paper has one noise variable for each weight and removes single weights; the rows called VD in VIBNet's tables
    count the units that such a network happens to have left (512-114-72 of 784-300-100). Here there is one for each
    pixel, unit and channel, so that what is removed is structure and comparable with the other methods. It is not the
    method of those rows: against VIBNet it changes the KL and the threshold alone.
    """

    title = "variational dropout"
    paper = "Molchanov, Ashukha, Vetrov, Variational Dropout Sparsifies Deep Neural Networks, ICML 2017 (here by unit)"
    mask: ClassVar = "LogUniformMask"

    class Settings(GatedSettings):
        strength: float = setting(1.0, "weight of the KL terms; 1: the variational bound", search=(0.1, 100.0), ge=0)
        threshold: float = setting(
            exp(-3), "a unit stays iff mu^2 / sigma^2 exceeds this (no ratio); exp(-3): log a < 3", gt=0
        )

    def cost(self, mask):
        return mask.kl()
