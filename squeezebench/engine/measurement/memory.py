"""Peak memory of the activations of one forward pass, exact and the same on every machine.

Every tensor that the forward pass allocates is seen by a dispatch mode; a storage counts from the operation that
returns it until nothing refers to it any more. Not counted: the input, the weights, and scratch memory inside a single
operator (a BLAS's packing buffers). It is the engine's own inference path that is followed, for the compact and for
the dense module alike; torch.nn.LSTM hides its intermediates inside one operator and cannot be compared.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode


class Watching(TorchDispatchMode):
    """Base of the modes that measure. Without its one method, torch 2.13 imports its compiler, which takes more than a
    second, to tell it to leave the mode alone."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


class Allocations(Watching):
    """Bytes of live storages, except those that were there before."""

    def __init__(self, before: list[Tensor]):
        super().__init__()
        self.before = {tensor.untyped_storage()._cdata for tensor in before}
        self.live: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.before and (key not in self.live or self.live[key][0].expired()):
                self.live[key] = StorageWeakRef(storage), storage.nbytes()
        self.live = {key: (ref, size) for key, (ref, size) in self.live.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.live.values()))
        return result


def _tensors(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


@torch.no_grad()
def peak_activation_bytes(model: nn.Module, inputs: int, steps: int, batch: int = 1) -> int:
    """Largest number of bytes that a forward pass on (batch, steps, inputs) holds at one time besides x and weights."""
    x = torch.zeros(batch, steps, inputs)
    model.eval()
    with Allocations([x, *model.parameters(), *model.buffers()]) as seen:
        model(x)
    return seen.peak
