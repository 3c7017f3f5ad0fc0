"""Multiply-accumulates of one sequence, counted by torch while the module runs.

The closed form is `nn.protocol.macs_of`. Both count what the module *executes* in one forward pass: the matrix products
of every step (the first step's product with a state of zeros included), the head, and the matrices that a map builds
(a low-rank hidden-to-hidden matrix once per sequence; a sparse matrix is filled in and multiplied as a dense one).
Element-wise work and products without a sum (outer products) are not counted.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from squeezebench.nn.kernels.gemm import plain
from squeezebench.nn.protocol import macs_of as closed_form_macs

__all__ = ["closed_form_macs", "macs"]


@torch.no_grad()
def macs(model: nn.Module, inputs: int, steps: int) -> int:
    """Multiply-accumulates for one sequence of `steps` steps, counted while it runs (torch's flop counter / 2)."""
    counter = FlopCounterMode(display=False)
    with plain(), counter:
        model.eval()(torch.zeros(1, steps, inputs))
    return counter.get_total_flops() // 2
