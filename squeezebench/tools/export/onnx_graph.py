"""A standard classifier as an ONNX model: recurrent operators, batch and time of any size.

    x (batch, time, features) float32 [, length (batch,) int64] -> logits (batch, classes)

A stateful model also takes the states of each layer k from the call before (h_k, and c_k of an LSTM, each (batch, H),
zeros at first) and answers those after this call (h_k_next, ...), so that a sequence can be fed as its steps arrive.

Inputs are selected by Gather and normalised by Mul and Sub, unless x is to be normalised already. A layer of a cell
that ONNX has is one operator (`Cell.onnx` gives its name and the order of its row blocks). ONNX has no operator for any
other cell, nor for a layer that keeps mask vectors: the equations of the cell are written out as the body of a Scan
over time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.rnn.cells import Cell
from squeezebench.tools.export.standard import Standard, StandardLayer, scale_and_shift
from squeezebench.tools.export.symbol import Symbol

OPSET = 17
IR_VERSION = 10
FLOAT = TensorProto.FLOAT


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


@dataclass(frozen=True)
class Position:
    """One layer's place in the graph."""

    number: int
    last: bool
    lengths: str  # the name of the lengths (B,) int32; "": all steps are valid
    states: list[str]  # names of the states before the first step, each (B, H); none: zeros, and none are handed on

    @property
    def name(self) -> str:
        return f"layer_{self.number}"


def onnx_model(
    model: Standard, has_lengths: bool, about: dict[str, str], written_out: bool = False, stateful: bool = False
) -> onnx.ModelProto:
    """The model, checked by ONNX's own checker. `about` becomes its metadata; `written_out`: every layer as a Scan.

    stateful: states are inputs and outputs (see above). Raises InputError if the head reads the sequence as a whole.
    """
    if stateful and model.front is not None:
        raise InputError(
            f"its head ({type(model.front).__name__}) divides the whole sequence and cannot be fed step by step in "
            "ONNX; leave --stateful out, or use --format c, which is told the number of steps first"
        )
    graph, x, length = Graph(), "x", "length" if has_lengths else ""
    x, length = _before_layers(graph, model, x, length)
    lengths = graph.node("Cast", length, to=TensorProto.INT32) if length else ""
    hidden = graph.node("Transpose", x, perm=[1, 0, 2])  # (T, B, D)
    widths: dict[str, int] = {}  # of the states by name
    for number, layer in enumerate(model.layers):
        states = [f"{state}_{number}" for state in model.cell.states] if stateful else []
        widths |= dict.fromkeys(states, layer.hidden)
        run = _scan if layer.factors or written_out or model.cell.onnx is None else _operator
        position = Position(number, number == len(model.layers) - 1, lengths, states)
        hidden = run(graph, layer, model.cell, hidden, position)
    logits = graph.linear(hidden, model.head, "head")
    for number, module in enumerate(model.top or ()):
        logits = _after_head(graph, module, logits, f"top.{number}")
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    classes = (model.top[-1] if model.top is not None else model.head).out_features
    inputs = [_float("x", "time", model.inputs), *(_float(name, width) for name, width in widths.items())]
    if has_lengths:
        inputs.append(helper.make_tensor_value_info("length", TensorProto.INT64, ["batch"]))
    outputs = [_float("logits", classes), *(_float(f"{name}_next", width) for name, width in widths.items())]
    return _proto(graph.proto("classifier", inputs, outputs), about)


def _before_layers(graph: Graph, model: Standard, x: str, length: str) -> tuple[str, str]:
    """Names of what the layers read (B, T, D), and of its lengths."""
    if model.input_index is not None:
        x = graph.node("Gather", x, graph.constant(model.input_index, "input_index"), axis=2)
    if model.affine:
        factor, shift = (graph.constant(value, f"normalisation.{name}") for name, value in model.affine.items())
        x = graph.node("Sub", graph.node("Mul", x, factor), shift)
    return (x, length) if model.front is None else model.front.onnx(graph, x, length)


def _float(name: str, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, ["batch", *sizes])


def _proto(graph: onnx.GraphProto, about: dict[str, str]) -> onnx.ModelProto:
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="squeezebench")
    helper.set_model_props(model, about)
    onnx.checker.check_model(model, full_check=True)
    return model


def _blocks(value: Tensor, cell: Cell) -> np.ndarray:
    """Row blocks in ONNX's order, with an axis for the direction in front."""
    blocks = len(cell.gates)
    rows = value.numpy().reshape(blocks, value.shape[0] // blocks, -1)[list(cell.onnx.order)]
    return rows.reshape(1, value.shape[0], -1)


def _operator(graph: Graph, layer: StandardLayer, cell: Cell, x: str, at: Position) -> str:
    """The operator of the cell: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    bias = np.concatenate([_blocks(layer.bias_ih, cell), _blocks(layer.bias_hh, cell)], axis=1)[..., 0]
    inputs = [
        x,
        graph.constant(_blocks(layer.weight_ih, cell), f"{at.name}.W"),
        graph.constant(_blocks(layer.weight_hh, cell), f"{at.name}.R"),
        graph.constant(bias, f"{at.name}.B"),
        at.lengths,
        *(graph.node("Unsqueeze", state, graph.integers(0)) for state in at.states),
    ]
    every, after = f"{at.name}.Y", [f"{at.name}.Y_{state}" for state in cell.states[: len(at.states) or 1]]
    graph.node(
        cell.onnx.name, *(inputs if inputs[-1] else inputs[:-1]),
        outputs=["" if at.last else every, *(after if at.last or at.states else [])],
        hidden_size=layer.hidden, **cell.onnx.attributes,
    )  # fmt: skip
    for state, value in zip(at.states, after, strict=False):
        graph.node("Squeeze", value, graph.integers(0), outputs=[f"{state}_next"])
    return graph.node("Squeeze", after[0] if at.last else every, graph.integers(0 if at.last else 1))


def _scan(graph: Graph, layer: StandardLayer, cell: Cell, x: str, at: Position) -> str:
    """The equations of the cell, step by step: x (T, B, D) -> (T, B, H), or the last valid state (B, H)."""
    bias = graph.constant(layer.bias_ih, f"{at.name}.bias_ih")
    products = graph.node("MatMul", x, graph.constant(layer.weight_ih.T, f"{at.name}.W"))
    gates = graph.node("Add", products, bias)  # (T, B, G H)
    before = at.states or [_zeros(graph, x, layer.hidden)] * len(cell.states)
    after = [f"{state}_next" for state in at.states] or [f"{at.name}.{state}_last" for state in cell.states]
    every = graph.node(
        "Scan", *before, gates, outputs=[*after, f"{at.name}.Y"], num_scan_inputs=1, body=_body(layer, cell, at.name)
    )
    if not at.last:
        return every
    if not at.lengths:
        return after[0]
    step = graph.node("Sub", at.lengths, graph.constant(np.array(1, np.int32)))  # (B,)
    step = graph.node("Unsqueeze", graph.node("Cast", step, to=TensorProto.INT64), graph.integers(1))  # (B, 1)
    return graph.node("GatherND", graph.node("Transpose", every, perm=[1, 0, 2]), step, batch_dims=1)


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


def _body(layer: StandardLayer, cell: Cell, name: str) -> onnx.GraphProto:
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
        return helper.make_tensor_value_info(key, FLOAT, ["batch", width])

    inputs = [*(info(f"{state}_in", layer.hidden) for state in cell.states)]
    inputs.append(info("gates_in", len(cell.gates) * layer.hidden))
    return graph.proto(f"{name}.step", inputs, [info(f"{key}_out", layer.hidden) for key in (*cell.states, "y")])


def _zeros(graph: Graph, x: str, width: int) -> str:
    """Zeros (B, width); x (T, B, D)."""
    batch = graph.node("Slice", graph.node("Shape", x), graph.integers(1), graph.integers(2))
    size = graph.node("Concat", batch, graph.integers(width), axis=0)
    return graph.node("ConstantOfShape", size, value=helper.make_tensor("zero", FLOAT, [1], [0.0]))


def _after_head(graph: Graph, module: nn.Module, x: str, name: str) -> str:
    if isinstance(module, nn.Linear):
        return graph.linear(x, module, name)
    if isinstance(module, nn.BatchNorm1d):
        return graph.affine(module, x, name)
    if isinstance(module, nn.ReLU):
        return graph.node("Relu", x)
    raise TypeError(f"no ONNX operator is written for {type(module).__name__}")
