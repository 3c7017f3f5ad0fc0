"""A compacted network of the user's in standard layers: their module, with a smaller torch.nn.LSTM or GRU in it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.tools.compression.data import Call
from squeezebench.tools.compression.wrapped import Wrapped, refuse_states


class CompactRNN(nn.Module):
    """A stack of torch.nn.LSTM or GRU whose layers differ in width, that reads some of its inputs only, or that is
    given initial states of the first width.

    It is called as the module that it replaces; initial states must be zero, and may have any width. Of the last
    states, those of the last layer are given; the others are NaN if the layers differ in width. `output_index` (h,) and
    `output_factor` (h,): the places of the units in states of the first width, and factors on them, if what reads the
    states needs that width.
    """

    def __init__(self, layers: list[nn.RNNBase], dropout: float, input_index: Tensor | None, output: int | None):
        super().__init__()
        self.layers, self.dropout, self.output = nn.ModuleList(layers), dropout, output
        states = layers[-1].hidden_size
        self.batch_first, self.num_layers, self.hidden_size = layers[0].batch_first, len(layers), output or states
        self.register_buffer("input_index", input_index)
        self.register_buffer("output_index", None if output is None else torch.arange(states))
        self.register_buffer("output_factor", None if output is None else torch.ones(states))

    def forward(self, x: Tensor | PackedSequence, states: Any = None) -> tuple[Any, Any]:
        """x as torch.nn.LSTM reads it -> what torch.nn.LSTM or GRU gives."""
        refuse_states(states)
        x, each = self._on_data(x, self._read), []
        for number, layer in enumerate(self.layers):
            if number:
                x = self._on_data(x, lambda data: nn.functional.dropout(data, self.dropout, self.training))
            x, last = layer(x)
            each.append(last if isinstance(last, tuple) else (last,))
        x = self._on_data(x, self._widened)
        last = tuple(self._stacked([layer[place] for layer in each]) for place in range(len(each[0])))
        return x, last if len(last) > 1 else last[0]

    @staticmethod
    def _on_data(x: Tensor | PackedSequence, change: Any) -> Tensor | PackedSequence:
        return x._replace(data=change(x.data)) if isinstance(x, PackedSequence) else change(x)

    def _read(self, x: Tensor) -> Tensor:
        return x if self.input_index is None else x.index_select(-1, self.input_index)

    def _widened(self, x: Tensor) -> Tensor:
        if self.output is None:
            return x
        return x.new_zeros(*x.shape[:-1], self.output).index_copy(-1, self.output_index, x * self.output_factor)

    def _stacked(self, states: list[Tensor]) -> Tensor:
        """(1, B, h) of each layer -> (layers, B, width of the last one)."""
        last = self._widened(states[-1])
        unknown = torch.full_like(last, torch.nan)
        return torch.cat([*(s if s.shape == last.shape else unknown for s in states[:-1]), last])


def standard_network(model: Wrapped, x: Tensor, length: Tensor | None) -> nn.Module:
    """The user's network with the layers of `model`, whose maps are matrices, as torch.nn modules.

    Its recurrence is one torch.nn.LSTM or GRU if that computes the same and runs on the batch x (B, T, D), length (B,);
    else a CompactRNN. A network that makes zero states of its first width itself runs with the latter only.
    """
    top = model.top
    network, (recurrence, head) = copy.deepcopy(top.network), top.places
    if head is not None:
        network.set_submodule(head, copy.deepcopy(model.head))
    network.requires_grad_(True)
    if model.input_index is None and top.narrows and len(set(model.hidden)) == 1:
        slot = top.slot
        network.set_submodule(recurrence, torch_module(list(model.layers), slot.bias, slot.batch_first, slot.dropout))
        if _runs(network, top.call, x, length):
            return network
    network.set_submodule(recurrence, _compact_rnn(model))
    return network.eval()


@torch.no_grad()
def _runs(network: nn.Module, call: Call, x: Tensor, length: Tensor | None) -> bool:
    try:
        call(network.eval(), x, length)
    except Exception:  # the user's code gives the recurrence what the narrower module refuses
        return False
    return True


def _compact_rnn(model: Wrapped) -> CompactRNN:
    slot, layers = model.top.slot, list(model.layers)
    stack = [torch_module([layer], slot.bias, slot.batch_first) for layer in layers]
    index = None if model.input_index is None else model.input_index.long()
    whole = CompactRNN(stack, slot.dropout, index, None if model.top.narrows else slot.hidden_size)
    if not model.top.narrows:
        factor, place = model.head.weight.detach().max(0)  # each column has one entry that is not 0
        whole.output_index.copy_(place)
        whole.output_factor.copy_(factor)
    return whole


@torch.no_grad()
def torch_module(
    layers: Sequence[RecurrentLayer], bias: bool = True, batch_first: bool = True, dropout: float = 0.0
) -> nn.RNNBase:
    """The torch.nn module of these layers, which have one width."""
    kind, dropout = getattr(nn, layers[0].cell.torch_module), dropout if len(layers) > 1 else 0.0
    module = kind(layers[0].inputs, layers[0].hidden, len(layers), bias, batch_first, dropout)
    for number, layer in enumerate(layers):
        parts = {"weight_ih": layer.input_map.weight, "weight_hh": layer.hidden_map.weight}
        parts |= {"bias_ih": layer.bias_ih, "bias_hh": layer.bias_hh} if bias else {}
        for name, value in parts.items():
            getattr(module, f"{name}_l{number}").copy_(value)
    return module
