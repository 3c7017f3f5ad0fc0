"""Latency of a forward pass: one thread, the variants interleaved, median and quartiles over the repeats."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.nn.rnn.cells import DEFAULT, cell_of
from squeezebench.schema.models import ModelSettings, RecurrentSettings, TaskInfo

BATCHES = (1, 10)
WARM_UP, FEWEST, MOST = 1, 6, 200  # rounds


class DenseReference(nn.Module):
    """The cell's torch.nn module with a linear head: the dense side of a latency comparison, in PyTorch's kernels.

    The cell must have a `torch_module`.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, classes: int, cell: str = DEFAULT):
        super().__init__()
        kind = getattr(nn, cell_of(cell).torch_module)
        self.recurrence = kind(inputs, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, classes)

    @classmethod
    def of(cls, info: TaskInfo, model: ModelSettings) -> DenseReference | None:
        """That of a task's dense model; None if it is no recurrent network, or if PyTorch does not have its cell."""
        if not isinstance(model, RecurrentSettings) or not cell_of(model.cell).torch_module:
            return None
        return cls(info.inputs, model.hidden, model.layers, info.classes, model.cell)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrence(x)[0][:, -1])


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one forward pass."""

    median: float
    low: float  # quartiles
    high: float


@dataclass(frozen=True)
class Variant:
    """One thing to time: `make(x)` gives the call that is timed; `within` is entered around it, untimed."""

    make: Callable[[Tensor], Callable[[], object]]
    within: Callable[[], AbstractContextManager] = field(default=nullcontext)


def forward_of(model: nn.Module) -> Variant:
    """A module as it is."""
    return Variant(lambda x: lambda: model(x))


def without_onednn(model: nn.Module) -> Variant:
    """A module with oneDNN switched off: PyTorch's LSTM is faster so where the batch is small."""
    return Variant(lambda x: lambda: model(x), _onednn_off)


@contextmanager
def _onednn_off() -> Iterator[None]:
    enabled = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # mkldnn.flags() would touch, and warn of, other switches as well
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = enabled


@torch.no_grad()
def timings(
    variants: dict[str, Variant],
    inputs: int,
    steps: int,
    batches: tuple[int, ...] = BATCHES,
    seconds: float = 0.05,
    row_seconds: float = 0.0,
) -> dict[str, dict[str, Timing]]:
    """{variant: {batch size: Timing}}; `seconds` are spent on each batch size, all variants together.

    row_seconds: a variant's turn in a round is as many calls in a row as take about so long, in its steady state,
    and counts as one repeat (their mean); 0: one call, whose caches the other variants have just used.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result: dict[str, dict[str, Timing]] = {name: {} for name in variants}
    clock = time.perf_counter
    try:
        for batch in batches:
            x = torch.randn(batch, steps, inputs, generator=torch.Generator().manual_seed(0))
            calls = {name: (variant.make(x), variant.within) for name, variant in variants.items()}
            rows = {name: _in_a_row(call, within, row_seconds) for name, (call, within) in calls.items()}
            times: dict[str, list[float]] = {name: [] for name in variants}
            until, rounds = clock() + seconds, 0
            while rounds < FEWEST or (clock() < until and rounds < MOST):
                for name, (call, within) in calls.items():
                    with within():
                        row = rows[name]
                        started = clock()
                        for _ in row:
                            call()
                        times[name].append((clock() - started) / len(row))
                rounds += 1
            for name, values in times.items():
                low, median, high = np.percentile(values[WARM_UP:], (25, 50, 75)) * 1e3
                result[name][str(batch)] = Timing(round(median, 4), round(low, 4), round(high, 4))
    finally:
        torch.set_num_threads(threads)
    return result


def _in_a_row(call: Callable[[], object], within: Callable[[], AbstractContextManager], seconds: float) -> range:
    """How many calls take about `seconds`, at least one."""
    if not seconds:
        return range(1)
    with within():
        call()
        started = time.perf_counter()
        call()
        return range(max(1, min(1000, round(seconds / (time.perf_counter() - started)))))
