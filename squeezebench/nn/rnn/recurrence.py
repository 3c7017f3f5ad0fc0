"""The masked gated recurrences: LSTM (Eq. 8 of the VIB-LSTM paper) and GRU, time-major, one layer.

Each takes the input products of all steps, ``gates = linear(x, W) + biases``, so that the input map may be
anything (dense, tensor train, ...), and runs the part that is truly sequential. With all masks None they are
``torch.nn.LSTM`` and ``torch.nn.GRU``. Sequences of different lengths are the caller's: run to the end,
gather the last valid step.

Three paths, one meaning: the equations under plain autograd (inside ``plain()``; also for second derivatives,
tracing and ``torch.func``), hand-written autograd for training (fused_lstm.py, fused_gru.py), and a lean loop
where no gradient is asked for.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from squeezebench.nn.kernels.fused_gru import MaskedGRU
from squeezebench.nn.kernels.fused_lstm import MaskedLSTM
from squeezebench.nn.kernels.gemm import autocast_dtype, fast_path, linear, plain, step_product

__all__ = ["gru_recurrence", "linear", "lstm_recurrence", "plain"]

Masks = tuple[Tensor | None, ...] | None


def lstm_recurrence(
    gates: Tensor, weight_hh: Tensor, masks: Masks = None, h0: Tensor | None = None, c0: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The LSTM whose gates carry masks, Eq. 8 of Srivastava et al., WACV 2021:

        i_t = z_i ⊙ σ(W_i v_t + U_i h_{t-1} + b_i)         f_t, o_t likewise
        g_t = z_g ⊙ tanh(W_g v_t + U_g h_{t-1} + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t                    h_t = o_t ⊙ tanh(c_t)

    gates: (T, B, 4H), the input products with both biases, in PyTorch's order i, f, g, o
    weight_hh: (4H, H), U
    masks: None or (z_i, z_f, z_g, z_o), each None, (H,) or (B, H), the same at every step
    h0, c0: (B, H), zero where None
    Returns hidden (T, B, H) and (h_T, c_T), each (B, H). Under autocast the products with U run in the lower
    precision and the state stays in float32.
    """
    tensors = (gates, weight_hh, *(masks or ()), h0, c0)
    _check(gates, weight_hh, masks, 4)
    low = autocast_dtype(gates)
    if low is not None:
        gates, h0, c0 = (None if t is None else t.float() for t in (gates, h0, c0))
    fast = fast_path(*tensors)
    if fast and not _needs_grad(tensors):
        return _lstm_inference(gates, weight_hh, masks, h0, c0, low)
    z = _stack(masks, gates, weight_hh.shape[1])
    if not fast:
        hidden, c_T = _lstm_plain(gates, weight_hh, z, h0, c0)
    else:
        hidden, c_T = MaskedLSTM.apply(gates, weight_hh, z, h0, c0, low, _lstm_plain)
    return hidden, (hidden[-1], c_T)


def gru_recurrence(
    gates: Tensor, weight_hh: Tensor, bias_hh_n: Tensor | None, masks: Masks = None, h0: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """PyTorch's GRU (Cho et al. 2014, the reset gate after the product), its gates carrying masks:

        r_t = m_r ⊙ σ(W_r v_t + U_r h_{t-1} + b_r)     z_t = m_z ⊙ σ(W_z v_t + U_z h_{t-1} + b_z)
        n_t = m_n ⊙ tanh(W_n v_t + b_in + r_t ⊙ (U_n h_{t-1} + b_hn))
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    gates: (T, B, 3H), the input products with all biases but b_hn, in PyTorch's order r, z, n
    weight_hh: (3H, H), U;  bias_hh_n: (H,) or None, b_hn;  masks: None or (m_r, m_z, m_n), as for the LSTM
    h0: (B, H), zero where None
    Returns hidden (T, B, H) and h_T (B, H).
    """
    tensors = (gates, weight_hh, bias_hh_n, *(masks or ()), h0)
    _check(gates, weight_hh, masks, 3)
    low = autocast_dtype(gates)
    if low is not None:
        gates, bias_hh_n, h0 = (None if t is None else t.float() for t in (gates, bias_hh_n, h0))
    fast = fast_path(*tensors)
    if fast and not _needs_grad(tensors):
        hidden = _gru_inference(gates, weight_hh, bias_hh_n, masks, h0, low)
    else:
        m = _stack(masks, gates, weight_hh.shape[1])
        if not fast:
            (hidden,) = _gru_plain(gates, weight_hh, bias_hh_n, m, h0)
        else:
            hidden = MaskedGRU.apply(gates, weight_hh, bias_hh_n, m, h0, low, _gru_plain)
    return hidden, hidden[-1]


# ------------------------------------------------------------------------------------ the equations, plainly


def _lstm_plain(gates, U, z, h0, c0):
    """z: (B, 4H) or None. Returns hidden (T, B, H) and c_T (B, H)."""
    h = gates.new_zeros(gates.shape[1], U.shape[1]) if h0 is None else h0
    c = torch.zeros_like(h) if c0 is None else c0
    hidden = []
    for x in gates.unbind(0):
        i, f, g, o = (x + F.linear(h, U)).chunk(4, 1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        if z is not None:
            i, f, g, o = (z_k * k for z_k, k in zip(z.chunk(4, 1), (i, f, g, o), strict=True))
        c = f * c + i * g
        h = o * c.tanh()
        hidden.append(h)
    return torch.stack(hidden), c


def _gru_plain(gates, U, b_hn, m, h0):
    """m: (B, 3H) or None. Returns (hidden (T, B, H),)."""
    h = gates.new_zeros(gates.shape[1], U.shape[1]) if h0 is None else h0
    m_r, m_z, m_n = (None,) * 3 if m is None else m.chunk(3, 1)
    hidden = []
    for x in gates.unbind(0):
        u_r, u_z, u_n = F.linear(h, U).chunk(3, 1)
        x_r, x_z, x_n = x.chunk(3, 1)
        r, z = (x_r + u_r).sigmoid(), (x_z + u_z).sigmoid()
        if m is not None:
            r, z = m_r * r, m_z * z
        n = (x_n + r * (u_n if b_hn is None else u_n + b_hn)).tanh()
        if m is not None:
            n = m_n * n
        h = (1 - z) * n + z * h
        hidden.append(h)
    return (torch.stack(hidden),)


# ---------------------------------------------------------------------------------------------- no gradients


def _lstm_inference(gates, U, masks, h0, c0, low):
    """Small models spend their time between operations: few of them, and every view made once."""
    (T, B, _), H = gates.shape, U.shape[1]
    hidden = gates.new_empty(T, B, H)
    c = gates.new_zeros(B, H) if c0 is None else c0.clone()
    a, s = gates.new_empty(B, 4 * H), gates.new_empty(B, 4 * H)
    a_g = a[:, 2 * H : 3 * H]
    i, f, g, o = s.chunk(4, 1)
    z = _stack(masks, gates, H)
    add_product = step_product(U, B, T, low)
    sigmoid, tanh, mul = torch.sigmoid, torch.tanh, torch.mul
    h = h0
    for x, h_t in zip(gates.unbind(0), hidden.unbind(0), strict=True):
        if h is None:
            a.copy_(x)
        else:
            add_product(x, h, a)
        sigmoid(a, out=s)
        tanh(a_g, out=g)
        if z is not None:
            s.mul_(z)
        c.mul_(f).addcmul_(i, g)
        mul(o, tanh(c), out=h_t)
        h = h_t
    return hidden, (hidden[-1], c)


def _gru_inference(gates, U, b_hn, masks, h0, low):
    (T, B, _), H = gates.shape, U.shape[1]
    hidden = gates.new_empty(T, B, H)
    h = gates.new_zeros(B, H) if h0 is None else h0
    bias = gates.new_zeros(3 * H)  # b_hn in its place, so that one product adds it
    if b_hn is not None:
        bias[2 * H :] = b_hn
    u = gates.new_empty(B, 3 * H)
    u_rz, u_n = u.split((2 * H, H), 1)
    r, z = u_rz.chunk(2, 1)
    m_rz, m_n = (None, None) if masks is None else _stack(masks, gates, H).split((2 * H, H), 1)
    add_product = step_product(U, B, T, low)
    bias = bias.expand(B, 3 * H)
    x_rz_steps, x_n_steps = (x.unbind(0) for x in gates.split((2 * H, H), 2))
    for x_rz, x_n, h_t in zip(x_rz_steps, x_n_steps, hidden.unbind(0), strict=True):
        add_product(bias, h, u)
        u_rz.add_(x_rz).sigmoid_()
        if m_rz is not None:
            u_rz.mul_(m_rz)
        n = torch.addcmul(x_n, r, u_n).tanh_()
        if m_n is not None:
            n.mul_(m_n)
        torch.lerp(n, h, z, out=h_t)  # n + z (h - n)
        h = h_t
    return hidden


# --------------------------------------------------------------------------------------------------- helpers


def _stack(masks: Masks, gates: Tensor, width: int) -> Tensor | None:
    """The masks side by side, (B, 4H) or (B, 3H), ones where None. Autograd sums (H,) masks over B."""
    if masks is None or all(m is None for m in masks):
        return None
    shape = (gates.shape[1], width)
    ones = gates.new_ones(())
    return torch.cat([(ones if m is None else m.to(gates.dtype)).expand(shape) for m in masks], 1)


def _needs_grad(tensors) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _check(gates: Tensor, weight_hh: Tensor, masks: Masks, count: int) -> None:
    H = weight_hh.shape[1]
    fits = gates.dim() == 3 and gates.shape[2] == count * H == weight_hh.shape[0]
    if not fits or gates.shape[0] == 0:
        raise ValueError(
            f"expected gates (T > 0, B, {count}H) and weight_hh ({count}H, H), "
            f"got {tuple(gates.shape)} and {tuple(weight_hh.shape)}"
        )
    if masks is not None and len(masks) != count:
        raise ValueError(f"expected {count} masks, got {len(masks)}")
