"""The masked GRU with its derivative written by hand, on the pattern of fused_lstm.py.

Forward (PyTorch's GRU, the reset gate after the product), with s_r, s_z, s_n the gates before their masks m:

    r = m_r s_r     z = m_z s_z     q = U_n h_{t-1} + b_hn     s_n = tanh(x_n + r ⊙ q)     n = m_n s_n
    h_t = n + z ⊙ (h_{t-1} - n)

Backward, with dh the running gradient and a the sums that enter the nonlinearities:

    dh_t = dhidden_t + z_{t+1} ⊙ dh_{t+1} + U^T du_{t+1}
    da_z = J_z ⊙ dh     da_n = J_n ⊙ dh     da_r = J_r ⊙ da_n     du = (da_r, da_z, r ⊙ da_n)

All of J and r are known before the loop; the sums over the steps are taken after it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from squeezebench.nn.kernels.fused_lstm import recurrent_gradient, second_derivative, sigmoid_slope, tanh_slope
from squeezebench.nn.kernels.gemm import step_product


class MaskedGRU(torch.autograd.Function):
    """gates (T, B, 3H), U (3H, H); b_hn (H,), m (B, 3H), h0 (B, H) or None each -> hidden (T, B, H).

    ``low`` and ``reference`` as in :class:`~squeezebench.nn.kernels.fused_lstm.MaskedLSTM`.
    """

    @staticmethod
    def forward(ctx, gates, U, b_hn, m, h0, low: torch.dtype | None, reference: Callable):
        (T, B, _), H = gates.shape, U.shape[1]
        s = gates.new_empty(T, B, 3 * H)  # r, z, n after the nonlinearity, before the mask
        q, hidden = gates.new_empty(T, B, H), gates.new_empty(T, B, H)
        bias = gates.new_zeros(3 * H)  # b_hn in its place, so that one product adds it
        if b_hn is not None:
            bias[2 * H :] = b_hn
        bias = bias.expand(B, 3 * H)
        h = gates.new_zeros(B, H) if h0 is None else h0

        add_product = step_product(U, B, T, low)
        u = gates.new_empty(B, 3 * H)
        u_rz, u_n = u.split((2 * H, H), 1)
        if m is None:
            masked_gates = zip(*(k.unbind(0) for k in s.chunk(3, 2)), strict=True)
        else:
            m_rz, m_n = m.split((2 * H, H), 1)
            ms = gates.new_empty(B, 3 * H)
            ms_rz = ms[:, : 2 * H]
            masked_gates = (ms.chunk(3, 1),) * T

        steps = zip(
            gates[:, :, : 2 * H].unbind(0), gates[:, :, 2 * H :].unbind(0), s[:, :, : 2 * H].unbind(0),
            s[:, :, 2 * H :].unbind(0), masked_gates, q.unbind(0), hidden.unbind(0), strict=True,
        )  # fmt: skip
        for x_rz, x_n, s_rz, s_n, (r, z, n), q_t, h_t in steps:
            add_product(bias, h, u)
            q_t.copy_(u_n)
            torch.add(u_rz, x_rz, out=s_rz).sigmoid_()
            if m is not None:
                torch.mul(s_rz, m_rz, out=ms_rz)
            torch.addcmul(x_n, r, q_t, out=s_n).tanh_()
            if m is not None:
                torch.mul(s_n, m_n, out=n)
            torch.lerp(n, h, z, out=h_t)
            h = h_t
        ctx.save_for_backward(gates, U, b_hn, m, h0, s, q, hidden)
        ctx.low, ctx.reference = low, reference
        return hidden

    @staticmethod
    def backward(ctx, dhidden):
        *inputs, s, q, hidden = ctx.saved_tensors
        need = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return (*second_derivative(ctx.reference, inputs, need, (dhidden,)), None, None)
        _, U, _, m, h0 = inputs
        H = U.shape[1]
        first = torch.zeros_like(hidden[:1]) if h0 is None else h0[None]
        h_prev = torch.cat((first, hidden[:-1]))
        s_r, s_z, s_n = s.chunk(3, 2)
        r, z, n = (s_r, s_z, s_n) if m is None else (s * m).chunk(3, 2)

        J = torch.empty_like(s)  # local slopes, which become da
        J_r, J_z, J_n = J.chunk(3, 2)
        sigmoid_slope(q, s_r, grad_input=J_r)
        sigmoid_slope(h_prev - n, s_z, grad_input=J_z)
        tanh_slope(1 - z, s_n, grad_input=J_n)
        if m is not None:
            J.mul_(m)
        add_product = step_product(U, s.shape[1], len(s), ctx.low, transposed=True)
        dh, du, carry = _backward_steps(dhidden, z, r, J, add_product)
        da, da_n = J, J_n

        dU = db = dm = dh0 = None
        if need[1]:
            dU = recurrent_gradient(du, hidden, h0, U, ctx.low)
        if need[2]:
            db = du[:, :, 2 * H :].sum((0, 1))
        if need[3]:
            dm_r, dm_z, dm_n = da_n * q * s_r, dh * (h_prev - n) * s_z, dh * (1 - z) * s_n
            dm = torch.cat((dm_r.sum(0), dm_z.sum(0), dm_n.sum(0)), 1)
        if need[4]:
            dh0 = torch.empty_like(h0)
            add_product(carry, du[0], dh0)
        return da if need[0] else None, dU, db, dm, dh0, None, None


def _backward_steps(
    dhidden: Tensor, z: Tensor, r: Tensor, J: Tensor, add_product: Callable
) -> tuple[Tensor, Tensor, Tensor]:
    """Return dh (T, B, H), du (T, B, 3H) and the part of dh_0 (B, H) that enters through z. J becomes da."""
    H = z.shape[2]
    J_r, _, J_n = J.chunk(3, 2)
    dh, du = dhidden.new_empty(dhidden.shape), torch.empty_like(J)
    carry, total = torch.zeros_like(dh[0]), torch.empty_like(dh[0])
    du_next = None
    steps = zip(
        dhidden.unbind(0), dh.unbind(0), dh.unsqueeze(2).unbind(0), z.unbind(0), r.unbind(0),
        J_r.unbind(0), J_n.unbind(0), J[:, :, H:].unflatten(2, (2, H)).unbind(0),
        J[:, :, : 2 * H].unbind(0), du.unbind(0), du[:, :, : 2 * H].unbind(0),
        du[:, :, 2 * H :].unbind(0), strict=True,
    )  # fmt: skip
    for step in reversed(list(steps)):
        dhidden_t, dh_t, dh_t_as_1, z_t, r_t, da_r, da_n, da_zn, da_rz, du_t, du_rz, du_n = step
        if du_next is None:
            dh_t.copy_(dhidden_t)
        else:
            torch.add(dhidden_t, carry, out=total)
            add_product(total, du_next, dh_t)
        da_zn.mul_(dh_t_as_1)  # (B, 2, H), (B, 1, H)
        da_r.mul_(da_n)
        du_rz.copy_(da_rz)
        torch.mul(r_t, da_n, out=du_n)
        torch.mul(dh_t, z_t, out=carry)
        du_next = du_t
    return dh, du, carry
