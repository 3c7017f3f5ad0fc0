"""Prediction of the frame that comes as many frames later as a network has units (Malinowski et al., CVPR 2021).

Source: supplementary, section 2: at time t the network predicts x^{[t+8]}, "the frame that the first layer is about to
see", so that no unit has seen it. The error is the mean squared difference of pixels in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.studies.full_res import FullRes
from benchmarks.studies.sideways_limits import EXACT, Arm
from benchmarks.studies.sideways_stability import STEPS, Rule, Step, cosine
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.sideways.training import forget_by_clip

ARMS = (
    Arm("Sideways", "sideways", "none"),
    Arm("Skip-Sideways, concat", "sideways", "concat"),
    Arm("BP", EXACT, "none"),
    Arm("BP, concat", EXACT, "concat"),
)


@dataclass
class Pairs:
    """Clips of frames in [-1, 1], (N, T + ahead, C, H, W), as what a network reads and what it has to predict."""

    frames: Tensor
    ahead: int

    def inputs(self, rows: Sequence[int] | Tensor | slice) -> Tensor:
        """(B, T, D), x^{[t]}."""
        return self.frames[rows, : -self.ahead].float().flatten(2)

    def targets(self, rows: Sequence[int] | Tensor | slice) -> Tensor:
        """(B, T, C, H, W), x^{[t + ahead]}."""
        return self.frames[rows, self.ahead :].float()

    def __len__(self) -> int:
        return len(self.frames)


@torch.no_grad()
def error(net: FullRes, pairs: Pairs, batch: int = 16) -> float:
    """The mean squared error of a pixel."""
    net.eval()
    total = 0.0
    for rows in torch.arange(len(pairs)).split(batch):
        predicted = net.frame_logits(pairs.inputs(rows))
        total += float((predicted - pairs.targets(rows)).square().flatten(1).mean(1).sum())
    return total / len(pairs)


def standing_error(pairs: Pairs) -> float:
    """The error of predicting that nothing moves: x^{[t]} in the place of x^{[t + ahead]}."""
    first, later = pairs.frames[:, : -pairs.ahead].float(), pairs.frames[:, pairs.ahead :].float()
    return float((first - later).square().mean())


def train(
    net: FullRes, pairs: Pairs, held_out: Pairs, optimiser: torch.optim.Optimizer, epochs: int, *, rule: Rule,
    batch: int = 8, seed: int = 0, steps: dict[Rule, Step] = STEPS,
) -> list[dict[str, float]]:  # fmt: skip
    """For each epoch the mean loss and the error on the held-out clips. The learning rate follows a cosine. Stops early
    if the loss is no longer finite."""
    generator = torch.Generator().manual_seed(seed)
    rates = [group["lr"] for group in optimiser.param_groups]
    rows: list[dict[str, float]] = []
    forget_by_clip(net, rule, pairs.frames.shape[1] - pairs.ahead)
    for epoch in range(epochs):
        net.train()
        losses = []
        pieces = torch.randperm(len(pairs), generator=generator).split(batch)
        for number, picked in enumerate(pieces):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * cosine((epoch + number / len(pieces)) / epochs)
            losses.append(steps[rule](net, pairs.inputs(picked), None, pairs.targets(picked), optimiser))
            if not math.isfinite(losses[-1]):
                return [*rows, {"epoch": epoch, "loss": losses[-1], "held_out": math.nan}]
        rows.append({"epoch": epoch, "loss": sum(losses) / len(losses), "held_out": error(net, held_out)})
    return rows


def predictions(
    pairs: Pairs, held_out: Pairs, *, arms: Sequence[Arm] = ARMS, seeds: Sequence[int], epochs: int, rate: float,
    width: int, span: int = 3, batch: int = 8, steps: dict[Rule, Step] = STEPS,
) -> Iterator[tuple[list[dict[str, Any]], FullRes]]:  # fmt: skip
    """For each arm and seed a row for each epoch, and the trained network (Adam). `standing` is the error of predicting
    that nothing moves, `relative` the held-out error over it: below 1, motion has been learnt."""
    standing = standing_error(held_out)
    for seed in seeds:
        for arm in arms:
            torch.manual_seed(seed)
            net = FullRes(pairs.frames.shape[2:], width, arm.shortcut, span, blocks=pairs.ahead)
            arrange(net, torch.channels_last)
            optimiser = torch.optim.Adam(net.parameters(), lr=rate)
            given = {"rule": arm.rule, "batch": batch, "seed": seed, "steps": steps}
            history = train(net, pairs, held_out, optimiser, epochs, **given)
            rows = [
                {"arm": arm.name, "seed": seed, **row, "standing": standing, "relative": row["held_out"] / standing}
                for row in history
            ]
            yield rows, net
