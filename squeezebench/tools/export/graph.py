"""An ONNX graph while it is written: nodes and constants are added, names are given."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper
from torch import Tensor, nn

from squeezebench.tools.export.standard import scale_and_shift


class Graph:
    """Nodes and constants in the order in which they are added; each call returns the name of the result.

    prefix: of the names that the graph chooses, since a subgraph may not use those of the graph around it.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: Tensor | np.ndarray, name: str = "") -> str:
        """A tensor in the file, under `name` or a name of its own."""
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        name = name or f"{self.prefix}constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def integers(self, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.constant(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        """An int64 constant without dimensions."""
        return self.constant(np.array(value, np.int64))

    def node(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes) -> str:
        """Add an operator; returns its last output."""
        outputs = outputs or [f"{self.prefix}{kind.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[-1]

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        """x W^T + b."""
        weight, bias = self.constant(layer.weight, f"{name}.weight"), self.constant(layer.bias, f"{name}.bias")
        return self.node("Gemm", x, weight, bias, transB=1)

    def affine(self, norm: nn.BatchNorm1d, x: str, name: str) -> str:
        """Batch norm at evaluation: a scale and a shift of each feature."""
        scale, shift = scale_and_shift(norm)
        scaled = self.node("Mul", x, self.constant(scale, f"{name}.scale"))
        return self.node("Add", scaled, self.constant(shift, f"{name}.shift"))

    def proto(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.GraphProto:
        """The graph as ONNX stores it."""
        constants = [numpy_helper.from_array(value, key) for key, value in self.constants.items()]
        return helper.make_graph(self.nodes, name, inputs, outputs, constants)
