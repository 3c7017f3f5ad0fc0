"""One recurrent layer: an input map, a hidden map, biases, and a mask on each gate."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.rnn.recurrence import gru_recurrence, lstm_recurrence

Cell = Literal["lstm", "gru"]
Drawn = dict[BottleneckMask, Tensor]
GATES: dict[str, str] = {"lstm": "ifgo", "gru": "rzn"}  # in PyTorch's order of the row blocks


class RecurrentLayer(nn.Module):
    """LSTM (Eq. 8 of the VIB-LSTM paper) or GRU over a batch of sequences.

    input_map: module (..., D) -> (..., G*H) with `dense()`; hidden_map: module with `dense()` -> (G*H, H).
    gate_masks: one BottleneckMask for each masked gate, by the gate's letter.
    factors: fixed factors (H,) on gates, by letter, kept where no standard cell can absorb a mask
    (`i` carries z_i * z_g). Both bias vectors of PyTorch are kept, as the papers count them.
    """

    def __init__(
        self,
        input_map: nn.Module,
        hidden_map: nn.Module,
        cell: Cell = "lstm",
        gate_masks: dict[str, BottleneckMask] | None = None,
        factors: dict[str, Tensor] | None = None,
    ):
        super().__init__()
        rows, self.hidden = hidden_map.out_features, hidden_map.in_features
        gates = GATES[cell]
        if rows != len(gates) * self.hidden or input_map.out_features != rows:
            raise ValueError(
                f"{cell}: the maps must give {len(gates)} x hidden rows; got input-to-hidden "
                f"{input_map.out_features}, hidden-to-hidden {rows} for hidden {self.hidden}"
            )
        self.cell: Cell = cell
        self.input_map, self.hidden_map = input_map, hidden_map
        self.bias_ih = nn.Parameter(torch.zeros(rows))
        self.bias_hh = nn.Parameter(torch.zeros(rows))
        self.gate_masks = nn.ModuleDict(gate_masks or {})
        self.factors = nn.ParameterDict({k: nn.Parameter(v.clone()) for k, v in (factors or {}).items()})

    @property
    def inputs(self) -> int:
        return self.input_map.in_features

    def reset(self) -> RecurrentLayer:
        """Xavier input-to-hidden, orthogonal hidden-to-hidden (gate by gate), forget bias 1; dense maps only."""
        width = self.hidden
        with torch.no_grad():
            for block in self.hidden_map.dense().split(width):
                nn.init.orthogonal_(block)
            if isinstance(self.input_map, DenseMap):
                bound = math.sqrt(6.0 / (self.inputs + width))
                nn.init.uniform_(self.input_map.weight, -bound, bound)
            self.bias_ih.zero_()
            self.bias_hh.zero_()
            if self.cell == "lstm":
                self.bias_ih[width : 2 * width] = 1.0
        return self

    def gate_factors(self, batch: int, steps: int, drawn: Drawn | None = None) -> tuple[Tensor | None, ...] | None:
        """Masks in gate order for the recurrence, or None where there is nothing to multiply."""
        if not self.gate_masks and not self.factors:
            return None
        drawn = {} if drawn is None else drawn
        held = dict(self.gate_masks.items())
        for letter in GATES[self.cell]:
            if letter in held and held[letter] not in drawn:
                drawn[held[letter]] = held[letter](batch, steps)
        masks = [drawn[held[letter]] if letter in held else None for letter in GATES[self.cell]]
        for position, letter in enumerate(GATES[self.cell]):
            if letter in self.factors:
                factor = self.factors[letter]
                masks[position] = factor if masks[position] is None else masks[position] * factor
        return tuple(masks)

    def forward(self, x: Tensor, drawn: Drawn | None = None) -> Tensor:
        """x (T, B, D) -> hidden (T, B, H). drawn: masks of this forward pass that another layer has drawn already."""
        width = self.hidden
        masks = self.gate_factors(x.shape[1], x.shape[0], drawn)
        weight_hh = self.hidden_map.dense()
        if self.cell == "lstm":
            gates = self.input_map(x) + (self.bias_ih + self.bias_hh)
            run = lambda g, z, state: lstm_recurrence(g, weight_hh, z, *state)
        else:  # b_hn sits inside r * (U_n h + b_hn) and cannot join the input products
            rz = torch.cat([self.bias_hh[: 2 * width], self.bias_hh.new_zeros(width)])
            gates = self.input_map(x) + (self.bias_ih + rz)
            run = lambda g, z, state: gru_recurrence(g, weight_hh, self.bias_hh[2 * width :], z, *state)
        if masks is None or all(z is None or z.dim() < 3 for z in masks):
            return run(gates, masks, ())[0]
        hidden, state = [], ()
        for t in range(len(gates)):  # noise of its own at each step: one step at a time
            now = tuple(z[t] if z is not None and z.dim() == 3 else z for z in masks)
            h, state = run(gates[t : t + 1], now, state)
            state = state if isinstance(state, tuple) else (state,)
            hidden.append(h)
        return torch.cat(hidden)


def gate_rows(keep: Tensor, gates: int, hidden: int) -> Tensor:
    """Row indices of units `keep` (k,) in every gate block of a (gates * hidden, ...) matrix, (gates * k,)."""
    return torch.cat([gate * hidden + keep for gate in range(gates)])
