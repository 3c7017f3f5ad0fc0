"""A linear map stored honestly sparse: values, column indices and row pointers, all of them counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.registry import register


@register
class SparseMap(nn.Module):
    """(..., D) -> (..., O) in compressed sparse rows. Every stored number counts as one, indices included."""

    name = "sparse"
    counted_buffers = ("columns", "rows")

    def __init__(self, in_features: int, out_features: int, nonzero: int):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.values = nn.Parameter(torch.zeros(nonzero))
        self.register_buffer("columns", torch.zeros(nonzero, dtype=torch.int32))
        self.register_buffer("rows", torch.zeros(out_features + 1, dtype=torch.int32))

    @classmethod
    def from_dense(cls, weight: Tensor) -> SparseMap:
        """weight (O, D): its non-zero entries."""
        weight = weight.detach().cpu()
        row, column = weight.nonzero(as_tuple=True)
        new = cls(weight.shape[1], weight.shape[0], len(row))
        with torch.no_grad():
            new.values.copy_(weight[row, column])
        new.columns.copy_(column)
        new.rows[1:] = torch.bincount(row, minlength=len(weight)).cumsum(0)
        return new

    def dense(self) -> Tensor:
        """(O, D) with the zeros filled in."""
        counts = (self.rows[1:] - self.rows[:-1]).long()
        row = torch.repeat_interleave(torch.arange(self.out_features, device=self.values.device), counts)
        zeros = self.values.new_zeros(self.out_features, self.in_features)
        return zeros.index_put((row, self.columns.long()), self.values)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.dense())

    def macs(self, rows: int) -> int:
        """Multiply-accumulates on `rows` rows: the matrix is multiplied as a dense one."""
        return rows * self.in_features * self.out_features

    def dense_macs(self) -> int:
        """Multiply-accumulates of `dense()`: entries are filled in, none is computed."""
        return 0

    def spec(self) -> dict[str, Any]:
        return {
            "map": self.name,
            "in_features": self.in_features,
            "out_features": self.out_features,
            "nonzero": self.values.numel(),
        }
