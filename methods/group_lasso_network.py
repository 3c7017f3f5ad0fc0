"""Structured sparsity learning: a group lasso on what reads each pixel, unit and channel of a network."""

from typing import ClassVar

from squeezebench import nn
from squeezebench.method import NetworkSettings, Stage, StartSettings, dense_classifier, setting, without_gradients
from squeezebench.method.masked import TargetedNetwork, example
from squeezebench.method.network_pruning import example_of
from squeezebench.method.network_size import NetworkTargetSettings, left

SHRUNK = 0.25  # part of its norm at the start at which a unit is as likely to go as to stay
MOST = 0.5  # of a controlled strength: from 1 on, Adam cannot keep any norm, as it moves a weight by one rate a step


class GroupLassoNetwork(TargetedNetwork):
    """Wen et al., NIPS 2016: a group lasso whose groups are structures; a unit goes when its group is 0.

    Loss: mean cross-entropy + strength sum_g sqrt(|g|) ||w_g||_2. A unit's group is all the weights that read it (all
    readers of a set of coupled channels together), so that a group of zeros can be cut without changing what the
    network gives; elements of a flattened map are groups inside their channel's.

    The lasso is a proximal step after each step of the optimiser: each norm falls by learning rate x strength x
    sqrt(|g|), or to exactly 0. Through Adam the gradient of a norm would be rescaled weight by weight, and all norms
    collapse at once. As the step does not pass through Adam's moments (as AdamW's decay does not), `strength` is
    compared with their ratio, which is at most about 1. With a `ratio` the strength is controlled so that the expected
    number of weights meets the budget, and the groups stay that kept most of their norm.

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
        self.start_control(task)
        model = nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs), sets=())
        self.first = nn.unit_groups(model).square_norms().detach()
        self.stays = self.first.cpu() == self.first.cpu()
        return model

    def load_dense(self, model, dense):
        model.network.load_state_dict(dense.state_dict())
        self.first = nn.unit_groups(model).square_norms().detach()
        return model

    @without_gradients
    def after_step(self, model):
        if self.clock.stage != "sparsify":
            return
        groups = nn.unit_groups(model)
        strength = min(MOST, self.weight) if self.settings.ratio else self.weight
        groups.shrink(self.clock.learning_rate * strength)
        if self.settings.ratio:
            norms = self._norms_left(groups)
            stay = (norms / (norms + SHRUNK**2)).where(groups.free, 1.0) * self.stays
            self.controller.update(left(nn.track_sizes(model), self.settings, stay.numpy()), self.clock)
            if self.due():
                self._select(model)
            groups.scale(self.stays)

    def _select(self, model):
        groups = nn.unit_groups(model)
        sizes = groups.read_sizes.clamp(min=1)
        scores, stayed = groups.of(groups.square_norms().cpu() / sizes), groups.of(self.stays)
        stays = self.fitting(model, scores, [], list(stayed.values()))
        for units, keep in zip(groups.graph.sets, stays, strict=True):
            self.stays[list(units.labels)] = keep

    def _norms_left(self, groups):
        """Square of what is left of each group's norm at the start of the stage, (S + 1,)."""
        return (groups.square_norms() / self.first.to(groups.square_norms())).nan_to_num(1.0).cpu()

    def observe(self, model):
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        groups = nn.unit_groups(model)
        kept = nn.track_sizes(model).sizes(groups.alive().numpy()).weights
        sizes = {"kept_weights": kept, "lasso": groups.lasso().item()}
        return sizes | (self.controller.columns() if self.settings.ratio else {})

    def end_stage(self, model, stage):
        if not isinstance(model, nn.MaskedNetwork):
            return model
        groups = nn.unit_groups(model)
        stays = groups.of(groups.alive())
        for units, norms in zip(stays.values(), groups.of(groups.square_norms().cpu()).values(), strict=True):
            units[norms.argmax()] = True  # a set never loses its last unit
        if self.settings.ratio:
            self.controller.target = self.controller.budget
            self._select(model)
            stays = groups.of(self.stays)
        elif all(bool(units.all()) for units in stays.values()):
            self.notes.append("removed nothing: give a larger strength, or a ratio")
        keep = {name: units.nonzero().flatten() for name, units in stays.items()}
        return nn.select_channels(model.network, keep, example_of(model.network))
