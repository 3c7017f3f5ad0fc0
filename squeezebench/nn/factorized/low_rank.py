"""Low-rank factorisation (Grachev et al. 2017, arXiv 1708.05963; Winata et al. 2019, arXiv 1908.09982)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.base import LinearMap, check_weight, default_std, random_cores, set_cores
from squeezebench.nn.factorized.decomposition import leading_basis
from squeezebench.nn.factorized.modes import check_modes, check_rank
from squeezebench.nn.kernels.gemm import linear
from squeezebench.nn.registry import register


@register
class LowRankMap(LinearMap):
    """W = U V with U (O, r) and V (r, D): r (O + D) parameters, fewer than dense iff r < O D / (O + D)."""

    name = "low_rank"

    def __init__(self, in_features: int, out_features: int, rank: int, *, std: float | None = None) -> None:
        check_modes("in_features and out_features", (in_features, out_features))
        self._check(in_features, out_features, rank)
        super().__init__(in_features, out_features)
        self.rank = rank
        self.U = nn.Parameter(torch.empty(out_features, rank))
        self.V = nn.Parameter(torch.empty(rank, in_features))
        random_cores([self.U, self.V], rank, default_std(in_features, out_features, std))

    @classmethod
    def _check(cls, in_features: int, out_features: int, rank: int) -> None:
        check_rank("rank", rank, cls.highest_rank(in_features, out_features))

    @staticmethod
    def highest_rank(in_features: int, out_features: int) -> int:
        """min(D, O)."""
        return min(in_features, out_features)

    @classmethod
    def count(cls, in_features: int, out_features: int, rank: int) -> int:
        """r (O + D)."""
        cls._check(in_features, out_features, rank)
        return rank * (out_features + in_features)

    @classmethod
    def from_dense(cls, weight: Tensor, rank: int) -> LowRankMap:
        """The truncated SVD of the weight (O, D), the singular values shared by both factors."""
        if weight.dim() != 2:
            raise ValueError(f"weight must be (O, D), got shape {tuple(weight.shape)}")
        out_features, in_features = weight.shape
        built = cls(in_features, out_features, rank)
        W = check_weight(weight, in_features, out_features)
        U = leading_basis(W, rank)
        V = U.T @ W  # its rows have the singular values as norms
        root = V.norm(dim=1).sqrt().clamp_min(1e-12)
        set_cores(built, [U * root, V / root[:, None]], weight.dtype)
        return built

    def _apply_rows(self, x: Tensor) -> Tensor:
        return linear(linear(x, self.V), self.U)

    def macs(self, rows: int) -> int:
        return rows * self.rank * (self.in_features + self.out_features)

    def dense_macs(self) -> int:
        return self.rank * self.in_features * self.out_features

    def dense(self) -> Tensor:
        return self.U @ self.V

    def settings(self) -> dict[str, Any]:
        return {"in_features": self.in_features, "out_features": self.out_features, "rank": self.rank}
