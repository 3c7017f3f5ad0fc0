"""One training step by each learning rule, in the form of a method's `train_step` hook: (..., optimiser) -> loss.

clip: the largest norm that the gradients of all units together may have, 0 for any; longer ones are scaled down to it.
The steps raise no error if gradients are not finite: the loss of the next step shows it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from squeezebench.nn.sideways.network import SidewaysNet, frame_weights
from squeezebench.nn.sideways.rule import sideways_gradients


def sideways_step(
    model: SidewaysNet,
    x: Tensor,
    length: Tensor | None,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    clip: float = 0.0,
) -> float:
    """One optimiser step by (Skip-)Sideways on a batch of clips; the mean of the frames' losses.

    x (B, T, D), length (B,) or None, y (B,) or, where each frame has its label, (B, T).
    """
    optimiser.zero_grad(set_to_none=True)
    loss = sideways_gradients(model, x, y, length)
    _update(model, optimiser, clip)
    return loss


def backpropagation_step(
    model: SidewaysNet,
    x: Tensor,
    length: Tensor | None,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    clip: float = 0.0,
) -> float:
    """The same by exact back-propagation over the whole clip: what Sideways approximates. All T frames are one batch,
    for the memory and for batch normalisation's statistics."""
    optimiser.zero_grad(set_to_none=True)
    loss = clip_loss(model, x, length, y)
    loss.backward()
    _update(model, optimiser, clip)
    return loss.item()


def clip_loss(model: SidewaysNet, x: Tensor, length: Tensor | None, y: Tensor) -> Tensor:
    """The objective of all rules, (1 / B) sum_b (1 / T_b) sum_t l_b^{[t]}: cross-entropy of each frame's logits."""
    logits = model.frame_logits(x, length)  # (B, losses, classes)
    batch, losses = logits.shape[:2]
    labels = (y[:, None].expand(-1, losses) if y.dim() == 1 else y[:, :losses]).flatten()
    each = functional.cross_entropy(logits.flatten(0, 1), labels, reduction="none").unflatten(0, (batch, losses))
    return (each * frame_weights(losses, batch, length, logits)).sum()


def _update(model: SidewaysNet, optimiser: torch.optim.Optimizer, clip: float) -> None:
    if clip:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
