"""Weight groups of hidden units: everything that is removed together with a unit.

The intrinsic sparse structure of unit k (Wen et al., "Learning Intrinsic Sparse Structures within LSTM", ICLR 2018):
its rows in every gate of [W_ih | W_hh], its recurrent column, and the column of whatever reads h_k (the next layer's
W_ih or the head). Biases are left out; entries shared by a row and a column are counted once.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from squeezebench.nn.rnn.classifier import RecurrentClassifier


def unit_square_norms(model: RecurrentClassifier) -> list[Tensor]:
    """Sum of squares of each hidden unit's group, one (H,) tensor for each layer; differentiable."""
    readers = [layer.input_map.dense() for layer in model.layers[1:]] + [model.head.weight]
    norms = []
    for layer, reader in zip(model.layers, readers, strict=True):
        cell, width = layer.cell, layer.hidden
        w, u = layer.input_map.dense(), layer.hidden_map.dense()
        blocks = u.view(len(cell.recurrent), width, width).square()
        rows = w.square().sum(1).view(len(cell.gates), width).sum(0) + blocks.sum((0, 2))
        columns = blocks.sum((0, 1)) - blocks.diagonal(dim1=1, dim2=2).sum(0)  # the diagonal is in the rows already
        norms.append(rows + columns + reader.square().sum(0))
    return norms


def unit_group_lasso(model: RecurrentClassifier) -> Tensor:
    """sum_k ||w_k||_2 over all hidden units (Eq. 16 of the VIB-LSTM paper; the ISS penalty)."""
    return torch.stack([(norms + 1e-8).sqrt().sum() for norms in unit_square_norms(model)]).sum()


@torch.no_grad()
def shrink_unit_groups(model: RecurrentClassifier, amount: float, spared: Sequence[Tensor] | None = None) -> None:
    """The proximal step of `amount` * sum_k ||w_k||_2: ||w_k|| falls by `amount`, to 0 at the least.

    spared: bool (H,) for each layer, the units k over which the sum does not go.

    For a single group w_k max(0, 1 - amount / ||w_k||) is the exact minimiser (Parikh & Boyd, "Proximal Algorithms",
    2014, section 6.5.1). The groups overlap: an entry of U is in its row's group and in its column's, an entry of a
    layer's W also in the group of the unit below that it reads. Such an entry is scaled by the factors of both its
    units. To first order in `amount` this is the gradient step of the sum, and a group whose factor is 0 is exactly 0.
    The input maps are dense matrices.
    """
    factors = [(1 - amount / norms.sqrt()).clamp(min=0.0) for norms in unit_square_norms(model)]
    if spared is not None:
        factors = [f.masked_fill(stays.to(f.device), 1.0) for f, stays in zip(factors, spared, strict=True)]
    for number, layer in enumerate(model.layers):
        of_unit, width = factors[number], layer.hidden
        layer.input_map.weight.mul_(of_unit.repeat(len(layer.cell.gates))[:, None])
        both = torch.outer(of_unit, of_unit)
        both.diagonal().copy_(of_unit)  # the entry of a unit with itself is in one group
        layer.hidden_map.weight.view(len(layer.cell.recurrent), width, width).mul_(both)
        last = number + 1 == len(model.layers)
        reader = model.head if last else model.layers[number + 1].input_map
        reader.weight.mul_(of_unit)


def input_square_norms(model: RecurrentClassifier) -> Tensor:
    """Sum of squares of each input's column in the first layer, (D,)."""
    return model.layers[0].input_map.dense().square().sum(0)


def largest(scores: Tensor, count: int) -> Tensor:
    """Sorted indices of the `count` largest scores (at least one)."""
    return scores.detach().cpu().topk(max(1, count)).indices.sort().values


def above(norms: Tensor, threshold: float) -> Tensor:
    """Sorted indices of the units whose square norm exceeds `threshold`; the largest one always stays."""
    keep = norms.detach().cpu() > threshold
    keep[norms.argmax()] = True
    return keep.nonzero().flatten()


def chosen(which: Tensor | slice, count: int) -> Tensor:
    """(count,) bool: which of `count` units the indices (or the slice) `which` name."""
    mask = torch.zeros(count, dtype=torch.bool)
    mask[which] = True
    return mask
