"""How fast this machine trains a network on one core, in float32: a short measurement, for cost estimates only.

A gradient step of a recurrent classifier takes about

    batch + step * T * layers + element * (gate values) + flops_in / wide + flops_rec / narrow + parameter * parameters
      + value * (input values)

and each coefficient is measured where it dominates: `wide` on the product of all steps' inputs at once, `narrow` on
the product of one step (32 rows). Convolutions take

    flops / convolution + activation * (values that they give)

for batch norm, the rectifier and the memory between them cost more than the products where channels are few: two
stacks of layers give both coefficients. The others are measured on gradient steps of small networks with the engine's
own layers, loss, clipping and Adam. Seconds are those of the processor, and the smallest of several repetitions counts:
what else the machine does should not be in an estimate of core hours.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn

from squeezebench.engine.training.uncompiled import Adam
from squeezebench.nn.rnn.classifier import recurrent_classifier

BATCH = 32  # rows of the small products and networks; experiments train with 8 to 64
LAYERS = 2  # convolutions that are measured
WIDE_INPUT = 65_536  # of the network that shows what the inputs take: more than any cache holds


@dataclass(frozen=True)
class Throughput:
    """Seconds by what causes them, on one device (CPU: one core)."""

    wide: float  # floating-point operations a second, products with hundreds of rows
    narrow: float  # the same with BATCH rows, as in the recurrence
    batch: float  # seconds a gradient step takes whatever it does
    step: float  # more for each time step of each layer
    element: float  # more for each value of a gate at a time step
    parameter: float  # more for each parameter (clipping and Adam)
    about: str
    value: float = 0.0  # more for each number of the inputs: picking a batch, moving it
    convolution: float = float("inf")  # floating-point operations a second of many channels
    activation: float = 0.0  # more for each value that a convolution gives


@cache
def measured() -> Throughput:
    """This machine's, on one thread; less than a second, and what importing torch's optimisers takes, once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        wide, narrow = _product(256, 1024, 1024), _product(BATCH, 512, 2048)
        short, long = _gradient_step(8, 4), _gradient_step(8, 36)
        step = max(1e-7, (long - short) / 32)
        batch = max(1e-6, short - 4 * step)
        hidden, steps = 128, 8
        flops = 6.0 * 4 * hidden * (8 + hidden) * steps * BATCH
        rest = _gradient_step(hidden, steps) - batch - steps * step - flops / narrow
        element = max(1e-10, rest / (BATCH * steps * 4 * hidden))
        parameter = _adam(1 << 20) / (1 << 20)
        value = max(0.0, _gradient_step(1, 4, WIDE_INPUT) - batch - 4 * step) / (BATCH * 4 * WIDE_INPUT)
        convolution, activation = _convolutions()
    finally:
        torch.set_num_threads(threads)
    overhead = f"{1e3 * batch:.2g} ms a gradient step, {1e6 * step:.0f} us a time step"
    about = f"one core of this machine, measured: {wide / 1e9:.0f} GFLOP/s, {overhead}"
    return Throughput(wide, narrow, batch, step, element, parameter, about, value, convolution, activation)


def fastest(call: Callable[[], object], seconds: float, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of the fastest call: what the machine can do, undisturbed. The first call warms up."""
    call()
    best, until = float("inf"), clock() + seconds
    while clock() < until or best == float("inf"):
        started = clock()
        call()
        best = min(best, clock() - started)
    return best


def _product(rows: int, inputs: int, outputs: int) -> float:
    """Floating-point operations a second of x W^T."""
    x, weight = torch.randn(rows, inputs), torch.randn(outputs, inputs)
    with torch.inference_mode():
        return 2.0 * rows * inputs * outputs / fastest(lambda: nn.functional.linear(x, weight), 0.05)


def _gradient_step(hidden: int, steps: int, inputs: int = 8) -> float:
    """Seconds of one gradient step as the engine makes it."""
    model = recurrent_classifier(inputs, hidden, 4).train()
    optimiser = Adam(model.parameters(), fused=True)
    data, rows = np.ones((BATCH, steps, inputs), np.float32), np.arange(BATCH)
    y = torch.zeros(BATCH, dtype=torch.int64)

    def call() -> None:
        loss = nn.functional.cross_entropy(model(torch.from_numpy(data[rows])), y)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        loss.item()

    return fastest(call, 0.08)


def _convolutions() -> tuple[float, float]:
    """Floating-point operations a second, and seconds for each value given: from many and from few channels."""
    shapes = (128, 8), (16, 32)
    seconds = [_convolved(*shape) for shape in shapes]
    values = [BATCH * LAYERS * channels * side**2 for channels, side in shapes]
    flops = [6.0 * 9 * channels * number for (channels, _), number in zip(shapes, values, strict=True)]
    per_flop, activation = np.linalg.solve(np.column_stack([flops, values]), seconds)
    if min(per_flop, activation) <= 0:  # a machine on which few channels cost nothing more
        return flops[0] / seconds[0], 0.0
    return 1 / per_flop, activation


def _convolved(channels: int, side: int) -> float:
    """Seconds of a forward and a backward pass through LAYERS convolutions."""
    parts = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
    model = nn.Sequential(*(copy.deepcopy(part) for _ in range(LAYERS) for part in parts))
    model = model.to(memory_format=torch.channels_last)
    x = torch.randn(BATCH, channels, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()

    def call() -> None:
        model.zero_grad(set_to_none=True)
        model(x).sum().backward()

    return fastest(call, 0.1)


def _adam(numbers: int) -> float:
    """Seconds of clipping and one Adam step over `numbers` parameters."""
    weight = nn.Parameter(torch.zeros(numbers))
    weight.grad = torch.full_like(weight, 1e-3)
    optimiser = Adam([weight], fused=True)

    def call() -> None:
        nn.utils.clip_grad_norm_([weight], 5.0)
        optimiser.step()

    return fastest(call, 0.05)
