"""A compact classifier as plain matrices, from which the recurrent network of any runtime is built."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.data.normalise import Affine
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.rnn.cells import Cell
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.heads.last import LastState
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.nn.rnn.residual import ResidualClassifier


@dataclass(frozen=True)
class StandardLayer:
    """PyTorch's layout: row blocks in the order of the cell's gates, G of them, R with a product with the state.

    factors: vectors (H,) on gates, by letter, that no standard cell can take (`i` carries z_i * z_g).
    """

    weight_ih: Tensor  # (G H, D)
    weight_hh: Tensor  # (R H, H)
    bias_ih: Tensor  # (G H,)
    bias_hh: Tensor  # (R H,)
    factors: dict[str, Tensor]

    @property
    def hidden(self) -> int:
        return self.weight_hh.shape[1]

    def biases(self, cell: Cell) -> tuple[Tensor, Tensor]:
        """What is added to the input products (G H,), and to those with the state (R H,)."""
        outside, inside = cell.biases(self.bias_ih, self.bias_hh)
        inside = outside.new_zeros(0) if inside is None else inside
        return outside, nn.functional.pad(inside, (len(self.weight_hh) - len(inside), 0))

    def named(self, number: int) -> dict[str, Tensor]:
        """The names of torch.nn.RNNBase; a matrix without rows is left out."""
        parts = {name: getattr(self, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        return {f"{name}_l{number}": value for name, value in parts.items() if value.numel()}


@dataclass(frozen=True)
class Standard:
    """Input selection -> normalisation -> front -> recurrent layers -> last valid step -> linear layers.

    normalisation: raw -> what the layers read, for each of the `inputs`; None: the input is normalised already.
    """

    cell: Cell
    inputs: int  # features that the task offers
    input_index: Tensor | None  # those that are read, int64
    front: LastState | None
    layers: list[StandardLayer]
    head: nn.Linear
    top: nn.Sequential | None
    notes: list[str] = field(default_factory=list)
    normalisation: Affine | None = None

    @cached_property
    def affine(self) -> dict[str, Tensor]:
        """`factor` and `shift` (d,) of the inputs that are read; nothing without normalisation."""
        if self.normalisation is None:
            return {}
        full = {name: torch.from_numpy(getattr(self.normalisation, name).copy()) for name in ("factor", "shift")}
        return full if self.input_index is None else {k: v[self.input_index] for k, v in full.items()}


@torch.no_grad()
def standard(model: nn.Module, inputs: int | None = None) -> Standard:
    """`model` with every map multiplied out to a matrix; `notes` say which and what that does to its size.

    inputs: features of the task, where the model reads a selection of them. Raises InputError for a module that has
    no recurrent layers of the engine.
    """
    if not isinstance(model, RecurrentClassifier):
        raise InputError(f"{type(model).__name__} has no recurrence to export; export is for recurrent classifiers")
    if isinstance(model, ResidualClassifier):
        raise InputError(
            "its layers are joined by additions, which no standard recurrent network has; export is for stacks"
        )
    index = None if model.input_index is None else model.input_index.long()
    layers, notes = [], []
    for number, layer in enumerate(model.layers):
        layers.append(_standard_layer(layer))
        notes += _notes(layer, number)
    offered = inputs or (model.inputs if index is None else int(index.max()) + 1)
    if index is not None:
        notes.append(f"reads {len(index)} of {offered} inputs: x[..., input_index]")
    return Standard(model.cell, offered, index, model.front, layers, model.head, model.top, notes)


def _standard_layer(layer: RecurrentLayer) -> StandardLayer:
    maps = (layer.input_map.dense(), layer.hidden_map.dense(), layer.bias_ih, layer.bias_hh)
    matrices = (value.detach().clone().contiguous() for value in maps)
    return StandardLayer(*matrices, {k: v.detach().clone() for k, v in layer.factors.items()})


def _notes(layer: RecurrentLayer, number: int) -> list[str]:
    notes = []
    for name, linear in (("input-to-hidden", layer.input_map), ("hidden-to-hidden", layer.hidden_map)):
        if not isinstance(linear, DenseMap):
            stored = sum(p.numel() for p in linear.parameters())
            numbers = linear.in_features * linear.out_features
            notes.append(
                f"layer {number}: {name}, kept as {type(linear).__name__} with {stored:,} parameters, "
                f"is multiplied out to a matrix of {numbers:,}; the size in the record is not that of this file"
            )
    if layer.factors:
        gates = " and ".join(sorted(layer.factors))
        notes.append(f"layer {number}: keeps mask vectors on gates {gates}, which no standard {layer.cell.title} has")
    return notes


def merged(layers: list[StandardLayer]) -> int:
    """Hidden units of all layers. Raises InputError if one torch.nn module cannot hold them."""
    sizes = [layer.hidden for layer in layers]
    if len(set(sizes)) > 1:
        raise InputError(f"layers of {', '.join(map(str, sizes))} units are no single torch.nn module; --format onnx")
    for number, layer in enumerate(layers):
        if layer.factors:
            raise InputError(
                f"layer {number} keeps mask vectors on gates {' and '.join(sorted(layer.factors))}, which no standard "
                "cell has; --format onnx writes its equations, `finalise: standard` trains without them"
            )
    return sizes[0]


def scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Batch norm at evaluation: y = x * scale + shift, each (features,)."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale
