"""A standard recurrent classifier as torch and safetensors files, under the names of torch.nn.RNNBase."""

from __future__ import annotations

import io
import json
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


def around(model: Standard) -> dict[str, dict[str, Tensor]]:
    """State dicts of what is not the recurrence, by part."""
    parts = {"head": model.head, "top": model.top, "front": model.front}
    return {k: {n: t.detach().clone() for n, t in m.state_dict().items()} for k, m in parts.items() if m is not None}


def torch_file(model: Standard, about: dict[str, Any]) -> bytes:
    """For torch.load(..., weights_only=True): tensors, numbers and text only.

    {"cell", "arguments", "recurrence": state dict, "head": state dict of Linear, "input_index" or None, "about"}, and
    state dicts "top" and "front" where the classifier has them:
    `torch.nn.LSTM(**arguments).load_state_dict(recurrence)`.
    """
    content = {
        "cell": model.cell.name,
        "arguments": arguments(model),
        "recurrence": recurrence(model),
        "input_index": model.input_index,
        **around(model),
        "about": about,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def safetensors_file(model: Standard, about: dict[str, Any]) -> bytes:
    """Tensors weight_ih_l0 ... as in torch.nn.LSTM, head.weight, head.bias, and input_index where inputs are selected.

    Metadata: `cell`, `arguments` of the torch.nn class (JSON), `about` (JSON).
    """
    tensors = recurrence(model)
    tensors |= {f"{part}.{name}": t for part, state in around(model).items() for name, t in state.items()}
    if model.input_index is not None:
        tensors["input_index"] = model.input_index
    text = {"cell": model.cell.name, "arguments": json.dumps(arguments(model)), "about": json.dumps(about)}
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
        self.input_index, self.front, self.head, self.top = model.input_index, model.front, model.head, model.top
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
        if self.front is not None:
            x, _ = self.front(x)
        logits = self.head(self.recurrence(x)[0][:, -1])
        return logits if self.top is None else self.top(logits)
