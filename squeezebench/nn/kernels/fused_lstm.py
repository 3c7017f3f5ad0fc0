"""The masked LSTM with its derivative written by hand: few operations a step, the rest for all steps at once.

Forward (Eq. 8 of Srivastava et al., "A variational information bottleneck based method to compress sequential
networks for human action recognition", WACV 2021), with s the gates before and z the masks:

    c_t = z_f s_f ⊙ c_{t-1} + z_i s_i ⊙ z_g s_g ,    h_t = z_o s_o ⊙ tanh(c_t)

Backward, with dh and dc the running gradients and a the sums that enter the nonlinearities:

    dh_t = dhidden_t + U^T da_{t+1}                  the only product in the loop
    dc_t = F_{t+1} ⊙ dc_{t+1} + K_t ⊙ dh_t           F = z_f s_f ,  K = z_o s_o (1 - tanh²(c))
    da_t = J_t ⊙ (dc_t, dc_t, dc_t, dh_t)            J = the local slopes of the gates i, f, g, o

F, K and J do not depend on dh and dc, so they are computed before the loop; the gradients of U and of the
masks are sums over the steps, computed after it. For small layers, the compiled steps of native/ replace the two
functions ``_forward_steps`` and ``_backward_steps`` below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from squeezebench.nn.kernels.gemm import step_product, weight_gradient
from squeezebench.nn.kernels.native import lstm as native

sigmoid_slope = torch.ops.aten.sigmoid_backward.grad_input  # (x, s, grad_input=y): y = x s (1 - s)
tanh_slope = torch.ops.aten.tanh_backward.grad_input  # (x, g, grad_input=y): y = x (1 - g²)


class MaskedLSTM(torch.autograd.Function):
    """gates (T, B, 4H), U (4H, H), z (B, 4H) or None, h0, c0 (B, H) or None -> hidden (T, B, H), c_T (B, H).

    ``low`` is the dtype of the products with U (autocast), ``reference`` the same recurrence under plain
    autograd, used if second derivatives are asked for.
    """

    @staticmethod
    def forward(ctx, gates, U, z, h0, c0, low: torch.dtype | None, reference: Callable):
        (T, B, _), H = gates.shape, U.shape[1]
        s = gates.new_empty(T, B, 4 * H)  # i, f, g, o after the nonlinearity, before the mask
        c = gates.new_empty(T + 1, B, H)  # c[t] enters step t
        tanh_c, hidden = gates.new_empty(T, B, H), gates.new_empty(T, B, H)
        c[0] = 0 if c0 is None else c0
        ctx.compiled = native.applies(gates, U, z, low)
        if ctx.compiled:
            native.forward_steps(gates, U, z, h0, s, c, c[1:], tanh_c, hidden)
        else:
            _forward_steps(gates, z, h0, step_product(U, B, T, low), s, c, tanh_c, hidden)
        ctx.save_for_backward(gates, U, z, h0, c0, s, c, tanh_c, hidden)
        ctx.low, ctx.reference = low, reference
        ctx.set_materialize_grads(False)
        return hidden, c[-1].clone()

    @staticmethod
    def backward(ctx, dhidden, dc_T):
        *inputs, s, c, tanh_c, hidden = ctx.saved_tensors
        need = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return (*second_derivative(ctx.reference, inputs, need, (dhidden, dc_T)), None, None)
        _, U, z, h0, _ = inputs
        if dhidden is None:
            dhidden = torch.zeros_like(hidden)
        carry = torch.zeros_like(hidden[0])
        if dc_T is not None:
            carry.copy_(dc_T)
        add_product = step_product(U, s.shape[1], len(s), ctx.low, transposed=True)
        if ctx.compiled:
            da, dz = native.backward_steps(dhidden, carry, z, U, s, c, tanh_c)
        else:
            da, dz = _backward_steps(dhidden, carry, z, add_product, s, c, tanh_c, need[2])

        dU = dh0 = None
        if need[1]:
            dU = recurrent_gradient(da, hidden, h0, U, ctx.low)
        if need[3]:
            dh0 = torch.empty_like(h0)
            add_product(torch.zeros_like(h0), da[0], dh0)
        return da if need[0] else None, dU, dz if need[2] else None, dh0, carry if need[4] else None, None, None


def _forward_steps(
    gates: Tensor, z: Tensor | None, h0: Tensor | None, add_product: Callable,
    s: Tensor, c: Tensor, tanh_c: Tensor, hidden: Tensor,
) -> None:  # fmt: skip
    """Fill s (T, B, 4H), c[1:], tanh_c and hidden (T, B, H)."""
    (_, B, _), H = gates.shape, hidden.shape[2]
    a, ig = gates.new_empty(B, 4 * H), gates.new_empty(B, H)
    a_g = a[:, 2 * H : 3 * H]
    masked_gates, zs = _masked_gates(s, z)
    # tanh(x) = 2σ(2x) - 1, to 1e-7: on a CPU, PyTorch's tanh costs as much as four of its sigmoids
    by_sigmoid = gates.device.type == "cpu" and gates.dtype == torch.float32
    minus_one = gates.new_tensor(-1.0)
    h = h0
    steps = zip(
        gates.unbind(0), s.unbind(0), s[:, :, 2 * H : 3 * H].unbind(0), masked_gates,
        c[:-1].unbind(0), c[1:].unbind(0), tanh_c.unbind(0), hidden.unbind(0), strict=True,
    )  # fmt: skip
    for x, s_t, g_t, (i, f, g, o), c_prev, c_t, tanh_c_t, h_t in steps:
        if h is None:
            a.copy_(x)
        else:
            add_product(x, h, a)
        if by_sigmoid:
            a_g.mul_(2)
        torch.sigmoid(a, out=s_t)  # all four in one call costs less than two calls around g
        if by_sigmoid:
            torch.add(minus_one, g_t, alpha=2, out=g_t)
        else:
            torch.tanh(a_g, out=g_t)
        if z is not None:
            torch.mul(s_t, z, out=zs)
        torch.mul(i, g, out=ig)
        torch.addcmul(ig, f, c_prev, out=c_t)
        if by_sigmoid:
            torch.mul(c_t, 2, out=tanh_c_t).sigmoid_()
            torch.add(minus_one, tanh_c_t, alpha=2, out=tanh_c_t)
        else:
            torch.tanh(c_t, out=tanh_c_t)
        torch.mul(o, tanh_c_t, out=h_t)
        h = h_t


def _masked_gates(s: Tensor, z: Tensor | None) -> tuple[Iterable[tuple[Tensor, ...]], Tensor | None]:
    """The masked i, f, g, o (B, H) of each step, and the tensor (B, 4H) that holds them (None: they lie in s)."""
    if z is None:
        return zip(*(k.unbind(0) for k in s.chunk(4, 2)), strict=True), None
    zs = torch.empty_like(s[0])
    return (zs.chunk(4, 1),) * len(s), zs


def _backward_steps(
    dhidden: Tensor, carry: Tensor, z: Tensor | None, add_product: Callable,
    s: Tensor, c: Tensor, tanh_c: Tensor, need_dz: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Return da (T, B, 4H) and dz (B, 4H). carry (B, H) enters as dc_T and leaves as dc_0."""
    H = carry.shape[1]
    F, K, J = _slopes(s, c, tanh_c, z)
    dh, dc = torch.empty_like(tanh_c), torch.empty_like(tanh_c)
    da_next = None
    steps = zip(
        dhidden.unbind(0), dh.unbind(0), dc.unbind(0), dc.unsqueeze(2).unbind(0), F.unbind(0),
        K.unbind(0), J.unbind(0), J[:, :, : 3 * H].unflatten(2, (3, H)).unbind(0),
        J[:, :, 3 * H :].unbind(0), strict=True,
    )  # fmt: skip
    for dhidden_t, dh_t, dc_t, dc_t_as_1, F_t, K_t, da, da_ifg, da_o in reversed(list(steps)):
        if da_next is None:
            dh_t.copy_(dhidden_t)
        else:
            add_product(dhidden_t, da_next, dh_t)
        torch.addcmul(carry, dh_t, K_t, out=dc_t)
        da_ifg.mul_(dc_t_as_1)  # (B, 3, H), (B, 1, H)
        da_o.mul_(dh_t)
        torch.mul(dc_t, F_t, out=carry)
        da_next = da
    dz = _mask_gradient(s, c, tanh_c, z, dh, dc) if need_dz else None
    return J, dz  # the slopes have become the gradients


def _slopes(s: Tensor, c: Tensor, tanh_c: Tensor, z: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """F, K (T, B, H) and J (T, B, 4H) of the module's docstring."""
    i, f, g, o = s.chunk(4, 2)
    J, K = torch.empty_like(s), torch.empty_like(tanh_c)
    J_i, J_f, J_g, J_o = J.chunk(4, 2)
    sigmoid_slope(g, i, grad_input=J_i)
    sigmoid_slope(c[:-1], f, grad_input=J_f)
    tanh_slope(i, g, grad_input=J_g)
    sigmoid_slope(tanh_c, o, grad_input=J_o)
    tanh_slope(o, tanh_c, grad_input=K)
    if z is None:
        return f, K, J
    z_i, z_f, z_g, z_o = z.chunk(4, 1)
    z_ig = z_i * z_g
    return z_f * f, K.mul_(z_o), J.mul_(torch.cat((z_ig, z_f, z_ig, z_o), 1))


def _mask_gradient(s: Tensor, c: Tensor, tanh_c: Tensor, z: Tensor, dh: Tensor, dc: Tensor) -> Tensor:
    """(B, 4H): the masks are shared over time, so their gradients are sums over time."""
    i, f, g, o = s.chunk(4, 2)
    z_i, _, z_g, _ = z.chunk(4, 1)
    term = torch.empty_like(dc)
    r = torch.mul(i, g, out=term).mul_(dc).sum(0)
    dz_f = torch.mul(f, c[:-1], out=term).mul_(dc).sum(0)
    dz_o = torch.mul(o, tanh_c, out=term).mul_(dh).sum(0)
    return torch.cat((z_g * r, dz_f, z_i * r, dz_o), 1)


def recurrent_gradient(da, hidden, h0: Tensor | None, U: Tensor, low: torch.dtype | None) -> Tensor:
    """``sum_t da_t^T h_{t-1}``: da (T, B, K), hidden (T, B, H) -> (K, H)."""
    h_prev, da_h = (hidden[:-1], da[1:]) if h0 is None else (torch.cat((h0[None], hidden[:-1])), da)
    da_h, h_prev = da_h.flatten(0, 1), h_prev.flatten(0, 1)
    if low is None:
        return weight_gradient(da_h, h_prev, U)
    return weight_gradient(da_h.to(low), h_prev.to(low), U).to(U.dtype)


def second_derivative(reference: Callable, inputs: list, need: tuple, upstream: tuple) -> list[Tensor | None]:
    """First derivatives that can be differentiated again: the recurrence once more, under plain autograd."""
    outputs = reference(*inputs)
    ys, dys = zip(*((y, dy) for y, dy in zip(outputs, upstream, strict=True) if dy is not None), strict=True)
    wanted = [x for x, needed in zip(inputs, need, strict=False) if needed]
    gradients = iter(torch.autograd.grad(ys, wanted, dys, create_graph=True, allow_unused=True))
    return [next(gradients) if needed else None for _, needed in zip(inputs, need, strict=False)]
