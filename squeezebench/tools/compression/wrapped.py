"""A network of the user's as the engine trains it: its recurrence is ours, everything around it is theirs.

The module runs as it is, with slots in the places of its recurrent module and, if that is possible, of the linear layer
that reads it. A call of a slot is answered by the classifier around it. All methods work on that classifier: what they
remove of its layers and of its head is gone from the network too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from squeezebench.base.errors import InputError
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.rnn.cells import cell_of, known_cells
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.tools.compression.data import Call

ASKED = ("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional",
         "proj_size")  # fmt: skip


class Slot(nn.Module):
    """Stands for one module of the user's network, whose sizes it still tells, and calls what answers for it."""

    def __init__(self, instead: nn.Module):
        super().__init__()
        self.answer: Callable[..., Any] | None = None
        for name in ASKED:
            if hasattr(instead, name):
                setattr(self, name, getattr(instead, name))

    def forward(self, *given: Any, **named: Any) -> Any:
        return self.answer(*given, **named)

    def flatten_parameters(self) -> None:
        """Nothing is to be flattened here."""


class Surroundings(nn.Module):
    """The user's network with slots: `recurrence` is the place of its recurrent module, `head` that of the linear layer
    that reads it (None: it is read in another way, and the states keep their width)."""

    def __init__(self, network: nn.Module, call: Call, recurrence: str, head: str | None):
        super().__init__()
        self.network, self.call, self.places = copy.deepcopy(network), call, (recurrence, head)
        for place in filter(None, self.places):
            self.network.set_submodule(place, Slot(self.network.get_submodule(place)))

    @property
    def narrows(self) -> bool:
        """Whether what reads the states has a column for each unit that stays, and no other."""
        return self.places[1] is not None

    @property
    def slot(self) -> Slot:
        """That of the recurrence."""
        return self.network.get_submodule(self.places[0])

    def forward(self, x: Tensor, length: Tensor | None, recurrence: Callable, head: Callable) -> Tensor:
        answers = zip(self.places, (recurrence, head), strict=True)
        slots = {self.network.get_submodule(place): f for place, f in answers if place}
        try:
            for slot, answer in slots.items():
                slot.answer = answer
            return self.call(self.network, x, length)
        finally:
            for slot in slots:
                slot.answer = None  # a bound method would be copied with the slot, and the classifier with it


class Wrapped(RecurrentClassifier):
    """A recurrent classifier whose `top` is the user's network (see Surroundings).

    `head` is the user's linear layer, or else a fixed matrix, at first the identity, that gives the states their first
    width again: zeros in the places of units that are gone. `dropout` is applied between layers, as torch.nn does.
    """

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        return self.top(x, length, self.recurrence, self.head)

    def recurrence(self, given: Tensor | PackedSequence, states: Any = None) -> tuple:
        """What torch.nn.LSTM or GRU gives. Of the last states only h of the last layer is known; all else is NaN."""
        refuse_states(states)
        first = self.top.slot.batch_first
        x, length = pad_packed_sequence(given) if isinstance(given, PackedSequence) else (given, None)
        if x.dim() != 3:
            raise InputError(f"the recurrence is given {tuple(x.shape)}; it must be a batch (three dimensions)")
        x = x.transpose(0, 1) if first and length is None else x
        hidden = self.stacked(x.contiguous())
        last = hidden[-1] if length is None else hidden[length - 1, torch.arange(hidden.shape[1])]
        if not self.top.narrows:
            hidden, last = self.head(hidden), self.head(last)
        unknown = torch.full_like(last, torch.nan)
        h = torch.stack([*[unknown] * (self.top.slot.num_layers - 1), last])
        if length is not None:
            out = pack_padded_sequence(hidden, length, enforce_sorted=False)
        else:
            out = hidden.transpose(0, 1) if first else hidden
        return out, ((h, torch.full_like(h, torch.nan)) if len(self.cell.states) == 2 else h)

    def stacked(self, x: Tensor) -> Tensor:
        """x (T, B, D), as the user's network gives it -> states of the last layer (T, B, H)."""
        if self.input_index is not None:
            x = x.index_select(-1, self.input_index)
        if self.input_mask is not None:
            x = x * self.input_mask(x.shape[1])  # (D,) or (B, D)
        for number, layer in enumerate(self.layers):
            x = nn.functional.dropout(x, self.dropout, self.training and number > 0)
            x = layer(x)
        return x


def refuse_states(states: Any) -> None:
    """Raise InputError if a recurrence is given states to begin with, other than zeros."""
    for state in (states,) if isinstance(states, Tensor) else states or ():
        if bool((state != 0).any()):
            raise InputError("the network starts its recurrence from states that are not zero; this is not supported")


def recurrent_of(network: nn.Module) -> tuple[str, nn.RNNBase]:
    """The place and the module of the one LSTM or GRU. Raises InputError if it cannot be compressed."""
    modules = [(place, m) for place, m in network.named_modules() if isinstance(m, nn.RNNBase)]
    if len(modules) != 1:
        places = ", ".join(place or "itself" for place, _ in modules) or "none"
        raise InputError(f"model: needs exactly one nn.LSTM or nn.GRU (num_layers may be above 1); it has {places}")
    place, module = modules[0]
    name = type(module).__name__
    if not place:
        raise InputError(f"model: is a bare nn.{name}; give the classifier around it, or arrays only (model=None)")
    if module.mode.lower() not in known_cells() or cell_of(module.mode.lower()).torch_module != module.mode:
        raise InputError(f"model: {place} is an nn.{name}; compress() is for nn.LSTM and nn.GRU")
    if module.bidirectional:
        raise InputError(f"model: {place} is bidirectional, which is not supported yet; give one direction")
    if module.proj_size:
        raise InputError(f"model: {place} has proj_size {module.proj_size}, which is not supported yet; give 0")
    return place, module


def layers_of(module: nn.RNNBase) -> list[RecurrentLayer]:
    """The layers of an LSTM or GRU as the engine's, with the same weights."""
    cell, layers = cell_of(module.mode.lower()), []
    for number in range(module.num_layers):
        weights = [getattr(module, f"{name}_l{number}").detach() for name in ("weight_ih", "weight_hh")]
        layer = RecurrentLayer(*(DenseMap(*weight.shape[::-1]) for weight in weights), cell)
        with torch.no_grad():
            layer.input_map.weight.copy_(weights[0])
            layer.hidden_map.weight.copy_(weights[1])
            for name in ("bias_ih", "bias_hh") if module.bias else ():
                getattr(layer, name).copy_(getattr(module, f"{name}_l{number}"))
        layers.append(layer)
    return layers


def wrapped(network: nn.Module, call: Call, recurrence: str, head: str | None) -> Wrapped:
    """The classifier around `network`, with its weights."""
    module = network.get_submodule(recurrence)
    if head is None:
        reader = nn.Linear(module.hidden_size, module.hidden_size)
        with torch.no_grad():
            nn.init.eye_(reader.weight)
            reader.bias.zero_()
    else:
        reader = copy.deepcopy(network.get_submodule(head))
    top = Surroundings(network, call, recurrence, head)
    return settled(Wrapped(layers_of(module), reader, dropout=module.dropout, top=top))


def settled(model: nn.Module) -> nn.Module:
    """What is not trained of a wrapped classifier: biases that the user's recurrence does not have, and the matrix that
    only gives the states their width. To be called whenever its parts are new."""
    if not isinstance(model, Wrapped):
        return model
    if not model.top.slot.bias:
        for layer in model.layers:
            for bias in (layer.bias_ih, layer.bias_hh):
                bias.requires_grad_(False).zero_()
    if not model.top.narrows:
        model.head.requires_grad_(False)
    return model
