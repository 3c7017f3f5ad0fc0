"""A standard classifier as an ONNX model: operators LSTM and GRU, batch and time of any size.

    x (batch, time, features) float32 [, length (batch,) int64] -> logits (batch, classes)

Inputs are selected by Gather. A layer that keeps mask vectors is no ONNX LSTM: its equations (Eq. 8 of the VIB-LSTM
paper) are written out as the body of a Scan over time. Gate orders: PyTorch has i, f, g, o and r, z, n; ONNX has
i, o, f, c and z, r, h. PyTorch's GRU applies the reset gate after the product: linear_before_reset = 1.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from squeezebench.tools.export.masked_cell import body
from squeezebench.tools.export.standard import Standard, StandardLayer, gates_of

OPSET = 17
IR_VERSION = 10
ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}  # of PyTorch's row blocks in ONNX
FLOAT = TensorProto.FLOAT


class Graph:
    """Nodes and constants as they are added; each call returns the name of the result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def constant(self, value: Tensor | np.ndarray, name: str = "") -> str:
        """A tensor in the file, under `name` or a name of its own."""
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        name = name or f"constant_{len(self.constants)}"
        self.constants[name] = np.ascontiguousarray(array)
        return name

    def integers(self, *values: int) -> str:
        """A 1-D int64 constant."""
        return self.constant(np.array(values, np.int64))

    def node(self, kind: str, *inputs: str, outputs: list[str] | None = None, **attributes) -> str:
        """Add an operator; returns its last output."""
        outputs = outputs or [f"{kind.lower()}_{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return outputs[-1]

    def linear(self, x: str, layer: nn.Linear, name: str) -> str:
        """x W^T + b."""
        weight, bias = self.constant(layer.weight, f"{name}.weight"), self.constant(layer.bias, f"{name}.bias")
        return self.node("Gemm", x, weight, bias, transB=1)


def onnx_model(model: Standard, has_lengths: bool, about: dict[str, str], written_out: bool = False) -> onnx.ModelProto:
    """The model, checked by ONNX's own checker. `about` becomes its metadata; `written_out`: every layer as a Scan."""
    graph = Graph()
    x, length = "x", "length" if has_lengths else ""
    if model.input_index is not None:
        x = graph.node("Gather", x, graph.constant(model.input_index, "input_index"), axis=2)
    if model.front is not None:
        x = _front(graph, model.front, x, length)
        length = "" if model.front.pool else length
    lengths = graph.node("Cast", length, to=TensorProto.INT32) if length else ""
    hidden = graph.node("Transpose", x, perm=[1, 0, 2])  # (T, B, D)
    for number, layer in enumerate(model.layers):
        last = number == len(model.layers) - 1
        run = _scan if layer.factors or written_out else _operator
        hidden = run(graph, layer, model.cell, hidden, lengths, number, last)
    logits = graph.linear(hidden, model.head, "head")
    for number, module in enumerate(model.top or ()):
        logits = _after_head(graph, module, logits, f"top.{number}")
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    classes = (model.top[-1] if model.top is not None else model.head).out_features
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", "time", model.inputs])]
    if has_lengths:
        inputs.append(helper.make_tensor_value_info("length", TensorProto.INT64, ["batch"]))
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "classifier",
            inputs,
            [helper.make_tensor_value_info("logits", FLOAT, ["batch", classes])],
            [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="squeezebench",
    )
    helper.set_model_props(made, about)
    onnx.checker.check_model(made, full_check=True)
    return made


def _blocks(value: Tensor, cell: str) -> np.ndarray:
    """Row blocks in ONNX's order, with an axis for the direction in front."""
    rows = value.numpy().reshape(gates_of(cell), value.shape[0] // gates_of(cell), -1)[list(ORDER[cell])]
    return rows.reshape(1, value.shape[0], -1)


def _operator(graph: Graph, layer: StandardLayer, cell: str, x: str, lengths: str, number: int, last: bool) -> str:
    """The LSTM or GRU operator: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    name = f"layer_{number}"
    bias = np.concatenate([_blocks(layer.bias_ih, cell), _blocks(layer.bias_hh, cell)], axis=1)[..., 0]
    weights = [
        graph.constant(_blocks(layer.weight_ih, cell), f"{name}.W"),
        graph.constant(_blocks(layer.weight_hh, cell), f"{name}.R"),
        graph.constant(bias, f"{name}.B"),
    ]
    outputs = ["", f"{name}.Y_h"] if last else [f"{name}.Y"]
    options = {"linear_before_reset": 1} if cell == "gru" else {}
    found = graph.node(
        cell.upper(), x, *weights, *([lengths] if lengths else []),
        outputs=outputs, hidden_size=layer.hidden, **options,
    )  # fmt: skip
    return graph.node("Squeeze", found, graph.integers(0 if last else 1))


def _scan(graph: Graph, layer: StandardLayer, cell: str, x: str, lengths: str, number: int, last: bool) -> str:
    """The masked equations, step by step: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    name = f"layer_{number}"
    bias = graph.constant(layer.bias_ih, f"{name}.bias_ih")
    products = graph.node("MatMul", x, graph.constant(layer.weight_ih.T, f"{name}.W"))
    gates = graph.node("Add", products, bias)  # (T, B, G H)
    batch = graph.node("Slice", graph.node("Shape", x), graph.integers(1), graph.integers(2))
    size = graph.node("Concat", batch, graph.integers(layer.hidden), axis=0)
    zeros = graph.node("ConstantOfShape", size, value=helper.make_tensor("zero", FLOAT, [1], [0.0]))
    states = [f"{name}.{state}" for state in ("h", "c")[: 2 if cell == "lstm" else 1]]
    every = graph.node(
        "Scan", *[zeros] * len(states), gates,
        outputs=[*(f"{state}_last" for state in states), f"{name}.Y"],
        num_scan_inputs=1, body=body(layer, cell, name),
    )  # fmt: skip
    if not last:
        return every
    if not lengths:
        return f"{name}.h_last"
    at = graph.node("Sub", lengths, graph.constant(np.array(1, np.int32)))  # (B,)
    at = graph.node("Unsqueeze", graph.node("Cast", at, to=TensorProto.INT64), graph.integers(1))  # (B, 1)
    return graph.node("GatherND", graph.node("Transpose", every, perm=[1, 0, 2]), at, batch_dims=1)


def _after_head(graph: Graph, module: nn.Module, x: str, name: str) -> str:
    if isinstance(module, nn.Linear):
        return graph.linear(x, module, name)
    if isinstance(module, nn.BatchNorm1d):
        return _affine(graph, module, x, name)
    if isinstance(module, nn.ReLU):
        return graph.node("Relu", x)
    raise TypeError(f"no ONNX operator is written for {type(module).__name__}")


def _affine(graph: Graph, norm: nn.BatchNorm1d, x: str, name: str) -> str:
    """Batch norm at evaluation is a scale and a shift of each feature."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    scaled = graph.node("Mul", x, graph.constant(scale, f"{name}.scale"))
    return graph.node("Add", scaled, graph.constant(shift, f"{name}.shift"))


def _front(graph: Graph, front, x: str, length: str) -> str:
    """Temporal segments (nn/segments.py): a batch norm and, with `pool`, a maximum for each of them."""
    one = graph.integers(1)
    shape = graph.node("Shape", x)
    steps = graph.node("Slice", shape, one, graph.integers(2))  # (1,)
    count = length or steps  # (B,) or (1,)
    scalar = lambda value: graph.constant(np.array(value, np.int64))
    step = graph.node("Range", scalar(0), graph.node("Squeeze", steps, graph.integers(0)), scalar(1))  # (T,)
    pieces = []
    for number, norm in enumerate(front.norms):
        edge = lambda k: graph.node("Div", graph.node("Mul", count, scalar(k)), scalar(front.segments))
        first, end = edge(number), edge(number + 1)
        if front.pool:
            end = graph.node("Max", end, graph.node("Add", first, scalar(1)))
        first, end = (graph.node("Unsqueeze", k, one) for k in (first, end))  # (B, 1)
        inside = graph.node("And", graph.node("GreaterOrEqual", step, first), graph.node("Less", step, end))
        inside = graph.node("Unsqueeze", inside, graph.integers(2))  # (B, T, 1)
        y = _affine(graph, norm, x, f"front.{number}")
        outside = graph.constant(np.array(-np.inf if front.pool else 0.0, np.float32))
        y = graph.node("Where", inside, y, outside)
        pieces.append(graph.node("ReduceMax", y, axes=[1], keepdims=1) if front.pool else y)
    return graph.node("Concat", *pieces, axis=1) if front.pool else graph.node("Sum", *pieces)
