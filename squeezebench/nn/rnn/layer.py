"""One recurrent layer: an input map, a hidden map, biases, and a mask on each gate."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.rnn.cells import DEFAULT, Cell, cell_of
from squeezebench.nn.rnn.recurrence import recurrence

Drawn = dict[BottleneckMask, Tensor]


class RecurrentLayer(nn.Module):
    """A recurrent cell over a batch of sequences; G gates, R of them with a product with the state.

    input_map: module (..., D) -> (..., G H) with `dense()`; hidden_map: module with `dense()` -> (R H, H).
    gate_masks: one BottleneckMask for each masked gate, by the gate's letter.
    factors: fixed factors (H,) on gates, by letter, kept where no standard cell can absorb a mask
    (`i` of an LSTM carries z_i * z_g).
    Raises ValueError if the maps do not fit the cell, InputError if the cell is unknown.
    """

    def __init__(
        self,
        input_map: nn.Module,
        hidden_map: nn.Module,
        cell: str | Cell = DEFAULT,
        gate_masks: dict[str, BottleneckMask] | None = None,
        factors: dict[str, Tensor] | None = None,
    ):
        super().__init__()
        self.cell = cell if isinstance(cell, Cell) else cell_of(cell)
        self.hidden = hidden_map.in_features
        rows, products = input_map.out_features, hidden_map.out_features
        blocks = len(self.cell.gates), len(self.cell.recurrent)
        if (rows, products) != tuple(block * self.hidden for block in blocks):
            raise ValueError(
                f"{self.cell.name}: the maps must give {blocks[0]} and {blocks[1]} x hidden rows; got input-to-hidden "
                f"{rows}, hidden-to-hidden {products} for hidden {self.hidden}"
            )
        self.input_map, self.hidden_map = input_map, hidden_map
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(products))
        self.gate_masks = nn.ModuleDict(gate_masks or {})
        self.factors = nn.ParameterDict({k: nn.Parameter(v.clone()) for k, v in (factors or {}).items()})

    @property
    def inputs(self) -> int:
        return self.input_map.in_features

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of `steps` steps; None if the closed form of a map is not known."""
        if not hasattr(self.input_map, "macs") or not hasattr(self.hidden_map, "dense_macs"):
            return None
        build = self.hidden_map.dense_macs()  # the hidden-to-hidden matrix is built once per sequence
        recurrent = steps * self.cell.recurrent_macs(self.hidden)
        return None if build is None else self.input_map.macs(steps) + build + recurrent

    def reset(self) -> RecurrentLayer:
        """Xavier input-to-hidden, orthogonal hidden-to-hidden (gate by gate), the cell's biases; dense maps only."""
        width = self.hidden
        with torch.no_grad():
            for block in self.hidden_map.dense().split(width):
                nn.init.orthogonal_(block)
            if isinstance(self.input_map, DenseMap):
                bound = math.sqrt(6.0 / (self.inputs + width))
                nn.init.uniform_(self.input_map.weight, -bound, bound)
            self.bias_ih.zero_()
            self.bias_hh.zero_()
            for gate, value in self.cell.initial_bias.items():
                first = self.cell.gates.index(gate) * width
                self.bias_ih[first : first + width] = value
        return self

    def gate_factors(self, batch: int, drawn: Drawn | None = None) -> tuple[Tensor | None, ...] | None:
        """Masks in gate order for the recurrence, or None where there is nothing to multiply."""
        if not self.gate_masks and not self.factors:
            return None
        drawn = {} if drawn is None else drawn
        held, masks = dict(self.gate_masks.items()), []
        for gate in self.cell.gates:
            mask = held.get(gate)
            if mask is not None and mask not in drawn:
                drawn[mask] = mask(batch)
            value = None if mask is None else drawn[mask]
            if gate in self.factors:
                value = self.factors[gate] if value is None else value * self.factors[gate]
            masks.append(value)
        return tuple(masks)

    def forward(self, x: Tensor, drawn: Drawn | None = None) -> Tensor:
        """x (T, B, D) -> hidden (T, B, H). drawn: masks of this forward pass that another layer has drawn already."""
        return self.run(x, drawn)[0]

    def run(
        self, x: Tensor, drawn: Drawn | None = None, states: Sequence[Tensor | None] = ()
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """As `forward`, from the given states (zeros if there are none), with the states after the last step."""
        masks = self.gate_factors(x.shape[1], drawn)
        weight_hh = self.hidden_map.dense()
        gates = self.input_map(x)  # before the biases: what a contraction holds is the peak of a small network
        outside, inside = self.cell.biases(self.bias_ih, self.bias_hh)
        gates = gates + outside  # under the same name, so that the products without biases are not kept
        return recurrence(self.cell, gates, weight_hh, inside, masks, states)


def gate_rows(keep: Tensor, gates: int, hidden: int) -> Tensor:
    """Row indices of units `keep` (k,) in every gate block of a (gates * hidden, ...) matrix, (gates * k,)."""
    return torch.cat([gate * hidden + keep for gate in range(gates)]) if gates else keep[:0]
