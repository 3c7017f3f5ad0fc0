"""Adam and SGD of torch, without the compiler that their wrappers import, and safe where their steps are fused.

In torch 2.13 the first call of `Optimizer.add_param_group` or `step` imports `torch._dynamo`, which takes more than a
second, to tell a compiler that is not at work to leave them alone. The functions below those wrappers are taken as they
are. A method that calls `torch.compile` still can.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer


class Uncompiled(Optimizer):
    """The calls that an optimiser of any kind shares."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)
    _step: Callable[[], Any]  # torch's

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        _laid_out_alike(self)
        self._step()


class Adam(Uncompiled, torch.optim.Adam):
    """torch.optim.Adam, to the bit. Not for `differentiable=True`."""

    _step = unwrap(torch.optim.Adam.step)


class SGD(Uncompiled, torch.optim.SGD):
    """torch.optim.SGD, to the bit. Not for `differentiable=True`."""

    _step = unwrap(torch.optim.SGD.step)


def _laid_out_alike(optimiser: Optimizer) -> None:
    """Lay out gradients and moments in memory as their parameters are.

    torch's fused steps go through all of them in the order of memory and do not ask whether it is the same one. Moments
    that were read from a file, or a gradient that a method has set, may be in another than weights in channels-last.
    """
    for group in optimiser.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = torch.empty_like(weight).copy_(weight.grad)
            state = optimiser.state.get(weight, {})
            for name, value in state.items():
                if isinstance(value, torch.Tensor) and value.dim() and value.stride() != weight.stride():
                    state[name] = torch.empty_like(weight).copy_(value)
