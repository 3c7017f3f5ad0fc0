"""ITPCC: one bottleneck mask for all channels that must go together, on an image network or a CNN-LSTM."""

from typing import ClassVar

from squeezebench import nn
from squeezebench.method import Stage, setting
from squeezebench.method.masked import MaskedMethod, MaskedSettings


class ITPCC(MaskedMethod):
    """Rostami et al., WACV 2025: h_s = (mu_s + sigma_s eps) SCS_s, one (mu, sigma) for each set s of coupled channels.

    Loss (Eq. 20): mean cross-entropy + gamma / N sum_s |SCS_s| log(1 + mu_s^2 / sigma_s^2). |SCS_s| is the number of
    channels in the set. The sets are read off the dependency graph (nn/pruning/dependency_graph.py); a channel on its
    own is a set of size 1. Each hidden unit of an LSTM above the network is a set of its four gate channels, masked
    at its readers; if a channel of the network goes, so does the column of the LSTM that reads it.

    What the paper leaves open, and is chosen here: N_b of Eq. 20 is the number of training examples (any other choice
    is another gamma), mu starts near 1 and sigma^2 near e^-9, a set stays iff mu^2 / sigma^2 exceeds `threshold`, and
    at evaluation z is mu, 0 where the set goes. With a `ratio`, gamma' is where the controlled weight starts, and the
    sets of largest mu^2 / sigma^2 stay.

    Stages: a dense pretraining; prune, where the masks have a constant learning rate of their own; fine-tune, where the
    masks are frozen without noise: mu is folded into what reads the set, and the network is the smaller plain one.
    """

    title = "ITPCC"
    paper = "Rostami et al., Information Theoretic Pruning of Coupled Channels in Deep Neural Networks, WACV 2025"
    kinds: ClassVar = ("image", "video")
    compressing: ClassVar = "prune"
    weight_setting: ClassVar = "gamma"

    class Settings(MaskedSettings):
        gamma: float = setting(1.0, "gamma' of Eq. 20", search=(0.05, 50.0), ge=0)
        prune_share: float = setting(0.55, "part of the remaining epochs with masks; the rest fine-tunes", gt=0, lt=1)

    def stages(self):
        s = self.settings
        fine_tune = Stage("fine-tune", 1 - s.prune_share, penalised=False, learning_rate=s.fine_tune_rate)
        return [Stage("prune", s.prune_share), fine_tune]

    def build(self, task):
        model = super().build(task)
        if isinstance(model.network, nn.FrameRecurrent):
            nn.mask_units(model.network.recurrent, threshold=self.settings.threshold)
        return model

    def mask_groups(self, model):
        return [{"schedule": "constant"} | group for group in super().mask_groups(model)]

    def penalty(self, model):
        units = nn.units_kl(model.network.recurrent) if isinstance(model.network, nn.FrameRecurrent) else 0.0
        return self.weight / self.clock.examples * (nn.itpcc_kl(model) + units)

    def end_stage(self, model, stage):
        if stage.name != "prune":
            return model
        self.choose(model)
        return nn.compact_network(model)

    def observe(self, model):
        """Coupled channels that stay, sum_s |SCS_s|, and hidden units."""
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        kept = {"kept_channels": sum(units.size * int(model.masks[units.name].keep().sum()) for units in model.sets)}
        if isinstance(model.network, nn.FrameRecurrent):
            kept["kept_hidden"] = sum(map(len, nn.surviving_units(model.network.recurrent)))
        return kept | super().observe(model)
