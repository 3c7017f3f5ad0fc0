"""A standard classifier as an ONNX model: recurrent operators, batch and time of any size.

    x (batch, time, features) float32 [, length (batch,) int64] -> logits (batch, classes)

Inputs are selected by Gather and normalised by Mul and Sub, unless x is to be normalised already. A layer of a cell
that ONNX has is one operator (`Cell.onnx` gives its name and the order of its row blocks). ONNX has no operator for any
other cell, nor for a layer that keeps mask vectors: the equations of the cell are written out as the body of a Scan
over time.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import Tensor, nn

from squeezebench.nn.rnn.cells import Cell
from squeezebench.tools.export.graph import Graph
from squeezebench.tools.export.standard import Standard, StandardLayer
from squeezebench.tools.export.written_out import body

OPSET = 17
IR_VERSION = 10
FLOAT = TensorProto.FLOAT


def onnx_model(model: Standard, has_lengths: bool, about: dict[str, str], written_out: bool = False) -> onnx.ModelProto:
    """The model, checked by ONNX's own checker. `about` becomes its metadata; `written_out`: every layer as a Scan."""
    graph = Graph()
    x, length = "x", "length" if has_lengths else ""
    if model.input_index is not None:
        x = graph.node("Gather", x, graph.constant(model.input_index, "input_index"), axis=2)
    if model.affine:
        factor, shift = (graph.constant(value, f"normalisation.{name}") for name, value in model.affine.items())
        x = graph.node("Sub", graph.node("Mul", x, factor), shift)
    if model.front is not None:
        x, length = model.front.onnx(graph, x, length)
    lengths = graph.node("Cast", length, to=TensorProto.INT32) if length else ""
    hidden = graph.node("Transpose", x, perm=[1, 0, 2])  # (T, B, D)
    for number, layer in enumerate(model.layers):
        last = number == len(model.layers) - 1
        run = _scan if layer.factors or written_out or model.cell.onnx is None else _operator
        hidden = run(graph, layer, model.cell, hidden, lengths, number, last)
    logits = graph.linear(hidden, model.head, "head")
    for number, module in enumerate(model.top or ()):
        logits = _after_head(graph, module, logits, f"top.{number}")
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    classes = (model.top[-1] if model.top is not None else model.head).out_features
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", "time", model.inputs])]
    if has_lengths:
        inputs.append(helper.make_tensor_value_info("length", TensorProto.INT64, ["batch"]))
    model_proto = helper.make_model(
        graph.proto("classifier", inputs, [helper.make_tensor_value_info("logits", FLOAT, ["batch", classes])]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="squeezebench",
    )
    helper.set_model_props(model_proto, about)
    onnx.checker.check_model(model_proto, full_check=True)
    return model_proto


def _blocks(value: Tensor, cell: Cell) -> np.ndarray:
    """Row blocks in ONNX's order, with an axis for the direction in front."""
    blocks = len(cell.gates)
    rows = value.numpy().reshape(blocks, value.shape[0] // blocks, -1)[list(cell.onnx.order)]
    return rows.reshape(1, value.shape[0], -1)


def _operator(graph: Graph, layer: StandardLayer, cell: Cell, x: str, lengths: str, number: int, last: bool) -> str:
    """The operator of the cell: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    name = f"layer_{number}"
    bias = np.concatenate([_blocks(layer.bias_ih, cell), _blocks(layer.bias_hh, cell)], axis=1)[..., 0]
    weights = [
        graph.constant(_blocks(layer.weight_ih, cell), f"{name}.W"),
        graph.constant(_blocks(layer.weight_hh, cell), f"{name}.R"),
        graph.constant(bias, f"{name}.B"),
    ]
    outputs = ["", f"{name}.Y_h"] if last else [f"{name}.Y"]
    states = graph.node(
        cell.onnx.name, x, *weights, *([lengths] if lengths else []),
        outputs=outputs, hidden_size=layer.hidden, **cell.onnx.attributes,
    )  # fmt: skip
    return graph.node("Squeeze", states, graph.integers(0 if last else 1))


def _scan(graph: Graph, layer: StandardLayer, cell: Cell, x: str, lengths: str, number: int, last: bool) -> str:
    """The equations of the cell, step by step: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    name = f"layer_{number}"
    bias = graph.constant(layer.bias_ih, f"{name}.bias_ih")
    products = graph.node("MatMul", x, graph.constant(layer.weight_ih.T, f"{name}.W"))
    gates = graph.node("Add", products, bias)  # (T, B, G H)
    batch = graph.node("Slice", graph.node("Shape", x), graph.integers(1), graph.integers(2))
    size = graph.node("Concat", batch, graph.integers(layer.hidden), axis=0)
    zeros = graph.node("ConstantOfShape", size, value=helper.make_tensor("zero", FLOAT, [1], [0.0]))
    states = [f"{name}.{state}" for state in cell.states]
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
        return graph.affine(module, x, name)
    if isinstance(module, nn.ReLU):
        return graph.node("Relu", x)
    raise TypeError(f"no ONNX operator is written for {type(module).__name__}")
