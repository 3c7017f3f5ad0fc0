"""One step of a masked LSTM or GRU as the body of an ONNX Scan."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from squeezebench.tools.export.standard import StandardLayer, gates_of


def body(layer: StandardLayer, cell: str, name: str) -> onnx.GraphProto:
    """States h (and c), gates x W^T + b_ih of this step -> the next states and h as this step's output.

    LSTM: Eq. 8 of the VIB-LSTM paper; GRU: r, z, n with the reset gate after the product.
    """
    nodes: list[onnx.NodeProto] = []
    constants = {"U": layer.weight_hh.T.numpy(), "b": layer.bias_hh.numpy(), "ones": np.array(1.0, np.float32)}
    constants |= {f"z_{letter}": value.numpy() for letter, value in layer.factors.items()}
    constants = {f"{name}.{key}": np.ascontiguousarray(value) for key, value in constants.items()}
    parts = gates_of(cell)

    def add(kind: str, inputs: list[str], *outputs: str, **attributes) -> str:
        outputs = outputs or (f"{name}.step_{len(nodes)}",)
        nodes.append(helper.make_node(kind, inputs, list(outputs), **attributes))
        return outputs[0]

    def split(value: str, letters: str, prefix: str) -> list[str]:
        outputs = [f"{name}.{prefix}_{letter}" for letter in letters]
        add("Split", [value], *outputs, axis=1)
        return outputs

    def masked(letter: str, value: str) -> str:
        return add("Mul", [value, f"{name}.z_{letter}"]) if letter in layer.factors else value

    product = add("Add", [add("MatMul", ["h_in", f"{name}.U"]), f"{name}.b"])
    if cell == "lstm":
        a = split(add("Add", ["gates_in", product]), "ifgo", "a")
        kinds = ("Sigmoid", "Sigmoid", "Tanh", "Sigmoid")
        i, f, g, o = (masked(k, add(kind, [v])) for k, kind, v in zip("ifgo", kinds, a, strict=True))
        c = add("Add", [add("Mul", [f, "c_in"]), add("Mul", [i, g])], "c_out")
        add("Mul", [o, add("Tanh", [c])], "h_out")
        states = ["h", "c"]
    else:
        x_r, x_z, x_n = split("gates_in", "rzn", "x")
        u_r, u_z, u_n = split(product, "rzn", "u")
        r = masked("r", add("Sigmoid", [add("Add", [x_r, u_r])]))
        z = masked("z", add("Sigmoid", [add("Add", [x_z, u_z])]))
        n = masked("n", add("Tanh", [add("Add", [x_n, add("Mul", [r, u_n])])]))
        rest = add("Mul", [add("Sub", [f"{name}.ones", z]), n])
        add("Add", [rest, add("Mul", [z, "h_in"])], "h_out")
        states = ["h"]
    add("Identity", ["h_out"], "y_out")
    info = lambda key, width: helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", width])
    hidden = layer.hidden
    return helper.make_graph(
        nodes,
        f"{name}.step",
        [*(info(f"{state}_in", hidden) for state in states), info("gates_in", parts * hidden)],
        [*(info(f"{state}_out", hidden) for state in states), info("y_out", hidden)],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
