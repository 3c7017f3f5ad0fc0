"""Intrinsic sparse structures: a group lasso that removes whole hidden units, in both published definitions."""

from typing import Literal

from squeezebench import nn
from squeezebench.method import (
    DenseMethod,
    FromDense,
    RecurrentSettings,
    Stage,
    StartSettings,
    setting,
    without_gradients,
)


class ISS(FromDense, DenseMethod):
    """CE + lambda * sum_k ||w_k||_2 over the weight groups of the hidden units, then the dead units are cut out.

    `element`: every weight below `threshold` is set to 0 after each step (it may regrow); a unit goes when its whole
    group is 0 (the ISS authors' definition). `group_norm`: no zeroing; a unit goes when the squared norm of its group
    is at most `threshold` at the end (the definition used beside VIB-LSTM).
    """

    title = "ISS"
    paper = "Wen et al., Learning Intrinsic Sparse Structures within LSTM, ICLR 2018"

    class Settings(StartSettings, RecurrentSettings):
        definition: Literal["element", "group_norm"] = setting("group_norm", "when a unit counts as removed")
        strength: float = setting(0.003, "weight of the group lasso (lambda)", search=(1e-4, 1.0), ge=0)
        learning_rate: float = setting(
            1.0, "factor while sparsifying: Adam moves a weight by one rate a step", search=(0.3, 10.0), gt=0
        )
        threshold: float = setting(0.01, "on |w| (element) or on the squared group norm (group_norm)", gt=0)
        compress_share: float = setting(
            0.6, "part of the remaining epochs with the group lasso; the rest fine-tunes", gt=0, lt=1
        )

    def stages(self):
        share = self.settings.compress_share
        return [
            Stage("sparsify", share, learning_rate=self.settings.learning_rate),
            Stage("fine-tune", 1 - share, penalised=False),
        ]

    def penalty(self, model):
        return self.settings.strength * nn.unit_group_lasso(model)

    @without_gradients
    def after_step(self, model):
        if self.settings.definition == "element" and self.clock.stage == "sparsify":
            for layer in model.layers:
                for weight in (layer.input_map.weight, layer.hidden_map.weight):
                    weight.masked_fill_(weight.abs() < self.settings.threshold, 0.0)
            model.head.weight.masked_fill_(model.head.weight.abs() < self.settings.threshold, 0.0)

    def end_stage(self, model, stage):
        if stage.name != "sparsify":
            return model
        threshold = self.settings.threshold if self.settings.definition == "group_norm" else 0.0
        units = [nn.above(norms, threshold) for norms in nn.unit_square_norms(model)]
        return nn.select_units(model, None, units)
