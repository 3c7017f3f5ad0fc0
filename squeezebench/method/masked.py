"""What the methods on a feed-forward network under bottleneck masks share: start, masks, optimiser groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from squeezebench import nn
from squeezebench.method.dense import dense_classifier
from squeezebench.method.start import DenseMethod, FromDense, StartSettings
from squeezebench.schema.models import NetworkSettings, TaskInfo
from squeezebench.schema.settings import setting

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module, Parameter


class DecaySettings(NetworkSettings):
    """The weight decay of methods on feed-forward networks."""

    weight_decay: float | None = setting(
        None, "of convolutions and linear layers only, off the weights (AdamW); none: the experiment's", ge=0
    )


class MaskedSettings(StartSettings, DecaySettings):
    """Settings of the masks and of how the network below them is trained."""

    threshold: float = setting(1.0, "a unit stays iff mu^2 / sigma^2 exceeds this", gt=0)
    mask_learning_rate: float = setting(0.01, "of mu and log sigma^2", search=(1e-3, 0.1), gt=0)
    start_share: float = setting(0.2, "part of the epochs spent on the dense pretraining", gt=0, lt=1)
    fine_tune_rate: float = setting(1.0, "factor on the learning rate while fine-tuning", gt=0)


class MaskedMethod(FromDense, DenseMethod):
    """Base of the methods that train a MaskedNetwork first and its compact form afterwards."""

    mask: ClassVar[str] = "BottleneckMask"  # the class in squeezebench.nn of the masks that are trained

    class Settings(MaskedSettings):
        pass

    def build(self, task: TaskInfo) -> Module:
        """The network of the settings, one mask on each of its sets of coupled channels."""
        s, mask = self.settings, getattr(nn, self.mask)
        return nn.MaskedNetwork(dense_classifier(task, s), example(task.inputs), mask=mask, threshold=s.threshold)

    def load_dense(self, model: Module, dense: Module) -> Module:
        super().load_dense(model.network, dense)
        return model

    def parameter_groups(self, model: Module) -> list[dict[str, Any]]:
        """Weights (with AdamW's decay matrices and vectors apart), then mu and log sigma^2, which never decay."""
        s = self.settings
        rest, masks = nn.split_mask_parameters(model, getattr(nn, self.mask))
        groups = decayed_groups(rest, s.weight_decay)
        if masks:
            groups.append({"params": masks, "lr": s.mask_learning_rate, "weight_decay": 0.0})
        return groups


def decayed_groups(parameters: list[Parameter], weight_decay: float | None) -> list[dict[str, Any]]:
    """Optimiser groups in which matrices decay (AdamW) and vectors do not; None: all as the experiment has it."""
    if weight_decay is None:
        return [{"params": parameters}]
    matrices = [p for p in parameters if p.dim() > 1]
    vectors = [p for p in parameters if p.dim() <= 1]
    decay = {"weight_decay": weight_decay, "decoupled_weight_decay": True}
    return [{"params": matrices} | decay, {"params": vectors, "weight_decay": 0.0}]


def example(inputs: int) -> Tensor:
    """What a network in the engine's form is traced with: one image or frame, (1, 1, D)."""
    from torch import zeros

    return zeros(1, 1, inputs)
