"""What the methods on a feed-forward network under bottleneck masks share: start, masks, optimiser groups."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from .method import Method, NetworkSettings, TaskInfo, dense_classifier, knob
from .nn import BottleneckMask, apart
from .nn.feedforward import MaskedNetwork


class MaskedSettings(NetworkSettings):
    """Knobs of the masks and of how the network below them is trained."""

    threshold: float = knob(1.0, "a unit stays iff mu^2 / sigma^2 exceeds this", gt=0)
    mask_learning_rate: float = knob(0.01, "of mu and log sigma^2", search=(1e-3, 0.1), gt=0)
    weight_decay: float | None = knob(
        None, "of convolutions and linear layers only, off the weights (AdamW); none: the experiment's", ge=0
    )
    start: Literal["scratch", "dense"] = knob("dense", "where training starts")
    start_share: float = knob(0.2, "part of the epochs spent on the dense start", gt=0, lt=1)
    fine_tune_rate: float = knob(1.0, "factor on the learning rate while fine-tuning", gt=0)


class MaskedMethod(Method):
    """Base of the methods that train a MaskedNetwork first and its compact form afterwards."""

    mask: ClassVar[type[nn.Module]] = BottleneckMask

    class Settings(MaskedSettings):
        pass

    def start_share(self) -> float:
        return self.settings.start_share if self.settings.start == "dense" else 0.0

    def build(self, task: TaskInfo) -> nn.Module:
        """The network of the settings, one mask on each of its sets of coupled channels."""
        s = self.settings
        return MaskedNetwork(dense_classifier(task, s), example(task.inputs), mask=self.mask, threshold=s.threshold)

    def adopt(self, model: nn.Module, dense: nn.Module) -> nn.Module:
        super().adopt(model.network, dense)
        return model

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Weights (with AdamW's decay matrices and vectors apart), then mu and log sigma^2, which never decay."""
        s = self.settings
        rest, masks = apart(model, self.mask)
        groups = [{"params": rest}]
        if s.weight_decay is not None:
            matrices = [p for p in rest if p.dim() > 1]
            vectors = [p for p in rest if p.dim() <= 1]
            decay = {"weight_decay": s.weight_decay, "decoupled_weight_decay": True}
            groups = [{"params": matrices} | decay, {"params": vectors, "weight_decay": 0.0}]
        if masks:
            groups.append({"params": masks, "lr": s.mask_learning_rate, "weight_decay": 0.0})
        return groups


def example(inputs: int) -> Tensor:
    """What a network in the engine's form is traced with: one image or frame, (1, 1, D)."""
    return torch.zeros(1, 1, inputs)
