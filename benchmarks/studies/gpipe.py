"""GPipe on videos: a pipeline with exact gradients whose micro-batches are frames.

Source: Huang et al., GPipe, NeurIPS 2018, as Malinowski et al. (CVPR 2021, supplementary, section 2) adapt it:
"creating batches of frames as micro-batches". All micro-batches go up, one behind the other, and each device keeps what
its backward pass needs; then they come down in the opposite order, and each device updates its parameters. Batch norm
normalises each micro-batch by itself: with one frame each, the gradients are those of back-propagation per tick.
"""

from __future__ import annotations

import time
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.studies.pipeline_processes import Optimiser, PipelineProcesses, Report
from squeezebench.base.errors import InputError
from squeezebench.nn.sideways.network import SidewaysNet, frame_weights


def cuts(frames: int, micro: int) -> list[slice]:
    """The frames of each of `micro` micro-batches. Raises InputError if they do not divide."""
    if micro < 1 or frames % micro:
        raise InputError(f"{frames} frames do not divide into {micro} micro-batches")
    size = frames // micro
    return [slice(part * size, (part + 1) * size) for part in range(micro)]


def gpipe_step(net: SidewaysNet, x: Tensor, y: Tensor, optimiser: torch.optim.Optimizer, micro: int) -> float:
    """One optimiser step in one process, with the order of the pipeline; x (B, T, D), y (B,). Returns the loss."""
    _without_shortcuts(net)
    optimiser.zero_grad(set_to_none=True)
    frames = net.frames(x)
    weights = frame_weights(frames.shape[1], len(x), None, frames)
    labels = y[:, None].expand(-1, frames.shape[1])
    losses = []
    for cut in cuts(frames.shape[1], micro):
        h = frames[:, cut].flatten(0, 1)
        for unit in net.units:
            h = unit(h)
        losses.append(_loss(h, labels[:, cut], weights[:, cut]))
    for loss in reversed(losses):
        loss.backward()
    optimiser.step()
    return sum(loss.item() for loss in reversed(losses))


def _loss(output: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    each = functional.cross_entropy(output, labels.flatten(), reduction="none")
    return (each * weights.flatten()).sum()


def _without_shortcuts(net: SidewaysNet) -> None:
    if net.span is not None:
        raise InputError("GPipe here is for networks without shortcuts: a micro-batch must not wait for newer frames")


class GPipeProcesses(PipelineProcesses):
    """The same with a process for each unit; `step` as in PipelineProcesses, bit for bit that of `gpipe_step`."""

    def __init__(self, net: SidewaysNet, batch: int, steps: int, optimiser: Optimiser, micro: int):
        _without_shortcuts(net)
        self.together, self.work = steps // len(cuts(steps, micro)), partial(gpipe_clip, micro=micro)
        super().__init__(net, batch, steps, optimiser)


def gpipe_clip(number, worker, table, clip, up, down, micro: int) -> Report:
    """What the process of unit `number` does with a clip: all micro-batches up, then all of them down."""
    unit, kept, loss, busy = worker.unit, [], 0.0, 0.0
    parts = cuts(table.frames, micro)
    for cut in parts:
        h = up[number - 1, number].receive() if number > 1 else clip.frames[:, cut].flatten(0, 1)
        started = time.perf_counter()
        with torch.enable_grad():
            h = h.detach().requires_grad_(number > 1)
            output = unit(h)
        busy += time.perf_counter() - started
        kept.append((h, output, cut))
        if number < table.depth:
            up[number, number + 1].send(output.detach())
    while kept:
        h, output, cut = kept.pop()
        gradient = down[number + 1, number].receive() if number < table.depth else None
        started = time.perf_counter()
        if gradient is None:
            output = _loss(output, clip.labels[:, cut], clip.weights[:, cut])
            loss += output.item()
        output.backward(gradient)
        busy += time.perf_counter() - started
        if number > 1:
            down[number, number - 1].send(h.grad)
    return Report(loss, busy, 2 * len(parts))
