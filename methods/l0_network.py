"""L0 regularisation: hard-concrete gates on the pixels, units and channels of a feed-forward network."""

from typing import ClassVar

from pydantic import PositiveFloat

from squeezebench import nn
from squeezebench.method import setting
from squeezebench.method.network_pruning import GatedMethod, GatedSettings


class L0Network(GatedMethod):
    """Louizos et al., ICLR 2018: one gate z in [0, 1] for each unit, and a price on every weight behind an open one.

    Loss: mean cross-entropy + strength / N sum_g |g| P(z_g > 0), N training images; |g| as in the paper's structured
    experiments: a convolution's weights that make the channel, a linear layer's that read the unit. `strength` is the
    paper's lambda N (0.1 for its LeNets). At the end of compression a unit goes whose gate at evaluation is 0, and
    the gates of the others are folded into what reads them. With a `ratio` the price is controlled so that the expected
    number of weights meets the budget, and the gates that are most open stay.

    Other than the paper: the gates act on what reads a channel (for channels tied by additions, on all their
    readers); one draw for each image, not one for each batch; the L2 term is the experiment's weight decay, without
    the gates' probabilities; no average over the iterates; a dense pretraining and fine-tuning without gates.
    """

    title = "L0"
    paper = "Louizos, Welling, Kingma, Learning Sparse Neural Networks through L0 Regularization, ICLR 2018"
    mask: ClassVar = "HardConcreteGate"

    class Settings(GatedSettings):
        strength: float = setting(0.1, "price of a weight behind an open gate (lambda N)", search=(0.01, 10.0), ge=0)
        threshold: float = setting(0.0, "a unit stays iff its gate at evaluation exceeds this (no ratio)", ge=0, lt=1)
        mask_learning_rate: PositiveFloat = setting(0.05, "of log alpha", search=(5e-3, 0.3))

    def build(self, task):
        model = super().build(task)
        groups = nn.unit_groups(model)
        for name, sizes in groups.of(groups.gated_sizes()).items():
            model.masks[name].size.copy_(sizes)
        return model

    def cost(self, mask):
        return mask.expected_weights()

    def score(self, mask):
        return mask.log_alpha.detach().cpu()

    def mask_groups(self, model):
        masks = [gate.log_alpha for gate in model.masks.values()] if isinstance(model, nn.MaskedNetwork) else []
        return [{"params": masks, "lr": self.settings.mask_learning_rate, "weight_decay": 0.0}] if masks else []

    def unconverged(self):
        """Never: log alpha has a way of about 5, which any budget covers."""
