"""VIBNet: bottleneck masks on the channels, units and input pixels of a feed-forward network."""

from dataclasses import replace
from math import inf
from typing import ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from squeezebench import nn
from squeezebench.method import Stage, risen, setting, without_gradients
from squeezebench.method.masked import MaskedMethod, MaskedSettings, example

GONE = -20.0  # log sigma^2 of a removed unit: no noise, and with mu = 0 no information
CARRIES = 1 / 8  # of what the set that carries most of a limit does: sets that take part in meeting it


class VIBNet(MaskedMethod):
    """Dai et al., ICML 2018: h = (mu + sigma eps) f(x), pruned by mu^2 / sigma^2; mu is folded into what reads h.

    Loss: mean cross-entropy + beta / N sum_i gamma_i sum_j log(1 + mu_ij^2 / sigma_ij^2), N training images. gamma_i by
    `weighting`: `published`, the positions of layer i's map times the published multiplier of a VGG (else 1); `limits`,
    what removing one unit of layer i saves of the limits, scaled to a mean of 1 over the units that stay.

    With a ratio, beta is where the controlled weight starts, and the units of largest mu^2 / sigma^2 stay.

    With limits (on r_W, r_N or multiply-accumulates) the threshold rises until they are met: from the end of the ramp
    on, each limit's excess falls geometrically to nothing at the end of compression, and the units of least
    mu^2 / sigma^2 go first, of the layers that carry the limit.

    Stages: a dense pretraining; compress, in `pieces` between which removed units are cut out (training gets faster);
    settle, the same loss at a fixed size; fine-tune, the plain network without noise.
    """

    title = "VIBNet"
    paper = "Dai, Zhu, Guo, Wipf, Compressing Neural Networks using the Variational Information Bottleneck, ICML 2018"
    kinds: ClassVar = ("image",)
    weight_setting: ClassVar = "beta"

    class Settings(MaskedSettings):
        beta: float = setting(1.0, "weight of the KL terms", search=(0.05, 50.0), ge=0)
        ramp: float = setting(0.3, "part of compression over which beta rises from 0 (no ratio)", ge=0, lt=1)
        weighting: Literal["published", "limits"] = setting("published", "what gamma_i follows")
        multipliers: list[NonNegativeFloat] | None = setting(
            None, "gamma_i of each masked layer beside the weighting's"
        )
        limit_weights: PositiveFloat | None = setting(None, "at most this r_W, per cent of the dense network's weights")
        limit_neurons: PositiveFloat | None = setting(None, "at most this r_N, per cent of the dense network's neurons")
        limit_macs: PositiveFloat | None = setting(None, "at most so many multiply-accumulates an image")
        every: PositiveInt = setting(50, "steps between updates of what is removed")
        compress_share: float = setting(0.5, "part of the remaining epochs in which units go", gt=0, lt=1)
        settle_share: float = setting(
            0.25, "part of the remaining epochs with noise and KL at a fixed size", ge=0, lt=1
        )
        pieces: PositiveInt = setting(1, "stages of compression, at a constant learning rate")

        @model_validator(mode="after")
        def _stages_and_limits_go_together(self):
            if self.compress_share + self.settle_share >= 1:
                raise ValueError("compress_share and settle_share leave nothing to fine-tuning: give less than 1")
            limited = self.limit_weights or self.limit_neurons or self.limit_macs
            if self.weighting == "limits" and not limited and not self.ratio:
                raise ValueError("weighting: limits needs limit_weights, limit_neurons, limit_macs or ratio")
            if limited and self.ratio:
                raise ValueError("ratio and limits are two ways to a given size: give one of them")
            return self

    def stages(self):
        s = self.settings
        share = s.compress_share / s.pieces
        stages = [Stage(f"compress {k}", share, schedule="constant") for k in range(1, s.pieces + 1)]
        stages += [Stage("settle", s.settle_share)] if s.settle_share else []
        last = 1 - s.compress_share - s.settle_share
        return [*stages, Stage("fine-tune", last, penalised=False, learning_rate=s.fine_tune_rate)]

    # --- what is trained
    def build(self, task):
        s = self.settings
        model = super().build(task)
        if s.multipliers is not None and len(s.multipliers) != len(model.sets):
            names = ", ".join(masked.name for masked in model.sets)
            raise ValueError(f"{len(s.multipliers)} multipliers for the {len(model.sets)} masked layers {names}")
        self._look(model)
        dense = nn.track_sizes(model).sizes(nn.track_sizes(model).alive({}))
        self.limits = {
            "weights": inf if s.limit_weights is None else s.limit_weights / 100 * dense.weights,
            "neurons": inf if s.limit_neurons is None else s.limit_neurons / 100 * dense.neurons,
            "macs": s.limit_macs or inf,
        }
        if s.ratio:
            self.limits[s.ratio_of] = getattr(dense, s.ratio_of) / s.ratio
        self.excess = {}
        self._weigh(model)
        return model

    def penalty(self, model):
        if not isinstance(model, nn.MaskedNetwork):
            return 0.0
        s = self.settings
        weight = self.weight if s.ratio else self.weight * risen(self._progress(0), s.ramp)
        total = sum(self.gamma[name] * mask.kl() for name, mask in model.masks.items())
        return weight / self.clock.examples * total

    def mask_clock(self):
        """Over all pieces of compression, for what is learned there and for the rate of the stage that follows."""
        clock, s = self.clock, self.settings
        if not clock.stage.startswith("compress"):
            steps = round(clock.steps * s.compress_share / s.settle_share) if s.settle_share else clock.steps
            return replace(clock, step=steps, steps=steps)
        steps = clock.steps * s.pieces
        return replace(clock, step=min(steps, round(self._progress(0) * steps)), steps=steps)

    def after_step(self, model):
        super().after_step(model)
        if not isinstance(model, nn.MaskedNetwork):
            return
        clock, last = self.clock, self.clock.step + 1 == self.clock.steps
        if clock.stage.startswith("compress") and (last or (clock.step + 1) % self.settings.every == 0):
            self._shrink(model)
            self._weigh(model)
        self._hold(model)

    def end_stage(self, model, stage):
        if not isinstance(model, nn.MaskedNetwork):
            return model
        if stage.name.startswith("compress"):
            last = stage.name == f"compress {self.settings.pieces}"
            if last:
                self.choose(model)
            self.kept = nn.track_sizes(model).kept(self._alive(model))
            self._hold(model)
            image = example(model.network.inputs).to(next(model.parameters()).device)
            model = nn.narrowed(model, self.kept, image)
            self._look(model)
            if last and self.settings.ratio:
                for name, mask in model.masks.items():
                    mask.chosen = self.kept[name]  # no threshold on what settles
            self._weigh(model)
        return nn.compact_network(model) if stage.name == self._last_masked() else model

    def observe(self, model):
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        kept = nn.track_sizes(model).sizes(self._alive(model))
        sizes = {"kept_weights": kept.weights, "kept_neurons": kept.neurons, "kept_macs": kept.macs}
        return super().observe(model) | sizes | {"first_layer_nats": self._first_layer_bound(model)}

    @without_gradients
    def _first_layer_bound(self, model):
        """The KL term's bound on what the first hidden layer tells of the input, in nats (the poster's Figure 2):
        1/2 sum_j log(1 + alpha_j) over its units that stay, times the positions of its map. Pixels are none."""
        first = next(masked for masked in model.sets if not masked.name.endswith("pixels"))
        stays = self.kept[first.name] & model.masks[first.name].keep().cpu()
        return 0.5 * first.positions * model.masks[first.name].alpha().detach().cpu()[stays].log1p().sum().item()

    # --- how units go
    def _last_masked(self):
        return self.stages()[-2].name

    def _look(self, model):
        """What of `model` may still be used: all of it, but for what was removed and not cut out."""
        self.kept = {name: (~((mask.mu == 0) & (mask.log_var == GONE))).cpu() for name, mask in model.masks.items()}

    def _alive(self, model):
        """Which sets of the graph stay, by what was removed so far and by the threshold."""
        return nn.track_sizes(model).alive(
            {name: stays & model.masks[name].keep().cpu() for name, stays in self.kept.items()}
        )

    def _progress(self, ahead):
        """Part of the compression that is done after `ahead` more steps; 1 after it."""
        clock, pieces = self.clock, self.settings.pieces
        if not clock.stage.startswith("compress"):
            return 1.0
        piece = int(clock.stage.rpartition(" ")[2]) - 1
        return (piece + min(1.0, (clock.step + ahead) / max(1, clock.steps))) / pieces

    def _weigh(self, model):
        """gamma_i times the positions of layer i's map, as the masks are weighed now."""
        s, sets = self.settings, model.sets
        if s.weighting == "limits":
            alive = self._alive(model)
            worth = [sum(self._relief(model, alive, masked).values()) for masked in sets]
            units = [int(alive[list(masked.labels)].sum()) for masked in sets]
            total = sum(w * n for w, n in zip(worth, units, strict=True))
            weights = [w * sum(units) / total if total else 1.0 for w in worth]
        else:
            name = s.network.removeprefix("vgg16_").upper()
            side = model.network.frame[1]
            published = nn.CONFIGURATIONS[name].multipliers(side) if name in nn.CONFIGURATIONS else [1.0] * len(sets)
            weights = [masked.positions * m for masked, m in zip(sets, published, strict=True)]
        own = s.multipliers or [1.0] * len(sets)
        self.gamma = {masked.name: w * m for masked, w, m in zip(sets, weights, own, strict=True)}

    def _relief(self, model, alive, masked):
        """Limit -> the share of it that removing one unit of a set saves; a limit that is met counts a tenth."""
        labels = [label for label in masked.labels if alive[label]]
        if not labels:
            return dict.fromkeys(self.limits, 0.0)
        without = alive.copy()
        without[labels[-1]] = False
        now, then = nn.track_sizes(model).sizes(alive), nn.track_sizes(model).sizes(without)
        shares = {}
        for name, limit in self.limits.items():
            size = getattr(now, name)
            shares[name] = (1.0 if size > limit else 0.1) * (size - getattr(then, name)) / limit
        return shares

    @without_gradients
    def _shrink(self, model):
        """Remove what the limits ask for by now: units of least alpha, of the layers that carry a limit."""
        progress, ramp = self._progress(1), self.settings.ramp
        if progress < ramp or self.settings.ratio or all(limit == inf for limit in self.limits.values()):
            return
        alive = self._alive(model)
        alpha = {masked.name: model.masks[masked.name].alpha().cpu().tolist() for masked in model.sets}

        def over(wanted):
            sizes = nn.track_sizes(model).sizes(alive)
            ratios = {name: getattr(sizes, name) / limit / wanted[name] for name, limit in self.limits.items()}
            worst = max(ratios, key=ratios.get)
            return worst if ratios[worst] > 1 else None

        if not self.excess:
            sizes = nn.track_sizes(model).sizes(alive)
            self.excess = {name: max(1.0, getattr(sizes, name) / limit) for name, limit in self.limits.items()}
        left = 1 - (progress - ramp) / (1 - ramp)
        wanted = {name: excess**left for name, excess in self.excess.items()}
        while (limit := over(wanted)) is not None:
            units = self._carrying(model, alive, limit)
            if not units:
                break  # one unit a layer is more than is allowed
            alive[min(units, key=lambda unit: alpha[unit[0]][unit[1]])[2]] = False
            alive = nn.track_sizes(model).alive(nn.track_sizes(model).kept(alive))
        self.kept = nn.track_sizes(model).kept(alive)

    def _carrying(self, model, alive, limit):
        """(set, unit, label) of every unit that may go for `limit`; the last unit of a layer stays."""
        left = {s.name: [k for k, label in enumerate(s.labels) if alive[label]] for s in model.sets}
        saves = {s.name: self._relief(model, alive, s)[limit] * len(left[s.name]) for s in model.sets}
        least = CARRIES * max((saves[name] for name in saves if len(left[name]) > 1), default=inf)
        return [
            (s.name, k, s.labels[k])
            for s in model.sets
            if len(left[s.name]) > 1 and saves[s.name] >= least
            for k in left[s.name]
        ]

    @without_gradients
    def _hold(self, model):
        """Removed units stay at z = 0, whatever the optimiser's moments do to them."""
        for name, stays in self.kept.items():
            if not stays.all():
                mask, gone = model.masks[name], ~stays.to(model.masks[name].mu.device)
                mask.mu.masked_fill_(gone, 0.0)
                mask.log_var.masked_fill_(gone, GONE)
