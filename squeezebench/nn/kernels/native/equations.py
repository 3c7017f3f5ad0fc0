"""The pointwise part of one step of the masked LSTM, unit by unit: the equations are those of ../fused_lstm.py."""

from __future__ import annotations

from squeezebench.nn.kernels.native.vectors import Function, Load, Store, sigmoid, tanh


def _forward(load: Load, store: Store) -> None:
    i, f, g, o = (load("x", k) + load("product", k) for k in range(4))
    gates = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    for k, gate in enumerate(gates):
        store("s", gate, k)
    i, f, g, o = (load("z", k) * gate for k, gate in enumerate(gates))
    c = i * g + f * load("c")
    tanh_c = tanh(c)
    store("c_next", c)
    store("tanh_c", tanh_c)
    store("hidden", o * tanh_c)


def _backward(load: Load, store: Store) -> None:
    i, f, g, o = (load("s", k) for k in range(4))
    z_i, z_f, z_g, z_o = (load("z", k) for k in range(4))
    tanh_c, dh = load("tanh_c"), load("dhidden") + load("product")
    dh_o = dh * tanh_c
    dc = load("carry") + dh * z_o * o * (1.0 - tanh_c * tanh_c)
    dc_f, dc_ig = dc * load("c"), dc * (z_i * z_g)
    da_i, da_f = dc_ig * g * i * (1.0 - i), dc_f * z_f * f * (1.0 - f)
    da_g, da_o = dc_ig * i * (1.0 - g * g), dh_o * z_o * o * (1.0 - o)
    r = dc * i * g
    dz = [load("dz", k) + term for k, term in enumerate((z_g * r, dc_f * f, z_i * r, dh_o * o))]
    for k, da in enumerate((da_i, da_f, da_g, da_o)):
        store("da", da, k)
        store("dz", dz[k], k)
    store("carry", dc * z_f * f)


# The arrays of a step and how many numbers of a unit each holds: 4 for (B, 4H), gate by gate; 1 for (B, H).
FUNCTIONS = {
    "forward": Function(
        _forward, {"x": 4, "product": 4, "z": 4, "s": 4, "c": 1, "c_next": 1, "tanh_c": 1, "hidden": 1}
    ),
    "backward": Function(
        _backward,
        {"s": 4, "z": 4, "c": 1, "tanh_c": 1, "dhidden": 1, "product": 1, "carry": 1, "da": 4, "dz": 4},
    ),
}
