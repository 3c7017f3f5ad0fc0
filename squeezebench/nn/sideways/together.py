"""The same rule, all ticks of a module in one batch: the pseudo-gradients of `rule.py` to rounding.

Within a clip no parameter changes, so what module l makes at all its ticks follows from what its sources made at all of
theirs: modules can be computed one after the other, going up, instead of ticks. The pseudo-gradients come down the same
way, one tick later at each module. What is lost is the rule's point, its memory: all activations of the clip are kept,
as in back-propagation. Hence this is for experiments on one device with frames so small that the many calls of
`rule.py`, one for each module and tick, take more time than their arithmetic. On a CPU `rule.py` is the faster one for
frames of 72 x 96 pixels, whose activations of one tick fit into the cache.
"""

from __future__ import annotations

import torch
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.nn.sideways.network import SidewaysNet, frame_losses, frame_weights
from squeezebench.nn.sideways.norm import knows_ticks, ticks_at_once
from squeezebench.nn.sideways.rule import Worker, share_of
from squeezebench.nn.sideways.timetable import Timetable


def gradients_together(net: SidewaysNet, x: Tensor, labels: Tensor, length: Tensor | None = None) -> float:
    """As `sideways_gradients`, which has the shapes. Raises InputError if a batch norm of `net` is not a TickNorm."""
    if not knows_ticks(net):
        raise InputError("a batch norm that is no TickNorm would mix the ticks: use TickNorm, or together=False")
    frames = net.frames(x, length)
    table = net.timetable(frames.shape[1])
    weights = frame_weights(table.losses, len(x), length, frames)
    outputs, read = _up(net, table, frames)
    down: dict[tuple[int, int], Tensor] = {}  # (reader, source) -> (B, ticks of the reader, ...)
    loss = 0.0
    for number in range(net.depth, 0, -1):
        if not table.learning[number]:  # a short clip with flush `drop`: nor does any module below
            break
        worker, output, gradient = Worker(net.units[number - 1]), outputs[number], None
        if number == net.depth:
            output = _loss(output, table, labels, weights)
            loss = output.item()
        else:
            gradient = _arriving(table, number, output, down)
        parts = worker.learn(output, read[number], gradient)
        for source, part in zip(table.sources(number), parts, strict=True):
            if part is not None:
                down[number, source] = part.unflatten(0, (len(x), -1))
        worker.finish(share_of(table, number, weights))
    return loss


def _up(net: SidewaysNet, table: Timetable, frames: Tensor) -> tuple[dict[int, Tensor], dict[int, list[Tensor]]]:
    """What each module made at its ticks, (B, ticks, ...), and the rows (B * ticks, ...) that it read for it."""
    outputs = {0: frames[:, [table.frame(tick) for tick in range(table.ticks)]]}
    read: dict[int, list[Tensor]] = {}
    for number, unit in enumerate(net.units, 1):
        ticks = len(table.working(number))
        read[number] = []
        for source in table.sources(number):
            first = number - 1 - source  # the module's first tick reads what the source made in the tick before
            rows = outputs[source][:, first : first + ticks].detach().flatten(0, 1)
            read[number].append(rows.requires_grad_(source > 0))
        with torch.enable_grad(), ticks_at_once(unit, ticks):
            outputs[number] = unit(*read[number]).unflatten(0, (len(frames), ticks))
    return outputs, read


def _loss(output: Tensor, table: Timetable, labels: Tensor, weights: Tensor) -> Tensor:
    """The weighed sum of the losses of all frames that leave the top at its first ticks, (B, ticks, ...) -> ()."""
    with torch.enable_grad():
        output = output[:, : table.losses]
        targets = labels[:, None].expand(-1, table.losses) if labels.dim() == 1 else labels[:, : table.losses]
        return (frame_losses(output.flatten(0, 1), targets.flatten(0, 1)) * weights.flatten()).sum()


def _arriving(table: Timetable, number: int, output: Tensor, down: dict[tuple[int, int], Tensor]) -> Tensor:
    """g_l at each tick of module l, (B, ticks, ...) as its output; 0 at a tick at which it does not learn."""
    gradient = torch.zeros_like(output)
    ticks = table.working(number)
    for reader in table.readers(number):
        part = down[reader, number]
        first = reader - (number - 1)  # what the reader sends at its first tick, reader - 1, arrives one tick later
        count = min(part.shape[1], len(ticks) - first)
        gradient[:, first : first + count] += part[:, :count]
    idle = [place for place, tick in enumerate(ticks) if tick not in table.learning[number]]
    gradient[:, idle] = 0
    return gradient
