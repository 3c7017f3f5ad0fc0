"""The steps of fused_lstm.py for small layers: the products stay PyTorch's, the rest of a step is one call."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from torch import Tensor

from squeezebench.nn.kernels import native

LARGEST = 128  # hidden units: measured faster up to here; wider layers keep the bits that published results have
TRANSPOSE_FROM_STEPS = 5  # a transposed copy of U costs what it saves in about 4 products


def applies(gates: Tensor, U: Tensor, z: Tensor | None, low: torch.dtype | None) -> bool:
    """Whether the kernel is on and can take a layer with these tensors."""
    return (
        U.shape[1] <= LARGEST
        and low is None
        and all(t is None or (t.device.type == "cpu" and t.dtype == torch.float32) for t in (gates, U, z))
        and gates.numel() > 0
        and torch._C._len_torch_dispatch_stack() == 0  # a dispatch mode sees operators, or has tensors without memory
        and native.enabled()
        and native.functions() is not None
    )


def forward_steps(
    gates: Tensor, U: Tensor, z: Tensor | None, h0: Tensor | None,
    s: Tensor, c: Tensor, c_next: Tensor, tanh_c: Tensor, hidden: Tensor,
) -> None:  # fmt: skip
    """Fill hidden (T, B, H), and s (T, B, 4H), c_next and tanh_c (T, B, H), or (B, H) for the last step only.

    c enters a step and c_next leaves it; they may overlap.
    """
    T, B, _ = gates.shape
    gates, product = gates.contiguous(), gates.new_empty(B, U.shape[0])
    z = torch.ones_like(product) if z is None else z
    right = U.t().contiguous() if T >= TRANSPOSE_FROM_STEPS else U.t()
    step = _step("forward", x=gates, product=product, z=z, s=s, c=c, c_next=c_next, tanh_c=tanh_c, hidden=hidden)
    before = [h0, *hidden.unbind(0)[:-1]]
    for t, h in enumerate(before):
        if h is None:
            product.zero_()
        else:
            torch.mm(h, right, out=product)
        step(t)


def backward_steps(
    dhidden: Tensor, carry: Tensor, z: Tensor | None, U: Tensor, s: Tensor, c: Tensor, tanh_c: Tensor
) -> tuple[Tensor, Tensor]:
    """Return da (T, B, 4H) and the masks' dz (B, 4H); carry becomes the gradient of the c before the first step."""
    dhidden, da, dz = dhidden.contiguous(), torch.empty_like(s), torch.zeros_like(s[0])
    z, product = torch.ones_like(dz) if z is None else z, torch.zeros_like(carry)
    arrays = {"s": s, "z": z, "c": c, "tanh_c": tanh_c, "dhidden": dhidden, "product": product, "carry": carry}
    step, after = _step("backward", **arrays, da=da, dz=dz), None
    for t, da_t in reversed(list(enumerate(da.unbind(0)))):
        if after is not None:
            torch.mm(after, U, out=product)
        step(t)
        after = da_t
    return da, dz


def _step(name: str, **tensors: Tensor) -> Callable[[int], None]:
    """The compiled function of this name, bound to its tensors, as a function of the step t."""
    function, names = native.functions()[name]
    arrays = [tensors[array] for array in names]
    pointers = (ctypes.c_void_p * len(arrays))(*(x.data_ptr() for x in arrays))
    strides = (ctypes.c_int64 * len(arrays))(*(x.stride(0) if x.dim() == 3 else 0 for x in arrays))
    B, H = tensors["hidden" if name == "forward" else "carry"].shape[-2:]
    return lambda t: function(pointers, strides, B, H, t)  # the caller keeps the tensors alive
