"""Multiply-accumulates of one sequence, counted by torch while the module runs.

The closed form is `nn.protocol.macs_of`. Both count what the module *executes* in one forward pass: the matrix products
of every step (the first step's product with a state of zeros included), the head, and the matrices that a map builds
(a low-rank hidden-to-hidden matrix once per sequence; a sparse matrix is filled in and multiplied as a dense one).
Element-wise work and products without a sum (outer products) are not counted.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from squeezebench.engine.measurement.memory import Watching
from squeezebench.nn.kernels.gemm import plain
from squeezebench.nn.protocol import macs_of as closed_form_macs

__all__ = ["closed_form_macs", "macs"]


class _Products(Watching):
    """Counts by torch's formulas for its operations, as torch.utils.flop_counter.FlopCounterMode does."""

    flops = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        options, formula = options or {}, flop_registry.get(function._overloadpacket)
        if formula is None:  # it may be made of others that have one
            with self:
                result = function.decompose(*arguments, **options)
            if result is not NotImplemented:
                return result
        result = function(*arguments, **options)
        if formula is not None:
            self.flops += formula(*arguments, **options, out_val=result)
        return result


@torch.no_grad()
def macs(model: nn.Module, inputs: int, steps: int) -> int:
    """Multiply-accumulates for one sequence of `steps` steps, counted while it runs (torch's flops / 2)."""
    with plain(), _Products() as counter:
        model.eval()(torch.zeros(1, steps, inputs))
    return counter.flops // 2
