"""The temporal-segment front: batch normalisation per segment and a maximum over its frames.

Source: Ma, Chen, Kira, AlRegib, "TS-LSTM and Temporal-Inception" (2017): S segments, one BatchNorm per segment
(own scale, shift and running statistics) applied to each of its frames, element-wise temporal maximum; the LSTM
then sees S steps. `pool=False` keeps every frame (the plain-BN reading of "temporal segment batch norm").
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.nn.rnn.heads.last import LastState


class TemporalSegments(LastState):
    """(B, T, D) -> (B, S, D) with `pool`, else (B, T, D).

    A sequence's own valid steps are divided into S segments of nearly equal length; a sequence with fewer valid
    steps than segments repeats the nearest step. Padding takes no part in the statistics.
    """

    def __init__(self, inputs: int, segments: int = 3, pool: bool = True):
        super().__init__()
        self.inputs, self.segments, self.pool = inputs, segments, pool
        self.norms = nn.ModuleList(nn.BatchNorm1d(inputs) for _ in range(segments))

    def forward(self, x: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), length (B,) or None -> the sequence the recurrence reads, and its lengths."""
        batch, steps, _ = x.shape
        given = length
        length = torch.full((batch,), steps, device=x.device) if length is None else length
        step = torch.arange(steps, device=x.device)
        pieces = []
        for s, norm in enumerate(self.norms):
            first = (s * length) // self.segments  # (B,)
            last = ((s + 1) * length) // self.segments
            if self.pool:
                last = torch.maximum(last, first + 1)
            inside = (step >= first[:, None]) & (step < last[:, None])  # (B, T)
            y = torch.zeros_like(x).masked_scatter(inside[..., None].expand_as(x), norm(x[inside]))
            if self.pool:
                y = y.masked_fill(~inside[..., None], -torch.inf).amax(dim=1)
            pieces.append(y)
        return (torch.stack(pieces, dim=1), None) if self.pool else (torch.stack(pieces).sum(0), given)

    def steps(self, steps: int) -> int:
        return self.segments if self.pool else steps

    def select(self, index: Tensor) -> TemporalSegments:
        """The same front on the inputs `index` (d,) only."""
        small = TemporalSegments(len(index), self.segments, self.pool)
        small.train(self.training)
        with torch.no_grad():
            for old, new in zip(self.norms, small.norms, strict=True):
                for name in ("weight", "bias", "running_mean", "running_var"):
                    getattr(new, name).copy_(getattr(old, name)[index])
                new.num_batches_tracked.copy_(old.num_batches_tracked)
        return small

    def spec(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "segments": self.segments, "pool": self.pool}

    def onnx(self, graph: Any, x: str, length: str) -> tuple[str, str]:
        steps = graph.node("Slice", graph.node("Shape", x), graph.integers(1), graph.integers(2))  # (1,)
        count = length or steps  # (B,) or (1,)
        end = graph.node("Squeeze", steps, graph.integers(0))
        step = graph.node("Range", graph.scalar(0), end, graph.scalar(1))  # (T,)
        pieces = []
        for number, norm in enumerate(self.norms):
            edges = [graph.node("Mul", count, graph.scalar(k)) for k in (number, number + 1)]
            first, last = (graph.node("Div", edge, graph.scalar(self.segments)) for edge in edges)
            if self.pool:
                last = graph.node("Max", last, graph.node("Add", first, graph.scalar(1)))
            first, last = (graph.node("Unsqueeze", k, graph.integers(1)) for k in (first, last))  # (B, 1)
            inside = graph.node("And", graph.node("GreaterOrEqual", step, first), graph.node("Less", step, last))
            inside = graph.node("Unsqueeze", inside, graph.integers(2))  # (B, T, 1)
            outside = graph.constant(np.array(-np.inf if self.pool else 0.0, np.float32))
            y = graph.node("Where", inside, graph.affine(norm, x, f"front.{number}"), outside)
            pieces.append(graph.node("ReduceMax", y, axes=[1], keepdims=1) if self.pool else y)
        return (graph.node("Concat", *pieces, axis=1), "") if self.pool else (graph.node("Sum", *pieces), length)


Head = TemporalSegments
