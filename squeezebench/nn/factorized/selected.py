"""A map of which only some inputs and outputs are left: cores cannot lose single rows, so they stay whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.registry import module_from_spec, register


@register
class SelectedMap(nn.Module):
    """(..., d) -> (..., o): inputs `columns` of the whole map, scaled, all others 0; outputs `rows` of it.

    whole: a LinearMap (D -> O); columns (d,), rows (o,): int, None for all; scale (d,) or None. The indices and the
    scale are stored numbers like any other, and counted.
    """

    name = "selected"
    counted_buffers = ("columns", "rows")

    def __init__(
        self, whole: nn.Module, columns: Tensor | None = None, rows: Tensor | None = None, scale: Tensor | None = None
    ) -> None:
        super().__init__()
        self.whole = whole
        self.in_features = whole.in_features if columns is None else len(columns)
        self.out_features = whole.out_features if rows is None else len(rows)
        self.scale = None if scale is None else nn.Parameter(scale.detach().clone())
        self.register_buffer("columns", None if columns is None else columns.to(torch.int32))
        self.register_buffer("rows", None if rows is None else rows.to(torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.scale is None else x * self.scale
        if self.columns is not None:
            zeros = x.new_zeros(*x.shape[:-1], self.whole.in_features)
            x = zeros.index_copy(-1, self.columns.long(), x)
        y = self.whole(x)
        return y if self.rows is None else y.index_select(-1, self.rows)

    def dense(self) -> Tensor:
        """(o, d)."""
        weight = self.whole.dense()
        weight = weight if self.rows is None else weight[self.rows.long()]
        weight = weight if self.columns is None else weight[:, self.columns.long()]
        return weight if self.scale is None else weight * self.scale

    def macs(self, rows: int) -> int:
        """Multiply-accumulates on `rows` rows: the whole map runs."""
        return self.whole.macs(rows)

    def dense_macs(self) -> int | None:
        """Multiply-accumulates of `dense()`."""
        return self.whole.dense_macs()

    def spec(self) -> dict[str, Any]:
        return {
            "map": self.name,
            "whole": self.whole.spec(),
            "columns": None if self.columns is None else self.in_features,
            "rows": None if self.rows is None else self.out_features,
            "scaled": self.scale is not None,
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> SelectedMap:
        """An empty map of the shapes in `spec`."""
        whole = module_from_spec(spec["whole"])
        index = [None if spec[name] is None else torch.zeros(spec[name]) for name in ("columns", "rows")]
        inputs = whole.in_features if spec["columns"] is None else spec["columns"]
        return cls(whole, *index, torch.ones(inputs) if spec["scaled"] else None)
