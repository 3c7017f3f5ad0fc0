"""A network for videos as a list of D modules, with or without shortcuts between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from squeezebench.nn.sideways.norm import knows_ticks, ticks_at_once
from squeezebench.nn.sideways.timetable import Flush, Timetable


class SidewaysNet(nn.Module):
    """(B, T, D) -> logits (B, classes): H_D o ... o H_1 on every frame, the frames' logits averaged over the clip.

    units: H_1 ... H_D. A unit maps h_{l-1} (B, ...) to h_l; one that has a shortcut is called with two inputs.
    frame: the shape of a frame, for images (C, H, W), with C * H * W = D.
    span
        None: Sideways, a per-frame network: no unit ever sees two frames (Malinowski et al., CVPR 2020).
        k >= 2: Skip-Sideways (Malinowski et al., CVPR 2021), **as read here**, since the main paper's exact wiring is
        not at hand: what unit l - k made in the tick before reaches unit l beside what unit l - 1 made, in the same
        tick. Unit l - k is k - 1 places nearer to the frames, so its activation is of a frame k - 1 *newer*: that is
        how frames are integrated. The pseudo-gradient goes back along both ways. With an odd k the two frames lie an
        even number apart and every gap between gradients and Jacobians stays even, as the paper's remark on two
        interleaved clips asks ("no interference between neurons operating on consecutive frames"); k = 3 is the
        shortest such span, and the default of `VideoVGG`. An even k is possible and mixes interleaved clips.

    `forward` runs the same arithmetic as the pipeline, all frames of a unit at once: it is what is deployed and
    evaluated, and its ordinary autograd is exact back-propagation over the clip, whose memory grows with T.
    """

    def __init__(
        self, units: Sequence[nn.Module], frame: Sequence[int], span: int | None = None, flush: Flush = "hold"
    ):
        super().__init__()
        self.units, self.shape, self.span, self.flush = nn.ModuleList(units), tuple(frame), span, flush
        Timetable(len(self.units), len(self.units), flush, span)  # refuses what can never work

    @property
    def depth(self) -> int:
        """D, the number of units."""
        return len(self.units)

    def timetable(self, frames: int) -> Timetable:
        """The ticks of a clip of `frames` frames, and who reads whom."""
        return Timetable(self.depth, frames, self.flush, self.span)

    def frames(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, *frame); past the length of a clip its last valid frame is held."""
        if length is not None:
            step = torch.arange(x.shape[1], device=x.device)
            clip = torch.arange(len(x), device=x.device)[:, None]
            x = x[clip, torch.minimum(step, length[:, None] - 1)]
        return x.unflatten(-1, self.shape)

    def frame_logits(self, x: Tensor, length: Tensor | None = None, per_tick: bool = False) -> Tensor:
        """x (B, T, D) -> logits of every frame that leaves the top, (B, losses, classes).

        per_tick: a unit reads the B frames of one tick at a time, as in the pipeline, so that in training batch norm
        normalises them by their own statistics and not by those of all B * T frames.
        """
        frames = self.frames(x, length)
        batch, steps = frames.shape[:2]
        table = self.timetable(steps)
        outputs = [frames.flatten(0, 1)]
        for unit, module in enumerate(self.units, 1):
            direct, *shortcut = table.sources(unit)
            inputs = [outputs[direct], *(self._newer(outputs[source], batch, steps) for source in shortcut)]
            if per_tick and knows_ticks(module):
                with ticks_at_once(module, steps):
                    outputs.append(module(*inputs))
            elif per_tick:
                ticks = zip(*(h.unflatten(0, (batch, steps)).unbind(1) for h in inputs), strict=True)
                outputs.append(torch.stack([module(*tick) for tick in ticks], 1).flatten(0, 1))
            else:
                outputs.append(module(*inputs))
        return outputs[-1].unflatten(0, (batch, steps))[:, : table.losses]

    def _newer(self, outputs: Tensor, batch: int, steps: int) -> Tensor:
        """(B * T, ...) the same unit's activations span - 1 frames later, the last frame held."""
        index = torch.arange(steps, device=outputs.device) + (self.span - 1)
        return outputs.unflatten(0, (batch, steps))[:, index.clamp(max=steps - 1)].flatten(0, 1)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """x (B, T, D) float, length (B,) int or None -> logits (B, classes), the mean over the valid frames."""
        logits = self.frame_logits(x, length)
        weight = frame_weights(logits.shape[1], len(x), length, logits) * len(x)  # (B, losses), rows sum to 1
        return (logits * weight[..., None]).sum(1)


def frame_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of each output, (B,): cross-entropy of logits (B, classes) if the targets are labels (B,), the mean
    squared error if they are frames, floats of the outputs' own shape (supplementary, section 2, but for a factor)."""
    if targets.is_floating_point():
        return (outputs - targets).square().flatten(1).mean(1)
    return functional.cross_entropy(outputs, targets, reduction="none")


def frame_weights(losses: int, batch: int, length: Tensor | None, like: Tensor) -> Tensor:
    """What each frame's loss counts in the batch's, (B, losses): 1 / (B frames of the clip), 0 past its length."""
    step = torch.arange(losses, device=like.device)
    valid = torch.ones(batch, losses, dtype=like.dtype, device=like.device)
    if length is not None:
        valid = (step < length[:, None]).to(like.dtype)
    return valid / valid.sum(1, keepdim=True) / batch
