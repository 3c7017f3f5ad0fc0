"""The learning rule: every module works at every tick, on the newest activation and the newest pseudo-gradient.

Sources: Malinowski et al., "Sideways: Depth-Parallel Training of Video Models" (CVPR 2020) and "Gradient
Forward-Propagation for Large-Scale Temporal Video Modelling" (CVPR 2021, Skip-Sideways), notation of the latter's
supplementary, section 1. At tick t, with h_0^{[t]} the frame x^{[t]}:

    h_l^{[t+1]}     = H_l(h_{l-1}^{[t]}, theta_l)                                  activations go up
    g_{l-1}^{[t+1]} = g_l^{[t]} . dH_l/dh (h_{l-1}^{[t]}, theta_l)                 pseudo-gradients go down
    theta_l        <- theta_l - alpha mean_t g_l^{[t]} . dH_l/dtheta (h_{l-1}^{[t]}, theta_l)

g_l was made from an older frame than the h_{l-1} at which the Jacobians are taken: no activation is kept from one tick
to the next, and the memory is that of a per-frame network. At the top the loss l^{[t]} of the frame that leaves it is
taken within the tick, so the top module (and with D = 1 the whole network) follows the exact gradient.

A module evaluates H_l once a tick, and both its output and its Jacobians come from that one evaluation. Batch
normalisation therefore sees, in each unit and tick, the B frames of that tick (their statistics normalise and are
differentiated through), and its running statistics move once a tick, warm-up and held frames included.

Until the first frame has gone up and its gradient has come down, a module only passes activations on. What happens
when a clip ends, and over which steps the average goes, is Timetable's `flush`. Nothing is carried from one clip to the
next. On a video that stands still all ticks have the same Jacobians, so that the averaged pseudo-gradient of every
parameter *is* the gradient of back-propagation; shortcuts included, where it is that of the network with the shortcuts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from squeezebench.nn.sideways.network import SidewaysNet, frame_losses, frame_weights
from squeezebench.nn.sideways.timetable import Timetable


@dataclass
class Target:
    """The targets of the frame that leaves the top in one tick, and their weights."""

    labels: Tensor  # (B,) int64, or frames (B, C, H, W) to predict
    weights: Tensor  # (B,) what each clip's frame counts in the loss of the batch


@dataclass
class Worker:
    """One module of the pipeline with the sums of its parameters' pseudo-gradients. It reads no other module."""

    unit: nn.Module
    sums: dict[str, Tensor] = field(default_factory=dict)  # by parameter
    loss: float = 0.0  # of the top

    def tick(
        self,
        inputs: Sequence[Tensor],
        learns: Sequence[bool],
        gradient: Tensor | None = None,
        target: Target | None = None,
    ) -> tuple[Tensor, list[Tensor | None]]:
        """One tick: (h_l, the pseudo-gradient of each input that `learns`, in their order, None for the others).

        gradient: g_l, as h_l. target: at the top, instead of it.
        Without both the module only passes activations on, and the second answer is a list of None.
        """
        if gradient is None and target is None:
            with torch.no_grad():
                return self.unit(*inputs), [None] * len(inputs)
        with torch.enable_grad():
            inputs = [h.detach().requires_grad_(learn) for h, learn in zip(inputs, learns, strict=True)]
            output = self.unit(*inputs)
            scalar = None
            if target is not None:
                scalar = (frame_losses(output, target.labels) * target.weights).sum()
                self.loss += scalar.item()
        return output.detach(), self.learn(output if scalar is None else scalar, inputs, gradient)

    def learn(self, output: Tensor, inputs: Sequence[Tensor], gradient: Tensor | None) -> list[Tensor | None]:
        """Add the parameters' pseudo-gradients to the sums; returns those of the inputs, None if one wants none.

        gradient: of the output, as it is; None if the output is a scalar, the loss.
        """
        named = {name: p for name, p in self.unit.named_parameters() if p.requires_grad}
        wanted = [h for h in inputs if h.requires_grad] + list(named.values())
        gradients = iter(torch.autograd.grad(output, wanted, grad_outputs=gradient, allow_unused=True))
        down = [next(gradients) if h.requires_grad else None for h in inputs]
        for name, update in zip(named, gradients, strict=True):
            if update is not None:
                self.sums[name] = self.sums[name].add_(update) if name in self.sums else update.clone()
        return down

    def finish(self, share: float) -> None:
        """Add the averages to the parameters' `.grad`. A parameter without a pseudo-gradient keeps what it has.

        share: the part of the batch's loss that has arrived here, 1 for all of it.
        """
        for name, parameter in self.unit.named_parameters():
            if name in self.sums:
                average = self.sums[name] / share
                parameter.grad = average if parameter.grad is None else parameter.grad.add_(average)
        self.sums = {}


def sideways_gradients(net: SidewaysNet, x: Tensor, labels: Tensor, length: Tensor | None = None) -> float:
    """Add the averaged pseudo-gradients of a batch of clips to every parameter's `.grad`; returns the mean loss.

    x (B, T, D); labels (B,), or (B, T) if frames have their own, or (B, T, C, H, W) if frames are predicted; length
    (B,) or None. All modules work in this process, one after the other within a tick; `PipelineProcesses` gives each
    its own.
    """
    frames = net.frames(x, length)
    table = net.timetable(frames.shape[1])
    weights = frame_weights(table.losses, len(x), length, frames)
    workers = {number: Worker(unit) for number, unit in enumerate(net.units, 1)}
    outputs: dict[int, Tensor] = {}  # h_l of the tick before
    mail: dict[tuple[int, int], Tensor] = {}  # pseudo-gradients of the tick before, by (reader, source)
    for tick in range(table.ticks):
        outputs[0] = frames[:, table.frame(tick)]
        new: dict[int, Tensor] = {}
        sent: dict[tuple[int, int], Tensor] = {}
        for number, worker in workers.items():
            if tick not in table.working(number):
                continue
            sources, senders = table.sources(number), table.senders(number, tick)
            gradient = total([mail[sender, number] for sender in senders]) if senders else None
            target = target_at(table, tick, labels, weights) if number == net.depth else None
            inputs = [outputs[source] for source in sources]
            new[number], down = worker.tick(inputs, [source > 0 for source in sources], gradient, target)
            sent |= {(number, source): part for source, part in zip(sources, down, strict=True) if part is not None}
        outputs, mail = new, sent
    for number, worker in workers.items():
        worker.finish(share_of(table, number, weights))
    return workers[net.depth].loss


def target_at(table: Timetable, tick: int, labels: Tensor, weights: Tensor) -> Target | None:
    """What the top compares its output with at `tick`; None while no frame leaves it, or none any more."""
    frame = table.loss_frame(tick)
    if frame is None:
        return None
    return Target(labels if labels.dim() == 1 else labels[:, frame], weights[:, frame])


def share_of(table: Timetable, module: int, weights: Tensor) -> float:
    """The part of the batch's loss that counts in the update of `module`."""
    arrived = table.arrived(module)
    return 1.0 if len(arrived) == table.losses else float(weights[:, : len(arrived)].sum())


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of the pseudo-gradients that a module's readers have sent."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result
