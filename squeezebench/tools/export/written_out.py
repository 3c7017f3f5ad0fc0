"""One step of a recurrent cell as the body of an ONNX Scan, traced from the cell's own equations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from squeezebench.nn.rnn.cells import Cell
from squeezebench.tools.export.graph import Graph
from squeezebench.tools.export.standard import StandardLayer
from squeezebench.tools.export.symbol import Symbol


@dataclass(frozen=True)
class Value(Symbol):
    """A value in the body: each operation adds an operator to the graph."""

    graph: Graph
    name: str

    def operation(self, kind: str, *operands: Value | float) -> Value:
        names = [v.name if isinstance(v, Value) else self.graph.constant(np.array(v, np.float32)) for v in operands]
        return Value(self.graph, self.graph.node(kind, *names))

    def split(self, parts: int) -> list[Value]:
        """`parts` (B, H) of a (B, parts H), none if `parts` is 0."""
        outputs = [f"{self.name}.{number}" for number in range(parts)]
        if parts:
            self.graph.node("Split", self.name, outputs=outputs, axis=1)
        return [Value(self.graph, output) for output in outputs]


def body(layer: StandardLayer, cell: Cell, name: str) -> onnx.GraphProto:
    """The states and x W^T + b_ih of this step -> the next states, and h as this step's output."""
    graph = Graph(f"{name}.step.")
    product = Value(graph, "h_in")
    if cell.recurrent:
        u = graph.constant(layer.weight_hh.T, f"{name}.U")
        product = Value(graph, graph.node("MatMul", "h_in", u)) + Value(graph, graph.constant(layer.bias_hh))
    masks = {letter: Value(graph, graph.constant(z, f"{name}.z_{letter}")) for letter, z in layer.factors.items()}

    def masked(letter: str, value: Value) -> Value:
        return value * masks[letter] if letter in masks else value

    x, u = Value(graph, "gates_in").split(len(cell.gates)), product.split(len(cell.recurrent))
    states = cell.step(x, u, masked, *(Value(graph, f"{state}_in") for state in cell.states))
    for state, value in zip([*cell.states, "y"], [*states, states[0]], strict=True):
        graph.node("Identity", value.name, outputs=[f"{state}_out"])

    def info(key: str, width: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(key, TensorProto.FLOAT, ["batch", width])

    inputs = [*(info(f"{state}_in", layer.hidden) for state in cell.states)]
    inputs.append(info("gates_in", len(cell.gates) * layer.hidden))
    return graph.proto(f"{name}.step", inputs, [info(f"{key}_out", layer.hidden) for key in (*cell.states, "y")])
