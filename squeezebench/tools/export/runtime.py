"""ONNX Runtime, on one thread."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime

from squeezebench.tools.export.scored import Answer


def session(content: bytes) -> onnxruntime.InferenceSession:
    """A session of a serialised ONNX model on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors; what the optimiser leaves out is no news to a user
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def zero_states(running: onnxruntime.InferenceSession, batch: int) -> dict[str, np.ndarray]:
    """What a stateful model is given before the first step; nothing for any other."""
    states = [given for given in running.get_inputs() if given.name not in ("x", "length")]
    return {given.name: np.zeros((batch, given.shape[1]), np.float32) for given in states}


def answers_of(content: bytes) -> Answer:
    """An ONNX file, run one sequence at a time."""
    return partial(one_by_one, session(content))


def one_by_one(running, x: np.ndarray, length: np.ndarray | None) -> np.ndarray:
    """Logits (B, classes) of x (B, T, D), each sequence by itself, without its padding."""
    has_length = "length" in {given.name for given in running.get_inputs()}
    logits = []
    for number, sequence in enumerate(x):
        steps = len(sequence) if length is None else int(length[number])
        given = {"x": sequence[None, :steps]} | zero_states(running, 1)
        given |= {"length": np.array([steps], np.int64)} if has_length else {}
        logits.append(running.run(["logits"], given)[0])
    return np.concatenate(logits)
