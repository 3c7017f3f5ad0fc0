"""minGRU (Feng et al., "Were RNNs All We Needed?", 2024): a GRU whose gate and candidate do not see the state."""

from __future__ import annotations

from squeezebench.nn.rnn.cells.base import Cell


class MinGRU(Cell):
    """The minGRU in recurrent form, with masks m on its gate z and its candidate (letter h):

        z_t = m_z ⊙ σ(W_z x_t + b_z)      h~_t = m_h ⊙ (W_h x_t + b_h)
        h_t = (1 - z_t) ⊙ h_{t-1} + z_t ⊙ h~_t

    There is no hidden-to-hidden product: a layer has 2 H (D + 1) parameters. A unit that starts at h_0 = 0 stays there
    if m_z[j] = 0 (it never takes anything in) or m_h[j] = 0 (it takes in zeros). h_t is linear in m_h.
    """

    title = "minGRU"
    gates = "zh"
    recurrent = ""
    removing = "zh"
    state_gate = "h"
    mixing = "z"

    def step(self, x, u, mask, h):
        x_z, x_h = x
        z = mask("z", x_z.sigmoid())
        return ((1 - z) * h + z * mask("h", x_h),)

    def biases(self, bias_ih, bias_hh):
        return bias_ih, None

    def absorb(self, rows, masks):
        if "z" in masks:
            rows.attenuate("z", masks["z"])

    def fused(self, gates, weight_hh, bias, z, states, low):
        """Without U all gates are known before the loop, which only accumulates."""
        import torch

        x_z, x_h = gates.chunk(2, 2)
        update, (h,) = x_z.sigmoid(), states
        if z is not None:
            m_z, m_h = z.chunk(2, 1)
            update, x_h = m_z * update, m_h * x_h
        hidden = []
        for keep, new in zip((1 - update).unbind(0), (update * x_h).unbind(0), strict=True):
            h = new if h is None else torch.addcmul(new, keep, h)
            hidden.append(h)
        return torch.stack(hidden), (h,)
