"""Adam and SGD of torch, without the compiler that their wrappers import.

In torch 2.13 the first call of `Optimizer.add_param_group` or `step` imports `torch._dynamo`, which takes more than a
second, to tell a compiler that is not at work to leave them alone. The functions below those wrappers are taken as they
are. A method that calls `torch.compile` still can.
"""

from __future__ import annotations

from inspect import unwrap

import torch
from torch.optim import Optimizer


class Uncompiled(Optimizer):
    """The calls that an optimiser of any kind shares."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)


class Adam(Uncompiled, torch.optim.Adam):
    """torch.optim.Adam, to the bit. Not for `differentiable=True`."""

    step = torch.no_grad()(unwrap(torch.optim.Adam.step))


class SGD(Uncompiled, torch.optim.SGD):
    """torch.optim.SGD, to the bit. Not for `differentiable=True`."""

    step = torch.no_grad()(unwrap(torch.optim.SGD.step))
