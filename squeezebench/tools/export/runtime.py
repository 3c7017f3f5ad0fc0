"""ONNX Runtime, on one thread."""

from __future__ import annotations

import onnxruntime


def session(content: bytes) -> onnxruntime.InferenceSession:
    """A session of a serialised ONNX model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; what the optimiser leaves out is no news to a user
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
