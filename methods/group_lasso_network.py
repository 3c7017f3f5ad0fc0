"""Structured sparsity learning: a group lasso on what reads each pixel, unit and channel of a network."""

from typing import ClassVar

from squeezebench import nn
from squeezebench.method import DenseMethod, FromDense, NetworkSettings, Stage, StartSettings, dense_classifier, setting
from squeezebench.method.masked import example
from squeezebench.method.network_pruning import example_of


class GroupLassoNetwork(FromDense, DenseMethod):
    """Wen et al., NIPS 2016: a group lasso whose groups are structures; a unit goes when its group is 0.

    Loss: mean cross-entropy + strength sum_g sqrt(|g|) ||w_g||_2. A unit's group is all the weights that read it (all
    readers of a set of coupled channels together), so that a group of zeros can be cut without changing what the
    network gives; elements of a flattened map are groups inside their channel's. The gradient of a norm does not reach
    0, it stays as near as the learning rate lets it: a last proximal step takes `threshold` sqrt(|g|) off every norm,
    or all of it, and what is left of the network without the groups of zeros is fine-tuned.

    Other than the paper: the filters and the channels of a layer are not two kinds of groups (a filter of zeros still
    gives its bias, or its batch norm's shift); groups of neither shapes nor depth; Adam, a dense pretraining.
    """

    title = "group lasso"
    paper = "Wen et al., Learning Structured Sparsity in Deep Neural Networks, NIPS 2016"
    kinds: ClassVar = ("image",)

    class Settings(StartSettings, NetworkSettings):
        strength: float = setting(3e-3, "weight of the group lasso (lambda)", search=(1e-4, 0.3), ge=0)
        learning_rate: float = setting(
            1.0, "factor while sparsifying: Adam moves a weight by one rate a step", search=(0.3, 10.0), gt=0
        )
        threshold: float = setting(1e-3, "what the last step takes off a weight (root mean square of its group)", ge=0)
        start_share: float = setting(0.2, "part of the epochs spent on the dense pretraining", gt=0, lt=1)
        compress_share: float = setting(0.6, "part of the remaining epochs with the group lasso", gt=0, lt=1)

    def stages(self):
        s = self.settings
        sparsify = Stage("sparsify", s.compress_share, learning_rate=s.learning_rate)
        return [sparsify, Stage("fine-tune", 1 - s.compress_share, penalised=False)]

    def build(self, task):
        """The network with its coupled channels followed; none of them is masked."""
        return nn.MaskedNetwork(dense_classifier(task, self.settings), example(task.inputs), sets=())

    def load_dense(self, model, dense):
        model.network.load_state_dict(dense.state_dict())
        return model

    def penalty(self, model):
        return self.settings.strength * nn.unit_groups(model).lasso()

    def observe(self, model):
        if not isinstance(model, nn.MaskedNetwork):
            return {}
        stays = nn.unit_groups(model).alive(self.settings.threshold).numpy()
        return {"kept_weights": nn.track_sizes(model).sizes(stays).weights}

    def end_stage(self, model, stage):
        if not isinstance(model, nn.MaskedNetwork):
            return model
        groups = nn.unit_groups(model)
        groups.shrink(self.settings.threshold)
        keep = {name: stays.nonzero().flatten() for name, stays in groups.of(groups.alive()).items()}
        return nn.select_channels(model.network, keep, example_of(model.network))
