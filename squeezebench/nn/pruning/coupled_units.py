"""Coupled channels of a recurrent classifier: what must go together with a hidden unit, and one mask for all of it.

One row of [W U] for each gate, with its biases, computes a hidden unit; a column of U, and a column of the next layer's
W or of the head, read it. All of these go with the unit. If residual additions join the layers, unit j of all of them
goes at once. The coupled channels are the rows of the gates, as the coupled channels of a feed-forward network are the
maps that layers compute and not the weights that read them: |SCS| = gates * layers. (Any other count of the gates is a
common factor on all sets, and so another gamma'.)

The mask is on the gate that is a factor on the state (`Cell.state_gate`: the output gate of an LSTM, the candidate of a
GRU). With z shared over time it is exactly h_t -> z h_t for all readers of h_t.

Source of coupled sets and their weight: Rostami et al., "Information Theoretic Pruning of Coupled Channels in Deep
Neural Networks" (WACV 2025), Eq. 14 and 20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.residual import ResidualClassifier


@dataclass(frozen=True)
class CoupledUnits:
    """`width` sets of coupled channels side by side: set j is unit j of every one of `layers` (their numbers).

    size: channels in each set, |SCS|.
    """

    layers: tuple[int, ...]
    width: int
    size: int


def coupled_units(model: RecurrentClassifier) -> list[CoupledUnits]:
    """The sets that the hidden units of `model` form, in the order of the layers."""
    every = range(len(model.layers))
    together = [tuple(every)] if isinstance(model, ResidualClassifier) else [(number,) for number in every]
    gates = len(model.cell.gates)
    return [CoupledUnits(layers, model.hidden[layers[0]], gates * len(layers)) for layers in together]


def mask_units(model: RecurrentClassifier, **mask_settings: Any) -> RecurrentClassifier:
    """`model` itself, with one mask for each of its sets of coupled units; layers of a set hold the same mask."""
    for units in coupled_units(model):
        mask = BottleneckMask(units.width, **mask_settings)
        for number in units.layers:
            model.layers[number].gate_masks[model.cell.state_gate] = mask
    return model


def units_kl(model: RecurrentClassifier, weight: float | None = None) -> Tensor | float:
    """sum_s |SCS_s| log(1 + mu_s^2 / sigma_s^2) over the masked sets of units (Eq. 20 without gamma' / N_b).

    weight: what a unit counts in each layer of its set; None: the number of its gates.
    """
    each = len(model.cell.gates) if weight is None else weight
    masks = [(each * len(units.layers), model.layers[units.layers[0]].gate_masks) for units in coupled_units(model)]
    gate = model.cell.state_gate
    return sum(size * held[gate].kl() for size, held in masks if gate in held)
