"""Intrinsic sparse structures: a group lasso that removes whole hidden units, in both published definitions."""

from typing import ClassVar, Literal

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
from squeezebench.method.target import TargetSettings, budget_of, one_unit_too_large, recurrent_size
from squeezebench.method.unit_lasso import UnitLasso


class ISS(FromDense, DenseMethod):
    """CE + lambda * sum_k ||w_k||_2 over the weight groups of the hidden units, then the dead units are cut out.

    `element`: every weight below `threshold` is set to 0 after each step (it may regrow); a unit goes when its whole
    group is 0 (the ISS authors' definition). `group_norm`: no zeroing; a unit goes when the squared norm of its group
    is at most `threshold` at the end (the definition used beside VIB-LSTM). With a `ratio` the units of largest norm
    stay, and the proximal lasso spares them while it shrinks the others.

    `step: proximal` takes the lasso off the weights after each step of the optimiser (see UnitLasso). Under Adam the
    gradient of a norm would be an artefact: each weight moves by about one learning rate, whatever lambda is, and from
    some lambda on every group is exactly 0. `step: subgradient` is the published recipe, protocol `paper`: SGD without
    momentum, whose rate falls to a tenth at each third of the stage, on the gradient of the sum; weights below 1e-4
    become 0.
    """

    title = "ISS"
    paper = "Wen et al., Learning Intrinsic Sparse Structures within LSTM, ICLR 2018"
    protocols: ClassVar = {
        "paper": {"step": "subgradient", "definition": "element", "threshold": 1e-4, "strength": 0.003}
    }

    class Settings(TargetSettings, StartSettings, RecurrentSettings):
        definition: Literal["element", "group_norm"] = setting("group_norm", "when a unit counts as removed")
        step: Literal["proximal", "subgradient"] = setting("proximal", "how the lasso is applied")
        strength: float = setting(10.0, "weight of the group lasso (lambda)", search=(1.0, 100.0), ge=0)
        learning_rate: float = setting(1.0, "factor on the learning rate while sparsifying", search=(0.3, 10.0), gt=0)
        sgd_learning_rate: float = setting(1.0, "the rate of step: subgradient (published: 1)", gt=0)
        threshold: float = setting(0.01, "on |w| (element) or on the squared group norm (group_norm)", gt=0)
        compress_share: float = setting(
            0.6, "part of the remaining epochs with the group lasso; the rest fine-tunes", gt=0, lt=1
        )

    @classmethod
    def inactive_settings(cls, settings):
        rate = "learning_rate" if settings.step == "subgradient" else "sgd_learning_rate"
        by_size = settings.ratio is not None
        return (
            rate,
            *(("strength",) if by_size and settings.step == "proximal" else ()),
            *(("threshold",) if by_size and settings.definition == "group_norm" else ()),
        )

    def skip(self, task):
        return super().skip(task) or one_unit_too_large(task, self.settings)

    def stages(self):
        s = self.settings
        if s.step == "subgradient":
            sparsify = Stage("sparsify", s.compress_share, schedule="thirds", optimiser="sgd")
        else:
            sparsify = Stage("sparsify", s.compress_share, learning_rate=s.learning_rate)
        return [sparsify, Stage("fine-tune", 1 - s.compress_share, penalised=False)]

    def _lasso(self, model):
        s = self.settings
        dense = recurrent_size(model.inputs, s.hidden, s)
        budget = budget_of(dense, s.ratio) if s.ratio else None
        return UnitLasso(s.strength, lambda units: recurrent_size(model.inputs, units, s), dense, budget)

    def closed_form(self, task):
        return super().closed_form(task) if self.settings.ratio is None else None

    def parameter_groups(self, model):
        groups = super().parameter_groups(model)
        if self.settings.step == "subgradient" and self.clock.stage == "sparsify":
            groups[0] |= {"lr": self.settings.sgd_learning_rate, "momentum": 0.0}
        return groups

    def penalty(self, model):
        if self.settings.step == "proximal":
            return 0.0
        return self.settings.strength * nn.unit_group_lasso(model)

    @without_gradients
    def after_step(self, model):
        if self.clock.stage != "sparsify":
            return
        if self.settings.step == "proximal":
            self._lasso(model).step(model, self.clock)
        if self.settings.definition == "element":
            for layer in model.layers:
                for weight in (layer.input_map.weight, layer.hidden_map.weight):
                    weight.masked_fill_(weight.abs() < self.settings.threshold, 0.0)
            model.head.weight.masked_fill_(model.head.weight.abs() < self.settings.threshold, 0.0)

    def observe(self, model):
        return self._lasso(model).columns(model, self.clock) if self.clock.stage == "sparsify" else {}

    def end_stage(self, model, stage):
        if stage.name != "sparsify":
            return model
        if self.settings.ratio:
            return nn.select_units(model, None, self._lasso(model).units(model))
        threshold = self.settings.threshold if self.settings.definition == "group_norm" else 0.0
        units = [nn.above(norms, threshold) for norms in nn.unit_square_norms(model)]
        if [len(kept) for kept in units] == list(model.hidden):
            self.notes.append("removed nothing: give a larger strength, or a ratio")
        return nn.select_units(model, None, units)
