"""The recurrent classifier that every sequence method builds, and its compact form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.joint import JointHidden
from squeezebench.nn.masks.bottleneck import BottleneckMask
from squeezebench.nn.protocol import Structure
from squeezebench.nn.registry import module_from_spec, register
from squeezebench.nn.rnn.cells import DEFAULT, Cell, cell_of
from squeezebench.nn.rnn.heads import head_from_spec
from squeezebench.nn.rnn.heads.last import LastState
from squeezebench.nn.rnn.layer import RecurrentLayer

_LAST = LastState()


@register
class RecurrentClassifier(nn.Module):
    """(B, T, D) -> logits (B, C): [selection] -> [front] -> [input mask] -> layers -> read -> head [-> top].

    input_index: the inputs that are read, int (d,), if a compact model reads fewer than the task offers.
    front: what the layers read, and what is read from their states (see heads/); None: the sequence as it is, and the
    state at the last *valid* step of each sequence. Steps after that cannot influence it.
    """

    def __init__(
        self,
        layers: Sequence[RecurrentLayer],
        head: nn.Linear,
        input_mask: BottleneckMask | None = None,
        input_index: Tensor | None = None,
        front: LastState | None = None,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        top: nn.Sequential | None = None,
    ):
        super().__init__()
        self.layers, self.head, self.top = nn.ModuleList(layers), head, top
        self.input_mask, self.front = input_mask, front
        self.register_buffer("input_index", None if input_index is None else input_index.to(torch.int32))
        self.input_dropout, self.dropout = input_dropout, dropout

    @property
    def cell(self) -> Cell:
        return self.layers[0].cell

    @property
    def inputs(self) -> int:
        """Width of what the first layer reads."""
        return self.layers[0].inputs

    @property
    def hidden(self) -> list[int]:
        """Hidden units of each layer."""
        return [layer.hidden for layer in self.layers]

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """x (B, T, D) float, length (B,) int or None -> logits (B, classes)."""
        if self.input_index is not None:
            x = x.index_select(-1, self.input_index)
        if self.training and self.input_dropout:
            x = x * nn.functional.dropout(x.new_ones(len(x), 1, x.shape[-1]), self.input_dropout)
        if self.front is not None:
            x, length = self.front(x, length)
        if self.input_mask is not None:
            mask = self.input_mask(len(x))  # (D,) or (B, D)
            x = x * (mask if mask.dim() == 1 else mask[:, None])
        hidden = self.stacked(x.transpose(0, 1).contiguous())  # time-major, so that a step is one contiguous block
        read = (self.front or _LAST).read(hidden, length)
        out = self.head(nn.functional.dropout(read, self.dropout, self.training))
        return out if self.top is None else self.top(out)

    def stacked(self, x: Tensor) -> Tensor:
        """x (T, B, D) -> what the head reads at each step (T, B, H)."""
        for layer in self.layers:
            x = layer(x)
        return x

    def steps(self, steps: int) -> int:
        """Steps of the recurrence on a sequence of `steps` steps."""
        return (self.front or _LAST).steps(steps)

    def masks(self) -> list[BottleneckMask]:
        """Every bottleneck mask, layer by layer, the input's last."""
        return [module for module in self.modules() if isinstance(module, BottleneckMask)]

    def structure(self) -> Structure:
        """The inputs that are read and the hidden units of each layer."""
        read = self.inputs if self.input_index is None else self.input_index.numel()
        return Structure(inputs=read, hidden=self.hidden)

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of one sequence; T G H (D + H) for a standard layer. None if a map has no formula."""
        layers = [layer.macs(self.steps(steps)) for layer in self.layers]
        if None in layers:
            return None
        heads = [m for m in (self.head, *(self.top or ())) if isinstance(m, nn.Linear)]
        return sum(layers) + sum(m.in_features * m.out_features for m in heads)

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to rebuild this module before its weights are loaded (JSON)."""
        return {
            "class": "RecurrentClassifier",
            "cell": self.cell.name,
            "layers": [
                {
                    "input_map": layer.input_map.spec(),
                    "hidden_map": layer.hidden_map.spec(),
                    "factors": {k: v.numel() for k, v in layer.factors.items()},
                }
                for layer in self.layers
            ],
            "head": self.head.out_features,
            "top": None if self.top is None else self.top[-1].out_features,
            "input_index": None if self.input_index is None else self.input_index.numel(),
            "front": None if self.front is None else self.front.spec(),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> RecurrentClassifier:
        """An unmasked module of the given shapes (the compact form; masks are never stored)."""
        layers = []
        for layer in spec["layers"]:
            read = module_from_spec(layer["input_map"])
            joint = layer["hidden_map"]["map"] == "joint_hidden"
            recur = JointHidden(read) if joint else module_from_spec(layer["hidden_map"])
            factors = {k: torch.ones(n) for k, n in layer["factors"].items()}
            layers.append(RecurrentLayer(read, recur, spec["cell"], factors=factors))
        index = None if spec["input_index"] is None else torch.zeros(spec["input_index"], dtype=torch.int32)
        head = nn.Linear(layers[-1].hidden, spec["head"])
        top = None if spec["top"] is None else classifier_top(head.out_features, spec["top"])
        return cls(layers, head, input_index=index, front=head_from_spec(spec["front"]), top=top)


def classifier_top(width: int, classes: int) -> nn.Sequential:
    """What follows the head in the VIB-LSTM authors' classifier: batch norm, ReLU, a second linear layer."""
    last = nn.Linear(width, classes)
    nn.init.xavier_uniform_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.BatchNorm1d(width, momentum=0.01), nn.ReLU(), last)


def recurrent_classifier(
    inputs: int,
    hidden: int,
    classes: int,
    cell: str | Cell = DEFAULT,
    layers: int = 1,
    front: LastState | None = None,
    input_dropout: float = 0.0,
    dropout: float = 0.0,
    head: Literal["linear", "two_layers"] = "linear",
) -> RecurrentClassifier:
    """A dense classifier with `layers` recurrent layers of `hidden` units, freshly initialised."""
    cell = cell if isinstance(cell, Cell) else cell_of(cell)
    rows, products = len(cell.gates) * hidden, len(cell.recurrent) * hidden
    stack = [
        RecurrentLayer(DenseMap(inputs if k == 0 else hidden, rows), DenseMap(hidden, products), cell).reset()
        for k in range(layers)
    ]
    top = None if head == "linear" else classifier_top(hidden, classes)
    first = nn.Linear(hidden, classes if top is None else hidden)
    nn.init.xavier_uniform_(first.weight)
    nn.init.zeros_(first.bias)
    return RecurrentClassifier(stack, first, front=front, input_dropout=input_dropout, dropout=dropout, top=top)
