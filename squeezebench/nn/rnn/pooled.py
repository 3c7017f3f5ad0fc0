"""Classification without a recurrence: the mean of the features over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.registry import register


@register
class MeanPoolLinear(nn.Module):
    """(B, T, D) -> logits (B, classes)."""

    def __init__(self, inputs: int, classes: int):
        super().__init__()
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        if length is None:
            return self.head(x.mean(1))
        valid = torch.arange(x.shape[1], device=x.device) < length[:, None]  # (B, T)
        return self.head((x * valid[..., None]).sum(1) / length[:, None])

    def macs(self, steps: int) -> int:
        """Multiply-accumulates of one sequence: the mean needs none."""
        return self.head.in_features * self.head.out_features

    def spec(self) -> dict[str, Any]:
        return {"class": "MeanPoolLinear", "inputs": self.head.in_features, "classes": self.head.out_features}
