"""The steps of fused_lstm.py by the compiled kernel: the products stay PyTorch's, the rest is one call a step."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from squeezebench.nn.kernels.native import enabled, library

TENSORS = ("z", "s", "c", "tanh_c", "hidden", "dh", "carry", "da", "dz")


class Sequence(ctypes.Structure):
    """The struct of the same name in lstm_pointwise.c."""

    _fields_ = (("B", ctypes.c_int64), ("H", ctypes.c_int64), *((name, ctypes.c_void_p) for name in TENSORS))


def applies(*tensors: Tensor | None) -> bool:
    """Whether the kernel is on and can take these tensors."""
    return enabled() and all(
        t is None or (t.device.type == "cpu" and t.dtype == torch.float32 and t.is_contiguous() and t.numel() > 0)
        for t in tensors
    )


def forward_steps(
    gates: Tensor, z: Tensor | None, h0: Tensor | None, add_product: Callable,
    s: Tensor, c: Tensor, tanh_c: Tensor, hidden: Tensor,
) -> None:  # fmt: skip
    """As ``_forward_steps`` in fused_lstm.py: fills s (T, B, 4H), c[1:], tanh_c and hidden (T, B, H)."""
    step = _kernel(library().lstm_forward, z=z, s=s, c=c, tanh_c=tanh_c, hidden=hidden)
    h = h0
    for t, (x, s_t, h_t) in enumerate(zip(gates.unbind(0), s.unbind(0), hidden.unbind(0), strict=True)):
        if h is None:
            s_t.copy_(x)
        else:
            add_product(x, h, s_t)
        step(t)
        h = h_t


def backward_steps(
    dhidden: Tensor, carry: Tensor, z: Tensor | None, add_product: Callable,
    s: Tensor, c: Tensor, tanh_c: Tensor, need_dz: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """As ``_backward_steps`` in fused_lstm.py: returns da (T, B, 4H) and dz (B, 4H); carry becomes dc_0."""
    dh, da = torch.empty_like(carry), torch.empty_like(s)
    dz = torch.zeros_like(s[0]) if need_dz else None
    step = _kernel(library().lstm_backward, z=z, s=s, c=c, tanh_c=tanh_c, dh=dh, carry=carry, da=da, dz=dz)
    da_next = None
    for t, (dhidden_t, da_t) in reversed(list(enumerate(zip(dhidden.unbind(0), da.unbind(0), strict=True)))):
        if da_next is None:
            dh.copy_(dhidden_t)
        else:
            add_product(dhidden_t, da_next, dh)
        step(t)
        da_next = da_t
    return da, dz


def _kernel(function, **tensors: Tensor | None) -> Callable[[int], None]:
    """``function`` bound to its tensors, as a function of the step t."""
    B, H = tensors["c"].shape[1:]
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items() if tensor is not None}
    sequence = Sequence(B, H, **pointers)
    reference = ctypes.byref(sequence)  # keeps the sequence alive; our caller keeps the tensors
    return lambda t: function(reference, ctypes.c_int64(t))
