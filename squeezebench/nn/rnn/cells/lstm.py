"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

from __future__ import annotations

from typing import ClassVar

from squeezebench.nn.rnn.cells.base import Cell, OnnxOperator


class LSTM(Cell):
    """The LSTM whose gates carry masks, Eq. 8 of Srivastava et al., WACV 2021:

        i_t = z_i ⊙ σ(W_i v_t + U_i h_{t-1} + b_i)         f_t, o_t likewise
        g_t = z_g ⊙ tanh(W_g v_t + U_g h_{t-1} + b_g)
        c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t                    h_t = o_t ⊙ tanh(c_t)

    Unit j contributes nothing if z_o[j] = 0, or, with c_0 = 0, if z_i[j] = 0 or z_g[j] = 0 (then c_j = 0 for ever).
    With only z_f[j] = 0 it still carries i_t g_t and stays. h_t is linear in z_o; z_i and z_g only occur as a product.
    """

    title = "LSTM"
    gates = recurrent = "ifgo"
    states = ("h", "c")
    removing = "igo"
    state_gate = "o"
    merged: ClassVar = {"g": "i"}
    initial_bias: ClassVar = {"f": 1.0}
    torch_module = "LSTM"
    onnx = OnnxOperator("LSTM", (0, 3, 1, 2), int8=True)  # i, o, f, c

    def step(self, x, u, mask, h, c):
        (x_i, x_f, x_g, x_o), (u_i, u_f, u_g, u_o) = x, u
        i = mask("i", (x_i + u_i).sigmoid())
        f = mask("f", (x_f + u_f).sigmoid())
        g = mask("g", (x_g + u_g).tanh())
        o = mask("o", (x_o + u_o).sigmoid())
        c = f * c + i * g
        return o * c.tanh(), c

    def absorb(self, rows, masks):
        """z_i z_g scales g's argument (tanh is linear near 0, where g's values are); z_f lowers the forget gate."""
        for gate in "ig":
            if gate in masks:
                rows.scale("g", masks[gate])
        if "f" in masks:
            rows.attenuate("f", masks["f"])

    def fused(self, gates, weight_hh, bias, z, states, low):
        from squeezebench.nn.kernels.fused_lstm import MaskedLSTM

        hidden, c = MaskedLSTM.apply(gates, weight_hh, z, *states, low, self._reference)
        return hidden, (hidden[-1], c)

    def _reference(self, gates, weight_hh, z, h0, c0):
        hidden, (_, c) = self.sequence(gates, weight_hh, None, z, (h0, c0))
        return hidden, c

    def lean(self, gates, weight_hh, bias, z, states, low):
        """Small models spend their time between operations: few of them, and every view made once."""
        import torch

        from squeezebench.nn.kernels.gemm import step_product
        from squeezebench.nn.kernels.native import lstm as native

        (T, B, _), H, (h, c0) = gates.shape, weight_hh.shape[1], states
        hidden = gates.new_empty(T, B, H)
        c = gates.new_zeros(B, H) if c0 is None else c0.clone()
        a, s = gates.new_empty(B, 4 * H), gates.new_empty(B, 4 * H)
        if native.applies(gates, weight_hh, z, low):
            native.forward_steps(gates, weight_hh, z, h, s, c, c, torch.empty_like(c), hidden)
            return hidden, (hidden[-1], c)
        a_g = a[:, 2 * H : 3 * H]
        i, f, g, o = s.chunk(4, 1)
        add_product = step_product(weight_hh, B, T, low)
        sigmoid, tanh, mul = torch.sigmoid, torch.tanh, torch.mul
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
