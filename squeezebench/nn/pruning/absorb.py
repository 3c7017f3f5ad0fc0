"""Masks inside a recursion, absorbed by the standard cell that is closest to the masked one.

Which gate absorbs what is the cell's to say (`Cell.absorb`); here is how a factor on an argument and a factor on a
sigmoid become weights and biases.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from squeezebench.nn.factorized.dense import DenseMap

LEAST, MOST = 5e-5, 0.999  # values of a sigmoid that stand for 0 and for 1 or more


class GateRows:
    """The rows of a layer's matrices and biases by gate, changed in place.

    An input map that is no dense matrix has no rows to change: then `scale` leaves its gate as it is, and `attenuate`
    changes the bias alone. layer: a RecurrentLayer, whose module imports the cells, which know this class.
    """

    def __init__(self, layer: Any) -> None:
        self._layer, self._cell = layer, layer.cell
        self._w = layer.input_map.weight if isinstance(layer.input_map, DenseMap) else None

    @torch.no_grad()
    def scale(self, gate: str, factor: Tensor) -> None:
        """Multiply the argument of `gate` by `factor` (H,): factor * tanh(a) is tanh(factor * a) to first order."""
        if self._w is not None:
            for rows in self._rows(gate):
                rows.mul_(_as_rows(factor, rows))

    @torch.no_grad()
    def scale_recurrent(self, gate: str, factor: Tensor) -> None:
        """Multiply U h + bias_hh of `gate` by `factor` (H,), which is exact if the cell multiplies them by a mask."""
        for rows in self._recurrent(gate):
            rows.mul_(_as_rows(factor, rows))

    @torch.no_grad()
    def attenuate(self, gate: str, factor: Tensor) -> None:
        """Make sigmoid(a) of `gate` the closest sigmoid to factor * sigmoid(a), `factor` (H,).

        With s = sigmoid(b) at the bias b, where input and state are 0, the new bias has the value factor * s, and the
        rows are scaled so that the slope there is the same too: by (1 - s) / (1 - factor * s). A shift of the bias by
        log(factor) would agree only far below 0, where sigmoid is an exponential. No sigmoid exceeds 1: for a factor
        above 1 the rows stay as they are, and the value is cut off at `MOST`. For a factor of 0 (or below) the rows
        become 0 and the value `LEAST`: the gate is shut whatever it reads.
        """
        bias_ih, bias_hh = self._bias(gate)
        now = (bias_ih + bias_hh).sigmoid()
        wanted = factor.clamp(min=0.0) * now
        new = wanted.clamp(LEAST, MOST)
        slope = (wanted * (1 - now) / (new * (1 - new))).clamp(max=1.0)
        for rows in self._matrices(gate):
            rows.mul_(slope[:, None])
        bias_ih.copy_(torch.where(factor == 1, bias_ih, torch.logit(new) - bias_hh))

    def _block(self, whole: Tensor, gates: str, gate: str) -> Tensor:
        first = gates.index(gate) * self._layer.hidden
        return whole[first : first + self._layer.hidden]

    def _recurrent(self, gate: str) -> list[Tensor]:
        """Its rows of U and of bias_hh; none if no product with the state enters the gate."""
        recurrent = self._cell.recurrent
        wholes = (self._layer.hidden_map.weight, self._layer.bias_hh) if gate in recurrent else ()
        return [self._block(whole, recurrent, gate) for whole in wholes]

    def _matrices(self, gate: str) -> list[Tensor]:
        """Its rows of W and of U; none if the input map has no rows."""
        return [] if self._w is None else [self._block(self._w, self._cell.gates, gate), *self._recurrent(gate)[:1]]

    def _rows(self, gate: str) -> list[Tensor]:
        return [*self._matrices(gate), *self._recurrent(gate)[1:], self._bias(gate)[0]]

    def _bias(self, gate: str) -> tuple[Tensor, Tensor]:
        """Its rows of bias_ih and of bias_hh, zeros if it has none."""
        bias_ih = self._block(self._layer.bias_ih, self._cell.gates, gate)
        return bias_ih, next(iter(self._recurrent(gate)[1:]), torch.zeros_like(bias_ih))


def _as_rows(factor: Tensor, rows: Tensor) -> Tensor:
    return factor[:, None] if rows.dim() == 2 else factor
