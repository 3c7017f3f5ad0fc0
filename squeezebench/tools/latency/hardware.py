"""What one core of this machine can do: read weights, multiply matrices."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.pipeline.cost.throughput import fastest

SIZES = tuple(2**k for k in (15, 17, 19, 21, 23, 25, 27))  # bytes: from the first cache to memory
COLUMNS = 64
GEMM = 768  # rows, columns and depth of the product


def bandwidth(seconds: float = 0.05) -> dict[int, float]:
    """Bytes per second of a matrix-vector product, by the matrix's bytes: a step of batch 1 is one, and reads its
    weights from wherever they fit. The time of a call on next to nothing is taken off."""
    times = {size: fastest(_product(size // 4 // COLUMNS), seconds, time.perf_counter) for size in SIZES}
    empty = fastest(_product(1), seconds, time.perf_counter)
    return {size: size / max(taken - empty, 1e-9) for size, taken in times.items()}


def _product(rows: int) -> Callable[[], object]:
    matrix, vector, out = torch.randn(rows, COLUMNS), torch.randn(COLUMNS), torch.empty(rows)
    return lambda: torch.mv(matrix, vector, out=out)


def macs_per_second() -> float:
    """Multiply-accumulates per second of a large float32 product."""
    a, b, out = torch.randn(GEMM, GEMM), torch.randn(GEMM, GEMM), torch.empty(GEMM, GEMM)
    return GEMM**3 / fastest(lambda: torch.mm(a, b, out=out), 0.2, time.perf_counter)


def memory_seconds(weights: int, recurrent: int, steps: int, speeds: dict[int, float]) -> float:
    """Time to read `weights` bytes once and the `recurrent` bytes among them again at each further step."""
    return (weights + (steps - 1) * recurrent) / speed_of(weights, speeds)


def speed_of(size: int, speeds: dict[int, float]) -> float:
    """Bandwidth at the smallest measured size that holds `size` bytes, or at the largest."""
    return speeds[min((s for s in speeds if s >= size), default=max(speeds))]


def weight_bytes(model: RecurrentClassifier) -> tuple[int, int]:
    """(bytes that a forward pass reads at least once, those of hidden-to-hidden, read at every step)."""
    recurrent = 4 * sum(layer.hidden_map.in_features * layer.hidden_map.out_features for layer in model.layers)
    stored = 4 * sum(p.numel() for p in model.parameters())
    kept = 4 * sum(p.numel() for layer in model.layers for p in layer.hidden_map.parameters())
    return stored - kept + recurrent, recurrent
