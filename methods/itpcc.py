"""ITPCC: one bottleneck mask for all channels that must go together, on an image network or a CNN-LSTM."""

from dataclasses import replace
from typing import ClassVar, Literal

from squeezebench import nn
from squeezebench.method import Stage, setting
from squeezebench.method.masked import MaskedMethod, MaskedSettings
from squeezebench.method.network_pruning import anew

PRINTED = 2e-3  # Adam's rate of mu and log sigma^2 (supplement A.4)
EVERY = 20  # steps between two estimates of the activations' noise
SEEN = 32  # examples of the batch that they are made from


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

    The logarithm is the paper's bound (Eq. 18) of Eq. 17, which also knows how noisy SCS_s is for a given input.
    `statistics` estimates that noise while it prunes (nn/pruning/information.py) and takes Eq. 17; an LSTM's units
    keep the bound.

    Stages: a dense pretraining; prune, where the masks have a constant learning rate of their own (the supplement says
    SGD of the weights alone; `mask_optimiser` says what trains the masks); fine-tune, where the masks are frozen
    without noise: mu is folded into what reads the set, and the network is the smaller plain one.
    With `retrain` the network of those widths is trained anew in place of fine-tuning: scenario (c) of the
    supplement's ablation. Its text does not say what (b) is; `set_weights: equal` is our reading of it.
    """

    title = "ITPCC"
    paper = "Rostami et al., Information Theoretic Pruning of Coupled Channels in Deep Neural Networks, WACV 2025"
    kinds: ClassVar = ("image", "video")
    compressing: ClassVar = "prune"
    weight_setting: ClassVar = "gamma"

    class Settings(MaskedSettings):
        gamma: float = setting(1.0, "gamma' of Eq. 20", search=(0.05, 50.0), ge=0)
        prune_share: float = setting(0.55, "part of the remaining epochs with masks; the rest fine-tunes", gt=0, lt=1)
        mask_optimiser: Literal["adam", "sgd"] | None = setting(
            None, "of mu and log sigma^2; none: the experiment's", later=True
        )
        fine_tune_end: float | None = setting(
            None, "part of the fine-tuning's learning rate at which its cosine ends; none: the experiment's",
            later=True, ge=0, le=1,
        )  # fmt: skip
        statistics: bool = setting(
            False, "Eq. 17, with the noise of the activations, in place of its bound", later=True
        )
        set_weights: Literal["size", "equal"] = setting("size", "what weighs a set: |SCS_s|, or 1", later=True)
        retrain: bool = setting(False, "train the pruned architecture from scratch, not from its weights", later=True)

    def stages(self):
        s = self.settings
        end = {"learning_rate": s.fine_tune_rate, "cosine_end": s.fine_tune_end}
        last = Stage("retrain" if s.retrain else "fine-tune", 1 - s.prune_share, penalised=False, **end)
        return [Stage("prune", s.prune_share), last]

    def build(self, task):
        self.noise = None
        model = super().build(task)
        if isinstance(model.network, nn.FrameRecurrent):
            nn.mask_units(model.network.recurrent, threshold=self.settings.threshold)
        return model

    def mask_clock(self):
        """Masks have an optimiser of their own, and a constant rate: the stage's is of another optimiser."""
        return replace(self.clock, optimiser=self.settings.mask_optimiser or self.clock.optimiser, mean_factor=1.0)

    def mask_groups(self, model):
        own = {"optimiser": name} if (name := self.settings.mask_optimiser) else {}
        if name == "adam" != self.clock.optimiser:
            own["lr"] = PRINTED  # of mu; the stage's is for SGD, and Adam would move mu by as much at every step
        return [{"schedule": "constant"} | own | group for group in super().mask_groups(model)]

    def loss(self, model, x, length, y):
        if self.settings.statistics and self.clock.stage == "prune" and self.clock.step % EVERY == 0:
            seen = x[:SEEN], *([] if length is None else [length[:SEEN]])
            self.noise = nn.activation_noise(model, *seen)
        return super().loss(model, x, length, y)

    def penalty(self, model):
        units = nn.units_kl(model.network.recurrent) if isinstance(model.network, nn.FrameRecurrent) else 0.0
        sized = self.settings.set_weights == "size"
        return self.weight / self.clock.examples * (nn.itpcc_kl(model, self.noise, sized) + units)

    def end_stage(self, model, stage):
        if stage.name != "prune":
            return model
        self.choose(model)
        small = nn.compact_network(model)
        return anew(small) if self.settings.retrain else small

    def observe(self, model):
        """Coupled channels that stay, sum_s |SCS_s|, and hidden units."""
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        kept = {"kept_channels": sum(units.size * int(model.masks[units.name].keep().sum()) for units in model.sets)}
        if isinstance(model.network, nn.FrameRecurrent):
            kept["kept_hidden"] = sum(map(len, nn.surviving_units(model.network.recurrent)))
        return kept | super().observe(model)
