"""A standard recurrent classifier as torch and safetensors files, under the names of torch.nn.RNNBase."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from squeezebench.tools.export.standard import Standard, merged


def arguments(model: Standard) -> dict[str, Any]:
    """The arguments of the cell's torch.nn module, or of one like it."""
    return {
        "input_size": model.layers[0].weight_ih.shape[1],
        "hidden_size": merged(model.layers),
        "num_layers": len(model.layers),
        "batch_first": True,
    }


def recurrence(model: Standard) -> dict[str, Tensor]:
    """The state_dict of the cell's torch.nn module: weight_ih_l0, ..."""
    return {k: v for number, layer in enumerate(model.layers) for k, v in layer.named(number).items()}


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor.detach().clone() for name, tensor in tensors.items()}


def input_tensors(model: Standard) -> dict[str, Tensor]:
    """`input_index` where inputs are selected; `factor` and `shift` (d,) where they are normalised."""
    return {**({} if model.input_index is None else {"input_index": model.input_index}), **model.affine}


def state(model: Standard) -> dict[str, Tensor]:
    """The state dict of the module that snippets.torch_lines define: rnn, head, norms, and what the input goes through.

    A cell that torch.nn does not have keeps `bias`, of the input products, and for products with the state `bias_hh`.
    """
    rnn = recurrence(model)
    if model.cell.torch_module is None:
        rnn = {k: v for k, v in rnn.items() if "bias" not in k}
        for number, layer in enumerate(model.layers):
            rnn[f"bias_l{number}"], inside = layer.biases(model.cell)
            if len(inside):
                rnn[f"bias_hh_l{number}"] = inside
    head = model.head if model.top is None else nn.Sequential(model.head, *model.top)
    norms = {} if model.front is None else _named("", model.front.state_dict())
    return _named("rnn.", rnn) | _named("head.", head.state_dict()) | norms | input_tensors(model)


def torch_file(model: Standard, about: dict[str, str]) -> bytes:
    """For torch.load(..., weights_only=True): tensors, numbers and text only.

    {"cell", "arguments" of its torch.nn class, "state": see `state`, "classes": their names, "about"}
    """
    content = {"cell": model.cell.name, "arguments": arguments(model), "state": state(model)}
    buffer = io.BytesIO()
    torch.save(content | {"classes": json.loads(about["classes"]), "about": about}, buffer)
    return buffer.getvalue()


def safetensors_file(model: Standard, about: dict[str, str]) -> bytes:
    """Tensors weight_ih_l0 ... as in torch.nn.LSTM, head.weight, head.bias, and those of `input_tensors`.

    Metadata: `cell`, `arguments` of the torch.nn class (JSON), and those of `about`.
    """
    parts = {"head": model.head, "top": model.top, "front": model.front}
    tensors = recurrence(model) | input_tensors(model)
    for part, module in parts.items():
        tensors |= {} if module is None else _named(f"{part}.", module.state_dict())
    text = {"cell": model.cell.name, "arguments": json.dumps(arguments(model))} | about
    return save({k: v.contiguous() for k, v in tensors.items()}, metadata=text)


class WrittenOut(nn.Module):
    """The recurrence of a cell that torch.nn does not have: its equations step by step, with torch.nn's interface."""

    def __init__(self, model: Standard):
        super().__init__()
        self.cell, self.layers = model.cell, model.layers

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """x (B, T, D) -> hidden (B, T, H), states of the last layer after the last step, each (B, H)."""
        x, states = x.transpose(0, 1), ()
        for layer in self.layers:
            outside, inside = self.cell.biases(layer.bias_ih, layer.bias_hh)
            gates = nn.functional.linear(x, layer.weight_ih, outside)
            x, states = self.cell.sequence(gates, layer.weight_hh, inside, None, (None,) * len(self.cell.states))
        return x.transpose(0, 1), states


class StandardModule(nn.Module):
    """A classifier around the cell's torch.nn module, or around its equations if torch.nn has none: what a reader of
    the files would put together. Full lengths only."""

    def __init__(self, model: Standard):
        super().__init__()
        self.input_index, self.affine = model.input_index, model.affine
        self.front, self.head, self.top = model.front, model.head, model.top
        sizes = arguments(model)
        if model.cell.torch_module is None:
            self.recurrence = WrittenOut(model)
        else:
            self.recurrence = getattr(nn, model.cell.torch_module)(**sizes)
            self.recurrence.load_state_dict(recurrence(model))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> logits (B, classes)."""
        if self.input_index is not None:
            x = x.index_select(-1, self.input_index)
        if self.affine:
            x = x * self.affine["factor"] - self.affine["shift"]
        if self.front is not None:
            x, _ = self.front(x)
        logits = self.head(self.recurrence(x)[0][:, -1])
        return logits if self.top is None else self.top(logits)
