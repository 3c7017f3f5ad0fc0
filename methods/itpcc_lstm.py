"""ITPCC on recurrent networks: one bottleneck mask for a hidden unit and everything that must go with it."""

from typing import ClassVar

from pydantic import PositiveFloat, model_validator

from squeezebench import nn
from squeezebench.method import DenseMethod, RecurrentSettings, Stage, setting
from squeezebench.method.masked_units import MaskedUnits, MaskedUnitsSettings

OWN_START = "dense pretraining"  # of a residual stack, which no other method has


class ITPCCLSTM(MaskedUnits, DenseMethod):
    """Rostami et al., WACV 2025, read for RNNs: h_s = (mu_s + sigma_s eps) SCS_s, one (mu, sigma) for each set s.

    A set is a hidden unit with the rows of its four gates (GRU: three), its biases, its column of U and the column of
    whatever reads it; under `residual` unit j of all layers, as additions tie them. z multiplies h_t, which recurrence
    and readers see; eps is drawn once for each sequence. VIB-LSTM has a mask for each gate instead.

    Loss (Eq. 20): mean cross-entropy + gamma / N sum_s |SCS_s| log(1 + mu_s^2 / sigma_s^2), |SCS_s| = gates x layers
    of the set (`unit_weight` gives another number than the gates); an input under `mask_features` is a set of one
    channel. The term is the bound (Eq. 18) of Eq. 17, which would need the statistics of each h_t; both leave out the
    divergence's factor 1/2.

    The paper's networks are CNNs, and what it leaves open is chosen here: N_b of Eq. 20 is the number of training
    sequences (a mini-batch of B instead is gamma' = gamma B / N), mu starts near 1 and sigma^2 near e^-9, a set stays
    iff mu^2 / sigma^2 exceeds `threshold`, and at evaluation z is mu, 0 where the set goes. With a `ratio`, gamma' is
    where the controlled weight starts, and the sets of largest mu^2 / sigma^2 stay. After pruning, mu is folded into
    what reads the unit, which is exact, and the smaller plain network is fine-tuned.

    The dense pretraining that methods share has no additions between layers. A residual stack trains its own, as the
    first stage of the run and with the same share of the epochs.
    """

    title = "ITPCC-LSTM"
    paper = "Rostami et al., Information Theoretic Pruning of Coupled Channels in Deep Neural Networks, WACV 2025"
    compressing: ClassVar = "prune"
    weight_setting: ClassVar = "gamma"

    class Settings(MaskedUnitsSettings, RecurrentSettings):
        residual: bool = setting(False, "each layer after the first adds its state to what it read")
        mask_features: bool = setting(True, "masks on the inputs too, as VIB-LSTM has them")
        gamma: float = setting(0.3, "gamma' of Eq. 20", search=(0.01, 10.0), ge=0)
        unit_weight: PositiveFloat | None = setting(
            None, "what a hidden unit counts in |SCS| where an input counts 1; none: its gates", later=True
        )
        prune_share: float = setting(0.6, "part of the remaining epochs with masks; the rest fine-tunes", gt=0, lt=1)

        @model_validator(mode="after")
        def _additions_join_layers(self):
            if self.residual and self.layers < 2:
                raise ValueError("residual: true needs layers: 2 or more")
            return self

    @classmethod
    def inactive_settings(cls, settings):
        return ("gamma",) if settings.ratio else ()

    def _own_start(self):
        """Whether the dense pretraining is a stage of the run: the one that methods share has no additions."""
        return self.settings.residual and self.settings.start == "dense"

    def start_share(self):
        return 0.0 if self.settings.residual else super().start_share()

    def stages(self):
        s = self.settings
        first = s.start_share if self._own_start() else 0.0
        start = [Stage(OWN_START, first, penalised=False)] if first else []
        prune = Stage("prune", (1 - first) * s.prune_share)
        share = (1 - first) * (1 - s.prune_share)
        return [*start, prune, Stage("fine-tune", share, penalised=False, learning_rate=s.fine_tune_rate)]

    def build(self, task):
        self.start_control(task)
        model = super().build(task)
        if self.settings.residual:
            model = nn.ResidualClassifier.of(model)
        return model if self._own_start() else self._masked(model)

    def _masked(self, model):
        s = self.settings
        if s.mask_features:
            model.input_mask = nn.BottleneckMask(model.inputs, threshold=s.threshold)
        return nn.mask_units(model, threshold=s.threshold)

    def least(self, task):
        s = self.settings
        return 1 if s.mask_features else task.inputs, [1] * s.layers

    def closed_form(self, task):
        return super().closed_form(task) if self.settings.ratio is None else None

    def penalty(self, model):
        inputs = 0.0 if model.input_mask is None else model.input_mask.kl()
        return self.weight / self.clock.examples * (nn.units_kl(model, self.settings.unit_weight) + inputs)

    def end_stage(self, model, stage):
        if stage.name == OWN_START:
            return self._masked(model)
        if stage.name != "prune":
            return model
        self.choose(model)
        return nn.compact_masked(model)
