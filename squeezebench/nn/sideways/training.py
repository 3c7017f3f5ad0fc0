"""One training step by each learning rule, in the form of a method's `train_step` hook: (..., optimiser) -> loss.

clip: the largest norm that the gradients of all units together may have, 0 for any; longer ones are scaled down to it.
The steps raise no error if gradients are not finite: the loss of the next step shows it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from squeezebench.nn.sideways.network import SidewaysNet, frame_losses, frame_weights
from squeezebench.nn.sideways.rule import sideways_gradients
from squeezebench.nn.sideways.together import gradients_together


def sideways_step(
    model: SidewaysNet,
    x: Tensor,
    length: Tensor | None,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    clip: float = 0.0,
    together: bool = False,
) -> float:
    """One optimiser step by (Skip-)Sideways on a batch of clips; the mean of the frames' losses.

    x (B, T, D), length (B,) or None, y (B,), (B, T) if each frame has its label, or frames (B, T, C, H, W) to predict.
    together: all ticks of a unit at once, which is faster and takes the memory of back-propagation (`together.py`).
    """
    optimiser.zero_grad(set_to_none=True)
    loss = (gradients_together if together else sideways_gradients)(model, x, y, length)
    _update(model, optimiser, clip)
    return loss


def backpropagation_step(
    model: SidewaysNet,
    x: Tensor,
    length: Tensor | None,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    clip: float = 0.0,
    per_tick: bool = False,
) -> float:
    """The same by exact back-propagation over the whole clip: what Sideways approximates. All T frames are one batch,
    for the memory and, unless `per_tick`, for batch normalisation's statistics. With `per_tick` the two rules differ in
    the gap between gradients and Jacobians alone."""
    optimiser.zero_grad(set_to_none=True)
    loss = clip_loss(model, x, length, y, per_tick)
    loss.backward()
    _update(model, optimiser, clip)
    return loss.item()


def forget_by_clip(model: SidewaysNet, rule: str, frames: int, momentum: float = 0.1) -> None:
    """Let batch norm's running statistics forget `momentum` of what they hold with each clip of so many frames, under
    either of the rules above. They move once a tick with some and once a clip with others; with torch's 0.1 a tick they
    would know the last ten frames of the last clips, and what is scored would be those."""
    moves = {"sideways": model.timetable(frames).ticks, "backpropagation_per_tick": frames}.get(rule, 1)
    for norm in (part for part in model.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.momentum = 1 - (1 - momentum) ** (1 / moves)


def clip_loss(model: SidewaysNet, x: Tensor, length: Tensor | None, y: Tensor, per_tick: bool = False) -> Tensor:
    """The objective of all rules, (1 / B) sum_b (1 / T_b) sum_t l_b^{[t]}, with the losses of `frame_losses`."""
    logits = model.frame_logits(x, length, per_tick)  # (B, losses, classes)
    batch, losses = logits.shape[:2]
    targets = y[:, None].expand(-1, losses) if y.dim() == 1 else y[:, :losses]
    each = frame_losses(logits.flatten(0, 1), targets.flatten(0, 1)).unflatten(0, (batch, losses))
    return (each * frame_weights(losses, batch, length, logits)).sum()


def _update(model: SidewaysNet, optimiser: torch.optim.Optimizer, clip: float) -> None:
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
