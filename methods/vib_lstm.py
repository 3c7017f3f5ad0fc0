"""VIB-LSTM: bottleneck masks on the input features and on the gates of a recurrent network."""

from typing import ClassVar, Literal

from pydantic import PositiveInt, model_validator

from squeezebench import nn
from squeezebench.method import FromDense, Stage, StartSettings, closed_form, dense_classifier, setting
from squeezebench.method.tensor import TensorSettings, choice, tensorise


class VIBLSTM(FromDense):
    """Srivastava et al., WACV 2021, Eq. 8-15: z = mu + sigma * eps on gates and inputs, pruned by mu^2 / sigma^2.

    Loss: mean cross-entropy + s * (beta * sum_gates KL + beta_features * KL_features). Eq. 15 weighs the data term 5,
    so s = 1/5 under `scale: eq15`; `released` is the factor 1/2 of the authors' code; `dataset` divides by the number
    of training sequences, which makes beta near 1 a useful value on tasks of any size.

    `noise: first_batch` is the released code's reading. It has a degenerate optimum (see nn.BottleneckMask): once no
    noise is drawn, sigma grows for free and the KL term prunes everything while the training loss stays near 0.
    """

    title = "VIB-LSTM"
    paper = "Srivastava, Dutta et al., A VIB Based Method to Compress Sequential Networks for HAR, WACV 2021"
    protocols: ClassVar = {
        "paper": {"scale": "eq15"},
        "as_released": {"start": "scratch", "scale": "released", "noise": "first_batch", "evaluate_with": "hard",
                        "beta": 4e-6, "ramp": 0.0, "mask_learning_rate": 0.05},  # beta: kml 4 times kl_fac 1e-6
    }  # fmt: skip

    class Settings(StartSettings, TensorSettings):
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
        noise: Literal["per_sequence", "per_step", "first_batch"] = setting(
            "per_sequence",
            "when eps is drawn; first_batch (the released code) degenerates: sigma grows for free, all is pruned",
        )
        keep_inputs: PositiveInt | None = setting(None, "target: exactly this many inputs stay (appendix)")
        keep_hidden: PositiveInt | None = setting(None, "target: exactly this many units of each layer stay (appendix)")
        threshold: float = setting(1.0, "a unit stays iff mu^2 / sigma^2 exceeds this", gt=0)
        evaluate_with: Literal["mean", "hard"] = setting("mean", "mask at evaluation: mu or 1 on kept units")
        finalise: Literal["standard", "vectors"] = setting(
            "standard", "masks no cell can absorb: set to 1 before fine-tuning, or kept as counted vectors"
        )
        compress_share: float = setting(
            0.6, "part of the remaining epochs with noise and KL; the rest fine-tunes", gt=0, lt=1
        )
        mask_learning_rate: float = setting(
            0.03, "of mu and log sigma^2 (paper: 0.001 to 0.1)", search=(1e-3, 0.1), gt=0
        )
        group_lasso: float = setting(0.0, "lambda of the ISS penalty after compression (Eq. 16, VIB+ISS)", ge=0)
        group_threshold: float = setting(0.01, "on the squared group norm (VIB+ISS)", gt=0)

        @model_validator(mode="after")
        def _targets_need_their_masks(self):
            for target, mask in (("keep_inputs", "mask_features"), ("keep_hidden", "mask_gates")):
                if getattr(self, target) is not None and not getattr(self, mask):
                    raise ValueError(f"{target} needs {mask}: true")
            return self

    @classmethod
    def inactive_settings(cls, settings):
        return ("rank",) if settings.map == "dense" or settings.budget else ()

    def stages(self):
        s = self.settings
        rest = 1 - s.compress_share
        if not s.group_lasso:
            return [Stage("compress", s.compress_share), Stage("fine-tune", rest, penalised=False)]
        return [
            Stage("compress", s.compress_share),
            Stage("group lasso", rest / 2),
            Stage("fine-tune", rest / 2, penalised=False),
        ]

    def build(self, task):
        s = self.settings
        model = dense_classifier(task, s)
        if s.map != "dense":
            model = tensorise(model, choice(s.map, s))

        def mask(units):
            return nn.BottleneckMask(units, s.noise, s.evaluate_with, s.threshold)

        if s.mask_features:
            model.input_mask = mask(model.inputs)
        if s.mask_gates:
            for layer in model.layers:
                layer.gate_masks.update({gate: mask(layer.hidden) for gate in layer.cell.gates})
        return model

    def load_dense(self, model, dense):
        if self.settings.map != "dense":
            dense = tensorise(dense, choice(self.settings.map, self.settings), from_weights=True)
        return super().load_dense(model, dense)

    def closed_form(self, task):
        s = self.settings
        cell = nn.cell_of(s.cell)
        gates = len(cell.gates)
        stored = dense = gates * s.hidden * task.inputs
        if s.map != "dense":
            cores = choice(s.map, s).count(task.inputs, s.hidden, gates) + task.inputs * s.mask_features  # and z_v
            stored = {"cores": cores, "dense": dense, "smaller": min(cores, dense)}[s.compact_to]
        counts = closed_form(task.inputs, [s.hidden] * s.layers, s.cell, input_to_hidden=stored)
        kept = s.mask_gates and s.finalise == "vectors" and s.evaluate_with == "mean"  # hard masks are all ones
        vectors = len(cell.unfolded) * s.hidden * s.layers if kept else 0  # z_i * z_g and z_f; z_r and z_z
        return counts | {"lstm_total": counts["lstm_total"] + vectors}

    def parameter_groups(self, model):
        weights, masks = nn.split_mask_parameters(model)
        return [{"params": weights}, {"params": masks, "lr": self.settings.mask_learning_rate, "weight_decay": 0.0}]

    def penalty(self, model):
        s = self.settings
        if self.clock.stage == "group lasso":
            return s.group_lasso * nn.unit_group_lasso(model)
        scale = {"dataset": 1 / self.clock.examples, "eq15": 1 / 5, "released": 1 / 2}[s.scale]
        beta_features = s.beta if s.beta_features is None else s.beta_features
        total = sum(s.beta * m.kl() for layer in model.layers for m in layer.gate_masks.values())
        if model.input_mask is not None:
            total = total + beta_features * model.input_mask.kl()
        return scale * self.clock.ramp(s.ramp) * total

    def observe(self, model):
        return {"kept_inputs": len(nn.surviving_inputs(model)), "kept_hidden": sum(map(len, nn.surviving_units(model)))}

    def end_stage(self, model, stage):
        if stage.name == "compress":
            nn.keep_largest(model, self.settings.keep_inputs, self.settings.keep_hidden)
            return nn.compact_masked(model, self.settings.finalise == "vectors", self.settings.compact_to)
        if stage.name == "group lasso":
            units = [nn.above(norms, self.settings.group_threshold) for norms in nn.unit_square_norms(model)]
            return nn.select_units(model, None, units, map_form=self.settings.compact_to)
        return model
