"""The gated recurrent unit (Cho et al. 2014) in PyTorch's form, with the reset gate after the product."""

from __future__ import annotations

from squeezebench.nn.rnn.cells.base import Cell, OnnxOperator


class GRU(Cell):
    """The GRU whose gates carry masks m:

        r_t = m_r ⊙ σ(W_r v_t + U_r h_{t-1} + b_r)     z_t = m_z ⊙ σ(W_z v_t + U_z h_{t-1} + b_z)
        n_t = m_n ⊙ tanh(W_n v_t + b_in + r_t ⊙ (U_n h_{t-1} + b_hn))
        h_t = (1 - z_t) ⊙ n_t + z_t ⊙ h_{t-1}

    A unit that starts at h_0 = 0 stays there iff m_n[j] = 0; and for fixed masks h_t is linear in m_n.
    """

    title = "GRU"
    gates = recurrent = "rzn"
    removing = state_gate = "n"
    mixing = "z"
    torch_module = "GRU"
    onnx = OnnxOperator("GRU", (1, 0, 2), attributes={"linear_before_reset": 1})  # z, r, h

    def step(self, x, u, mask, h):
        (x_r, x_z, x_n), (u_r, u_z, u_n) = x, u
        r = mask("r", (x_r + u_r).sigmoid())
        z = mask("z", (x_z + u_z).sigmoid())
        n = mask("n", (x_n + r * u_n).tanh())
        return ((1 - z) * n + z * h,)

    def biases(self, bias_ih, bias_hh):
        """b_hn sits inside r_t ⊙ (U_n h_{t-1} + b_hn) and cannot join the input products."""
        import torch

        width = len(bias_hh) // 3
        return bias_ih + torch.cat([bias_hh[: 2 * width], bias_hh.new_zeros(width)]), bias_hh[2 * width :]

    def absorb(self, rows, masks):
        """m_r r_t ⊙ (U_n h + b_hn) = r_t ⊙ (m_r U_n h + m_r b_hn) is exact; m_z lowers the update gate, as z_f does."""
        if "r" in masks:
            rows.scale_recurrent("n", masks["r"])
        if "z" in masks:
            rows.attenuate("z", masks["z"])

    def fused(self, gates, weight_hh, bias, z, states, low):
        from squeezebench.nn.kernels.fused_gru import MaskedGRU

        hidden = MaskedGRU.apply(gates, weight_hh, bias, z, *states, low, self._reference)
        return hidden, (hidden[-1],)

    def _reference(self, gates, weight_hh, bias, z, h0):
        return (self.sequence(gates, weight_hh, bias, z, (h0,))[0],)

    def lean(self, gates, weight_hh, bias, z, states, low):
        import torch

        from squeezebench.nn.kernels.gemm import step_product

        (T, B, _), H, (h,) = gates.shape, weight_hh.shape[1], states
        hidden = gates.new_empty(T, B, H)
        h = gates.new_zeros(B, H) if h is None else h
        b = gates.new_zeros(3 * H)  # b_hn in its place, so that one product adds it
        if bias is not None:
            b[2 * H :] = bias
        u = gates.new_empty(B, 3 * H)
        u_rz, u_n = u.split((2 * H, H), 1)
        r, update = u_rz.chunk(2, 1)
        m_rz, m_n = (None, None) if z is None else z.split((2 * H, H), 1)
        add_product = step_product(weight_hh, B, T, low)
        b = b.expand(B, 3 * H)
        x_rz_steps, x_n_steps = (x.unbind(0) for x in gates.split((2 * H, H), 2))
        for x_rz, x_n, h_t in zip(x_rz_steps, x_n_steps, hidden.unbind(0), strict=True):
            add_product(b, h, u)
            u_rz.add_(x_rz).sigmoid_()
            if m_rz is not None:
                u_rz.mul_(m_rz)
            n = torch.addcmul(x_n, r, u_n).tanh_()
            if m_n is not None:
                n.mul_(m_n)
            torch.lerp(n, h, update, out=h_t)  # n + z (h - n)
            h = h_t
        return hidden, (hidden[-1],)
