"""A one-layer LSTM as an ONNX model, for timing in ONNX Runtime (optional: pip install onnx onnxruntime)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

GATE_ORDER = (0, 3, 1, 2)  # ONNX keeps input, output, forget, cell; PyTorch keeps input, forget, cell, output


def session(lstm: nn.LSTM, batch: int, steps: int):
    """An ONNX Runtime session (one thread) of a batch-second, one-layer `lstm`: x (T, B, D) -> h_T (1, B, H)."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    hidden, inputs = lstm.hidden_size, lstm.input_size

    def blocks(parameter: torch.Tensor) -> np.ndarray:
        rows = parameter.detach().numpy().reshape(4, hidden, -1)[list(GATE_ORDER)]
        return rows.reshape(1, 4 * hidden, -1)

    bias = np.concatenate([blocks(lstm.bias_ih_l0), blocks(lstm.bias_hh_l0)], axis=1)[..., 0]
    weights = {"W": blocks(lstm.weight_ih_l0), "R": blocks(lstm.weight_hh_l0), "B": bias}
    node = helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "h"], hidden_size=hidden)
    graph = helper.make_graph(
        [node],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, batch, inputs])],
        [helper.make_tensor_value_info("h", TensorProto.FLOAT, [1, batch, hidden])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
