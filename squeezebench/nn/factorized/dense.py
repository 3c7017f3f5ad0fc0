"""The plain matrix: the reference that every other map is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.base import LinearMap, check_weight, default_std, random_cores, set_cores
from squeezebench.nn.factorized.modes import check_modes
from squeezebench.nn.kernels.gemm import linear
from squeezebench.nn.registry import register


@register
class DenseMap(LinearMap):
    """W (O, D) as it is: O * D parameters."""

    name = "dense"

    def __init__(self, in_features: int, out_features: int, *, std: float | None = None) -> None:
        check_modes("in_features and out_features", (in_features, out_features or 1))  # 0: a cell without U h
        super().__init__(in_features, out_features)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        random_cores([self.weight], 1, default_std(in_features, out_features, std))

    @staticmethod
    def count(in_features: int, out_features: int) -> int:
        """O * D."""
        return out_features * in_features

    @classmethod
    def from_dense(cls, weight: Tensor) -> DenseMap:
        """A copy of the weight (O, D)."""
        if weight.dim() != 2:
            raise ValueError(f"weight must be (O, D), got shape {tuple(weight.shape)}")
        out_features, in_features = weight.shape
        built = cls(in_features, out_features)
        set_cores(built, [check_weight(weight, in_features, out_features)], weight.dtype)
        return built

    def _apply_rows(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)

    def dense(self) -> Tensor:
        return self.weight

    def settings(self) -> dict[str, Any]:
        return {"in_features": self.in_features, "out_features": self.out_features}
