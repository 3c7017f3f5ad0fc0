"""VIB-LSTM: bottleneck masks on the input features and on the gates of a recurrent network."""

from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from squeezebench import nn
from squeezebench.method import Stage, closed_form, dense_classifier, setting, without_gradients
from squeezebench.method.convergence import mask_groups
from squeezebench.method.masked_units import MaskedUnits, MaskedUnitsSettings
from squeezebench.method.target import budget_of
from squeezebench.method.tensor import TensorSettings, choice, tensorise
from squeezebench.method.unit_lasso import UnitLasso

BEFORE_LASSO = 1.5  # with a ratio and a group lasso: the masks end at so many times the budget, the lasso does the rest
LOUDEST = 1.0  # log sigma^2 of a gate's mask from which its noise no longer grows


class VIBLSTM(MaskedUnits):
    """Srivastava et al., WACV 2021, Eq. 8-15: z = mu + sigma * eps on gates and inputs, pruned by mu^2 / sigma^2.

    Loss: mean cross-entropy + s * (beta * sum_gates KL + beta_features * KL_features). Each masked gate and the masked
    input brings a data term of its own, so Eq. 15 weighs the cross-entropy 5 (4 gates and the features; Eq. 6, gates
    only: 4; Eq. 13, features only: 1; L layers have 4L). `scale: eq15` divides by that number; `released` is the
    factor 1/2 of the authors' code; `dataset` divides by the number of training sequences, which makes beta near 1 a
    useful value on tasks of any size. With a `ratio`, beta is where the controlled weight starts.

    The group of a unit in VIB+ISS includes the weights that read it in the next layer or the classifier, as in ISS;
    Eq. 16 sums over all LSTM parameters.

    The paper has no equations of a GRU. Here it has masks on 2 of its 3 gates: under noise on the update gate, which
    weighs the old state against the new, the state would grow without bound.

    `noise: first_batch` is the released code's reading. What moves log sigma^2 there is not the KL term but the weight
    decay of its optimiser, 5e-4 on mu and log sigma^2 too (`mask_weight_decay`): log sigma^2 settles near 0, and a
    unit stays iff |mu| > 1. Without that decay sigma grows at no cost, and everything is removed.
    """

    title = "VIB-LSTM"
    paper = "Srivastava, Dutta et al., A VIB Based Method to Compress Sequential Networks for HAR, WACV 2021"
    protocols: ClassVar = {
        "paper": {"scale": "eq15"},
        "as_released": {"start": "scratch", "scale": "released", "noise": "first_batch", "evaluate_with": "hard",
                        "beta": 4e-6, "ramp": 0.0, "mask_learning_rate": 0.05,  # beta: kml 4 times kl_fac 1e-6
                        "mask_weight_decay": 5e-4},
    }  # fmt: skip
    weight_setting: ClassVar = "beta"

    class Settings(MaskedUnitsSettings, TensorSettings):
        map: Literal["dense", "tt", "tr", "bt", "ht", "low_rank"] = setting(
            "dense", "form of the input-to-hidden matrix"
        )
        ring_rank: PositiveInt | None = setting(None, "of map tr: the bond that closes the ring; none: rank")
        inner_rank: PositiveInt | None = setting(None, "of map ht: rank of the tree's inner nodes; none: rank")
        blocks: PositiveInt = setting(2, "of map bt: Tucker blocks")
        mask_features: bool = setting(True, "mask on the inputs (Eq. 12)")
        mask_gates: bool = setting(True, "masks on the gates (Eq. 8)")
        beta: float = setting(1.0, "weight of the gate KL terms (Eq. 15)", search=(0.05, 20.0), ge=0)
        beta_features: float | None = setting(None, "weight of the feature KL term (Eq. 15); none: as beta", ge=0)
        scale: Literal["dataset", "eq15", "released"] = setting("dataset", "what beta is relative to")
        ramp: float = setting(0.5, "part of the compress stage over which beta rises from 0", ge=0, le=1)
        noise: Literal["per_sequence", "first_batch"] = setting(
            "per_sequence",
            "when eps is drawn; first_batch (the released code): only once, so that sigma costs no accuracy",
        )
        keep_inputs: PositiveInt | None = setting(None, "target: exactly this many inputs stay (appendix)")
        keep_hidden: PositiveInt | None = setting(None, "target: exactly this many units of each layer stay (appendix)")
        evaluate_with: Literal["mean", "hard"] = setting("mean", "mask at evaluation: mu or 1 on kept units")
        finalise: Literal["standard", "vectors"] = setting(
            "standard", "masks no cell can absorb: set to 1 before fine-tuning, or kept as counted vectors"
        )
        compress_share: float = setting(
            0.6, "part of the remaining epochs with noise and KL; the rest fine-tunes", gt=0, lt=1
        )
        mask_weight_decay: float = setting(0.0, "Adam's on mu and log sigma^2 (released code: 5e-4)", ge=0)
        group_lasso: float = setting(
            0.0,
            "lambda of the ISS penalty after compression (Eq. 16, VIB+ISS); with a ratio only that it is not 0",
            ge=0,
        )
        group_threshold: float = setting(0.01, "on the squared group norm (VIB+ISS)", gt=0)

        @model_validator(mode="after")
        def _targets_need_their_masks(self):
            for target, mask in (("keep_inputs", "mask_features"), ("keep_hidden", "mask_gates")):
                if getattr(self, target) is not None and not getattr(self, mask):
                    raise ValueError(f"{target} needs {mask}: true")
                if getattr(self, target) is not None and self.ratio is not None:
                    raise ValueError(f"{target} and ratio both say what stays: give one of them")
            if self.ratio is not None and not (self.mask_features or self.mask_gates):
                raise ValueError("ratio needs mask_features or mask_gates: without masks nothing goes")
            if self.group_lasso and self.ratio is not None and self.map != "dense":
                raise ValueError("group_lasso with a ratio needs map: dense, whose columns a proximal step can shrink")
            return self

    @classmethod
    def inactive_settings(cls, settings):
        rank = ("rank",) if settings.map == "dense" or settings.budget else ()
        return (*rank, *(("beta",) if settings.ratio else ()))

    def stages(self):
        s = self.settings
        rest = 1 - s.compress_share
        last = {"penalised": False, "learning_rate": s.fine_tune_rate}
        compress = Stage("compress", s.compress_share, learning_rate=s.learning_rate)
        if not s.group_lasso:
            return [compress, Stage("fine-tune", rest, **last)]
        return [compress, Stage("group lasso", rest / 2), Stage("fine-tune", rest / 2, **last)]

    def build(self, task):
        s = self.settings
        self.start_control(task)
        model = dense_classifier(task, s)
        if s.map != "dense":
            model = tensorise(model, choice(s.map, s))

        def mask(units, **more):
            return nn.BottleneckMask(units, s.noise, s.evaluate_with, s.threshold, **more)

        if s.mask_features:
            model.input_mask = mask(model.inputs)
        if s.mask_gates:
            for layer in model.layers:
                layer.gate_masks.update({gate: mask(layer.hidden, loudest=LOUDEST) for gate in _masked(layer.cell)})
        return model

    def load_dense(self, model, dense):
        if self.settings.map != "dense":
            dense = tensorise(dense, choice(self.settings.map, self.settings), from_weights=True)
        return super().load_dense(model, dense)

    def least(self, task):
        s = self.settings
        return 1 if s.mask_features else task.inputs, [1 if s.mask_gates else s.hidden] * s.layers

    def size(self, of, inputs, units):
        return self._counts(of, inputs, units)["lstm_total"]

    def closed_form(self, task):
        if self.settings.ratio is not None:
            return None  # which inputs and units make up the budget depends on the data
        return self._counts(task.inputs, task.inputs, [self.settings.hidden] * self.settings.layers)

    def _counts(self, of, inputs, units):
        """Counts of what is left with so many of `of` inputs and so many units of each layer."""
        s = self.settings
        cell = nn.cell_of(s.cell)
        gates, stored = len(cell.gates), None
        if s.map != "dense":
            dense = gates * units[0] * inputs
            cores = choice(s.map, s).count(of, s.hidden, gates) + inputs * s.mask_features  # and z_v
            cores += (inputs < of) * inputs + (units[0] < s.hidden) * gates * units[0]  # which of them are read
            stored = {"cores": cores, "dense": dense, "smaller": min(cores, dense)}[s.compact_to]
        kept = s.mask_gates and s.finalise == "vectors" and s.evaluate_with == "mean"  # hard masks are all ones
        vectors = len(set(cell.unfolded) & set(_masked(cell))) * sum(units) if kept else 0  # z_i * z_g and z_f; z_r
        counts = closed_form(inputs, units, s.cell, input_to_hidden=stored)
        return counts | {"lstm_total": counts["lstm_total"] + vectors}

    def slack(self):
        return BEFORE_LASSO if self.settings.group_lasso else 1.0

    def parameter_groups(self, model):
        s = self.settings
        weights, _ = nn.split_mask_parameters(model)
        return [{"params": weights}, *mask_groups(model, self.clock, s.mask_learning_rate, s.mask_weight_decay)]

    def _lasso(self, model):
        """The proximal form of Eq. 16, trimmed to the ratio (see UnitLasso)."""

        def size(units):
            return self.size(model.inputs, model.inputs, units)

        budget = budget_of(int(self.controller.dense), self.settings.ratio)
        return UnitLasso(self.settings.group_lasso, size, size(model.hidden), budget)

    @without_gradients
    def after_step(self, model):
        super().after_step(model)
        if self.clock.stage == "group lasso" and self.settings.ratio:
            self._lasso(model).step(model, self.clock)

    def observe(self, model):
        of_lasso = self.clock.stage == "group lasso" and self.settings.ratio
        return super().observe(model) | (self._lasso(model).columns(model, self.clock) if of_lasso else {})

    def penalty(self, model):
        s = self.settings
        if self.clock.stage == "group lasso":
            if s.ratio:
                return 0.0
            return s.group_lasso * nn.unit_group_lasso(model)
        masks = [mask for layer in model.layers for mask in layer.gate_masks.values()]
        terms = len(masks) + (model.input_mask is not None)  # each with a data term of its own
        scale = {"dataset": 1 / self.clock.examples, "eq15": 1 / max(1, terms), "released": 1 / 2}[s.scale]
        beta = (s.beta or 1.0) if s.ratio else s.beta  # a controlled weight starts there
        total = beta * sum(mask.kl() for mask in masks)
        if model.input_mask is not None:
            total = total + (beta if s.beta_features is None else s.beta_features) * model.input_mask.kl()
        return scale * (self.weight / beta if s.ratio else self.clock.ramp(s.ramp)) * total

    def end_stage(self, model, stage):
        s = self.settings
        if stage.name == "compress":
            nn.keep_largest(model, s.keep_inputs, s.keep_hidden)
            self.choose(model)
            return nn.compact_masked(model, s.finalise == "vectors", s.compact_to)
        if stage.name == "group lasso":
            return nn.select_units(model, None, self._after_lasso(model), map_form=s.compact_to)
        return model

    def _after_lasso(self, model):
        """The units of each layer that stay: by the threshold on their groups' norms, or the largest that fit."""
        if self.settings.ratio is not None:
            return self._lasso(model).units(model)
        return [nn.above(norm, self.settings.group_threshold) for norm in nn.unit_square_norms(model)]


def _masked(cell):
    """The gates that carry a mask."""
    return [gate for gate in cell.gates if gate != cell.mixing]
