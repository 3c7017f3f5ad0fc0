"""Multiply-accumulates of one sequence, twice: counted by torch while the module runs, and by formula.

Both count what the module *executes* in one forward pass: the matrix products of every step (the first step's with a
state of zeros included), the head, and whatever a map multiplies out on the way (a low-rank hidden-to-hidden matrix is
built once per sequence; a sparse matrix is filled in and multiplied as a dense one). Element-wise work and products
without a sum (outer products) are not multiply-accumulates of a matrix product, and neither side counts them.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from squeezebench.nn.cnn.frames import FrameNetwork, FrameRecurrent
from squeezebench.nn.factorized import contraction
from squeezebench.nn.factorized.base import TensorMap
from squeezebench.nn.factorized.joint import JointHidden, JointInput
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.factorized.selected import SelectedMap
from squeezebench.nn.kernels.gemm import plain
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.layer import RecurrentLayer


@torch.no_grad()
def macs(model: nn.Module, inputs: int, steps: int) -> int:
    """Multiply-accumulates for one sequence of `steps` steps, counted while it runs (torch's flop counter / 2)."""
    counter = FlopCounterMode(display=False)
    with plain(), counter:
        model.eval()(torch.zeros(1, steps, inputs))
    return counter.get_total_flops() // 2


def closed_form_macs(model: nn.Module, steps: int) -> int | None:
    """The same by formula; a standard layer: T G H (D + H). None for a class that has no formula.

    A feed-forward network: each layer's weights times the positions of the map that it makes, at each step.

    A module of a method's own gives it in `macs(steps) -> int`.
    """
    if isinstance(model, FrameNetwork):
        return steps * sum(weights * positions for weights, positions in positions_of(model))
    if isinstance(model, FrameRecurrent):
        above = closed_form_macs(model.recurrent, steps)
        return None if above is None else above + closed_form_macs(FrameNetwork(model.network, model.frame), steps)
    if not isinstance(model, RecurrentClassifier):
        own = getattr(model, "macs", None)
        return own(steps) if callable(own) else None
    steps = model.steps(steps)
    parts = [_layer(layer, steps) for layer in model.layers]
    if any(part is None for part in parts):
        return None
    heads = [m for m in (model.head, *(model.top or ())) if isinstance(m, nn.Linear)]
    return sum(parts) + sum(m.in_features * m.out_features for m in heads)


@torch.no_grad()
def positions_of(model: FrameNetwork) -> list[tuple[int, int]]:
    """(weights, positions of the map) of each convolution and linear layer, in the order in which they run."""
    found: list[tuple[int, int]] = []

    def note(layer: nn.Module, _read: object, made: torch.Tensor) -> None:
        found.append((layer.weight.numel(), made.shape[2:].numel()))

    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [layer.register_forward_hook(note) for layer in layers]
    try:
        model.eval()(torch.zeros(1, 1, model.inputs, device=layers[0].weight.device))
    finally:
        for handle in handles:
            handle.remove()
    return found


def _layer(layer: RecurrentLayer, steps: int) -> int | None:
    read, build = applied(layer.input_map, steps), materialised(layer.hidden_map)
    if read is None or build is None:
        return None
    return read + build + steps * layer.cell.recurrent_macs(layer.hidden)


def applied(linear: nn.Module, rows: int) -> int | None:
    """Multiply-accumulates of an input map on `rows` rows."""
    if isinstance(linear, SelectedMap | JointInput):
        return applied(linear.whole, rows)
    if isinstance(linear, LowRankMap):
        return rows * linear.rank * (linear.in_features + linear.out_features)
    if isinstance(linear, TensorMap):
        return _network(linear, rows)
    if hasattr(linear, "dense"):  # a matrix, or one that is filled in first
        return rows * linear.in_features * linear.out_features
    return None


def materialised(linear: nn.Module) -> int | None:
    """Multiply-accumulates of building a hidden-to-hidden matrix from what is stored, once per sequence."""
    if isinstance(linear, JointHidden):
        return applied(linear.owner.whole, linear.in_features)
    if isinstance(linear, LowRankMap):
        return linear.rank * linear.in_features * linear.out_features
    return 0 if not isinstance(linear, TensorMap) else None


def _network(linear: TensorMap, rows: int) -> int:
    """x @ front, the front built from its cores, and what is left of the cores (see nn/factorized/contraction.py)."""
    plan, sizes = linear.plan(rows), dict(linear.network.sizes)
    block = max(1, min(contraction.CACHE_BLOCK, linear.max_elements) // plan.row_peak)  # rows taken at a time, CPU
    pieces = -(-rows // block)
    front = sum(product for product, _ in _pairs(plan.front, sizes))
    total = front + rows * linear.in_features * plan.front_size // plan.suffix_size
    if plan.rest is None:
        return total
    return total + sum(
        product * (rows if per_row else pieces) for product, per_row in _pairs(plan.rest, sizes | {contraction.ROW: 1})
    )


def _pairs(expression, sizes: dict[str, int]) -> Iterator[tuple[int, bool]]:
    """(multiply-accumulates, whether the rows of x take part) of each pairwise product that sums over something."""
    for _, _, einsum, _, _ in expression.contraction_list:
        left, _, result = einsum.partition("->")
        union = set(left) - {","}
        if "," in left and union - set(result):
            product = 1
            for letter in union:
                product *= sizes[letter]
            yield product, contraction.ROW in union
