"""Structured sparsity learning: a group lasso on what reads each pixel, unit and channel of a network."""

from typing import ClassVar

from squeezebench import nn
from squeezebench.method import NetworkSettings, Stage, StartSettings, dense_classifier, setting, without_gradients
from squeezebench.method.masked import TargetedNetwork, example
from squeezebench.method.network_pruning import example_of
from squeezebench.method.network_size import NetworkTargetSettings, dense_size, left
from squeezebench.method.target import budget_of, falling_target

TINY = 1e-12  # where a whole set is 0
TRIMMED = 0.5  # strength to a size: from 1 on, Adam cannot keep any norm, as it moves a weight by one rate a step


class GroupLassoNetwork(TargetedNetwork):
    """Wen et al., NIPS 2016: a group lasso whose groups are structures; a unit goes when its group is 0.

    Loss: mean cross-entropy + strength sum_g sqrt(|g|) ||w_g||_2. A unit's group is all the weights that read it (all
    readers of a set of coupled channels together), so that a group of zeros can be cut without changing what the
    network gives; elements of a flattened map are groups inside their channel's.

    The lasso is a proximal step after each step of the optimiser: each norm falls by learning rate x strength x
    sqrt(|g|), or to exactly 0. Through Adam the gradient of a norm would be rescaled weight by weight, and all norms
    collapse at once. As the step does not pass through Adam's moments (as AdamW's decay does not), `strength` is
    compared with their ratio, which is at most about 1.

    With a `ratio` the lasso is trimmed (see UnitLasso): it spares the groups of largest norm that fit a target, which
    falls from the dense size to the budget. A lasso on all groups that is strong enough for a size within a few epochs
    shrinks what stays as well.

    Other than the paper: the filters and the channels of a layer are not two kinds of groups (a filter of zeros still
    gives its bias, or its batch norm's shift); groups of neither shapes nor depth; Adam, a dense pretraining.
    """

    title = "group lasso"
    paper = "Wen et al., Learning Structured Sparsity in Deep Neural Networks, NIPS 2016"
    kinds: ClassVar = ("image",)
    compressing: ClassVar = "sparsify"

    class Settings(NetworkTargetSettings, StartSettings, NetworkSettings):
        strength: float = setting(0.1, "weight of the group lasso (lambda)", search=(0.01, 1.0), ge=0)
        start_share: float = setting(0.2, "part of the epochs spent on the dense pretraining", gt=0, lt=1)
        compress_share: float = setting(0.6, "part of the remaining epochs with the group lasso", gt=0, lt=1)

    def stages(self):
        share = self.settings.compress_share
        return [Stage("sparsify", share, schedule="constant"), Stage("fine-tune", 1 - share)]

    def build(self, task):
        """The network with its coupled channels followed; none of them is masked."""
        self.dense, self.spared = dense_size(task, self.settings), None
        return nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs), sets=())

    def load_dense(self, model, dense):
        model.network.load_state_dict(dense.state_dict())
        return model

    @without_gradients
    def after_step(self, model):
        if self.clock.stage != "sparsify":
            return
        groups = nn.unit_groups(model)
        if not self.settings.ratio:
            groups.shrink(self.clock.learning_rate * self.settings.strength)
            return
        if self.spared is None or self.due():
            self.spared = self._largest(model, self._target())
        groups.shrink(self.clock.learning_rate * TRIMMED, self.spared)

    def _budget(self):
        return budget_of(self.dense, self.settings.ratio)

    def _target(self):
        return falling_target(self.dense, self._budget(), self.clock)

    def _largest(self, model, target):
        """Which units fit the target, (S + 1,): those whose squared norm is largest beside the largest of their set.
        Norms of different sets cannot be compared: nearly all pixels would go first."""
        groups = nn.unit_groups(model)
        norms = groups.of(groups.square_norms().cpu())
        scores = {name: norm / norm.max().clamp(min=TINY) for name, norm in norms.items()}
        largest = ~groups.free
        for units, keep in zip(groups.graph.sets, self.fitting(model, scores, [], target), strict=True):
            largest[list(units.labels)] = keep
        return largest

    def observe(self, model):
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        groups = nn.unit_groups(model)
        kept = nn.track_sizes(model).sizes(groups.alive().numpy()).weights
        sizes = {"kept_weights": kept, "lasso": groups.lasso().item()}
        if not self.settings.ratio:
            return sizes
        size = left(nn.track_sizes(model), self.settings, groups.alive().numpy())
        return sizes | {"expected_size": size, "target_size": self._target()}

    def end_stage(self, model, stage):
        if not isinstance(model, nn.MaskedNetwork):
            return model
        groups = nn.unit_groups(model)
        stays = groups.of(groups.alive())
        for units, norms in zip(stays.values(), groups.of(groups.square_norms().cpu()).values(), strict=True):
            units[norms.argmax()] = True  # a set never loses its last unit
        if self.settings.ratio:
            stays = groups.of(self._largest(model, self._budget()))
        elif all(bool(units.all()) for units in stays.values()):
            self.notes.append("removed nothing: give a larger strength, or a ratio")
        keep = {name: units.nonzero().flatten() for name, units in stays.items()}
        return nn.select_channels(model.network, keep, example_of(model.network))
