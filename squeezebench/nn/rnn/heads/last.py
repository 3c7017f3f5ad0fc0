"""The last valid state of a sequence, which is what most classifiers read; and the interface of every other head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class LastState(nn.Module):
    """The recurrence reads the sequence as it is, and the classifier its state at the last valid step.

    A head that reads something else, such as the states of all steps, overrides `read`; one that gives the recurrence
    another sequence overrides `forward`, `steps` and `onnx`. `spec` holds its arguments, and the name of its file as
    `head`; the class is also called `Head` in its file.
    """

    def forward(self, x: Tensor, length: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), length (B,) or None -> the sequence that the recurrence reads, and its lengths."""
        return x, length

    def read(self, hidden: Tensor, length: Tensor | None = None) -> Tensor:
        """hidden (T, B, H), length (B,) or None -> what the linear layers read, here (B, H)."""
        return hidden[-1] if length is None else hidden[length - 1, torch.arange(hidden.shape[1], device=hidden.device)]

    def steps(self, steps: int) -> int:
        """Steps of the recurrence on a sequence of `steps` steps."""
        return steps

    def select(self, index: Tensor) -> LastState:
        """The same head on the inputs `index` (d,) only."""
        return self

    def spec(self) -> dict[str, Any] | None:
        """The arguments of the constructor, for `head_from_spec`."""
        return None

    def onnx(self, graph: Any, x: str, length: str) -> tuple[str, str]:
        """`forward` as nodes of an ONNX graph (export/onnx_graph.py): names of x and length, "" without lengths."""
        return x, length


Head = LastState
