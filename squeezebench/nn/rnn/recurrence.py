"""The masked gated recurrence of any cell, time-major, one layer.

It takes the input products of all steps, ``gates = linear(x, W) + biases``, so that the input map may be anything
(dense, tensor train, ...), and runs the part that is truly sequential. Sequences of different lengths are the
caller's: run to the end, gather the last valid step.

Three paths, one meaning: the equations under plain autograd (inside ``plain()``; also for second derivatives, tracing
and ``torch.func``), the cell's fused step for training, and its lean loop where no gradient is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from squeezebench.nn.kernels.gemm import autocast_dtype, fast_path
from squeezebench.nn.rnn.cells import Cell

Masks = Sequence[Tensor | None] | None


def recurrence(
    cell: Cell,
    gates: Tensor,
    weight_hh: Tensor,
    bias: Tensor | None = None,
    masks: Masks = None,
    states: Sequence[Tensor | None] = (),
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Hidden (T, B, H) and the states after the last step, each (B, H).

    gates: (T, B, G H), the input products with their biases, blocks in the order of `cell.gates`
    weight_hh: (R H, H), U;  bias: what `cell.biases` leaves to the step, or None
    masks: None, or one for each gate, each None, (H,) or (B, H), the same at every step
    states: the states before the first step, each (B, H), zero where None or left out

    Without masks this is ``cell.torch_module`` of torch.nn. Under autocast the products with U run in the lower
    precision and the states stay in float32. Raises ValueError if the shapes do not fit.
    """
    states = (*states, *(None,) * (len(cell.states) - len(states)))
    tensors = (gates, weight_hh, bias, *(masks or ()), *states)
    _check(cell, gates, weight_hh, masks)
    low = autocast_dtype(gates)
    if low is not None:
        gates = gates.float()
        bias, *states = (None if t is None else t.float() for t in (bias, *states))
    z = _stack(masks, gates, weight_hh.shape[1])
    if not fast_path(*tensors):
        return cell.sequence(gates, weight_hh, bias, z, states)
    learns = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
    run = cell.fused if learns else cell.lean
    return run(gates, weight_hh, bias, z, states, low)


def _stack(masks: Masks, gates: Tensor, width: int) -> Tensor | None:
    """The masks side by side, (B, G H), ones where None. Autograd sums (H,) masks over B."""
    if masks is None or all(m is None for m in masks):
        return None
    shape = (gates.shape[1], width)
    ones = gates.new_ones(())
    return torch.cat([(ones if m is None else m.to(gates.dtype)).expand(shape) for m in masks], 1)


def _check(cell: Cell, gates: Tensor, weight_hh: Tensor, masks: Masks) -> None:
    H, G, R = weight_hh.shape[1], len(cell.gates), len(cell.recurrent)
    fits = gates.dim() == 3 and gates.shape[2] == G * H and weight_hh.shape[0] == R * H
    if not fits or gates.shape[0] == 0:
        raise ValueError(
            f"expected gates (T > 0, B, {G}H) and weight_hh ({R}H, H), "
            f"got {tuple(gates.shape)} and {tuple(weight_hh.shape)}"
        )
    if masks is not None and len(masks) != G:
        raise ValueError(f"expected {G} masks, got {len(masks)}")
