"""Input-to-hidden and hidden-to-hidden of one layer as parts of one map (Yin et al., CVPR 2021: FDHT-LSTM)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.registry import module_from_spec, register


@register
class JointInput(nn.Module):
    """(..., D) -> (..., O): the first D columns of a map (D + H) -> O. It owns the map."""

    name = "joint"

    def __init__(self, whole: nn.Module, hidden: int) -> None:
        super().__init__()
        self.whole, self.hidden = whole, hidden
        self.in_features, self.out_features = whole.in_features - hidden, whole.out_features

    def forward(self, x: Tensor) -> Tensor:
        return self.whole(nn.functional.pad(x, (0, self.hidden)))

    def dense(self) -> Tensor:
        """(O, D)."""
        return self.whole.dense()[:, : self.in_features]

    def macs(self, rows: int) -> int:
        """Multiply-accumulates on `rows` rows: the whole map runs, with zeros for the state."""
        return self.whole.macs(rows)

    def spec(self) -> dict[str, Any]:
        return {"map": self.name, "whole": self.whole.spec(), "hidden": self.hidden}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> JointInput:
        """An empty map of the shapes in `spec`."""
        return cls(module_from_spec(spec["whole"]), spec["hidden"])


class JointHidden(nn.Module):
    """(..., H) -> (..., O): the last H columns of a JointInput's map. It stores nothing itself."""

    def __init__(self, owner: JointInput) -> None:
        super().__init__()
        self._owner = (owner,)  # a tuple, so that the shared parameters are registered, saved and counted once
        self.in_features, self.out_features = owner.hidden, owner.out_features

    @property
    def owner(self) -> JointInput:
        """The map that this one is a part of."""
        return self._owner[0]

    def dense(self) -> Tensor:
        """(O, H): the map applied to the H unit vectors, which is cheaper than its whole matrix."""
        whole = self.owner.whole
        parameter = next(whole.parameters())
        units = torch.eye(self.in_features, dtype=parameter.dtype, device=parameter.device)
        return whole(nn.functional.pad(units, (whole.in_features - self.in_features, 0))).T

    def dense_macs(self) -> int:
        """Multiply-accumulates of `dense()`: the whole map on H rows."""
        return self.owner.whole.macs(self.in_features)

    def spec(self) -> dict[str, Any]:
        return {"map": "joint_hidden"}
