"""Where the learning rule ends: what a video's motion between a pseudo-gradient and its Jacobian costs.

The pseudo-gradient that meets unit l belongs to a frame that is 2 (D - l) frames older than the activations at which
its Jacobian is taken (squeezebench/nn/sideways/timetable.py). The largest gap is the bottom unit's, 2 (D - 1) frames,
and a shape that moves by v pixels a frame is then v * 2 (D - 1) pixels away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.studies.sideways_stability import Rule, accuracy, cosine, train
from squeezebench.data.sources.moving_shapes import SHIFT
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.rule import sideways_gradients
from squeezebench.nn.sideways.training import clip_loss

Clips = tuple[Tensor, Tensor]  # x (N, T, D), y (N,)
EXACT: Rule = "backpropagation_per_tick"  # what the rule is held against: it differs in the gap alone


@dataclass(frozen=True)
class Arm:
    """One way of training: a rule on a network with these shortcuts."""

    name: str
    rule: Rule
    shortcut: str


ARMS = (
    Arm("BP", EXACT, "none"),
    Arm("Sideways", "sideways", "none"),
    Arm("BP, concat", EXACT, "concat"),
    Arm("Skip-Sideways, concat", "sideways", "concat"),
)
AGAINST = {"Sideways": "BP", "Skip-Sideways, concat": "BP, concat"}


def pixels_a_gap(motion: float, size: int, depth: int) -> float:
    """How far a shape of `moving_shapes` that shifts has moved, on average, over the bottom unit's gap.

    motion: a factor on the source's own speed; size: pixels of a frame's side.
    """
    return motion * sum(SHIFT) / 2 * size * 2 * (depth - 1)


def cosines(net: SidewaysNet, x: Tensor, y: Tensor) -> dict[str, float]:
    """By unit (`cosine_1` is the bottom), the cosine between the pseudo-gradient of its parameters and their gradient
    by back-propagation with the same batch norm; a copy of `net` is used, so that nothing of it changes."""
    twin = copy.deepcopy(net).train()
    sideways_gradients(twin, x, y)
    ours = [_flat(unit) for unit in twin.units]
    twin.zero_grad(set_to_none=True)
    clip_loss(twin, x, None, y, per_tick=True).backward()
    pairs = zip(ours, twin.units, strict=True)
    return {
        f"cosine_{number}": float(functional.cosine_similarity(pseudo, _flat(unit), dim=0))
        for number, (pseudo, unit) in enumerate(pairs, 1)
    }


def _flat(unit: torch.nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in unit.parameters() if p.grad is not None])


def limit_rows(
    motions: Iterable[float],
    arms: Sequence[Arm],
    network: Callable[[str], SidewaysNet],
    clips: Callable[[float, str], Clips],
    *,
    seeds: Sequence[int],
    epochs: int,
    rate: float,
    size: int,
    batch: int = 32,
) -> Iterator[dict[str, Any]]:
    """A row for each motion, arm and seed: pixels of the largest gap, and the final accuracy on training and held-out
    clips (Adam, cosine). Arms of one seed start from the same generator and see the clips in one order.

    network: from the shortcuts to a fresh network. clips: from a motion and "train" or "test" to the clips.
    """
    for motion in motions:
        (x, y), held_out = clips(motion, "train"), clips(motion, "test")
        for seed in seeds:
            for arm in arms:
                torch.manual_seed(seed)
                net = network(arm.shortcut)
                optimiser = torch.optim.Adam(net.parameters(), lr=rate)
                history = train(net, x, y, optimiser, epochs, rule=arm.rule, batch=batch, seed=seed, schedule=cosine)
                yield {
                    "units": net.depth, "motion": motion, "pixels_a_gap": pixels_a_gap(motion, size, net.depth),
                    "arm": arm.name, "seed": seed, "train": history[-1]["accuracy"],
                    "held_out": accuracy(net, *held_out),
                }  # fmt: skip


def relative(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each row of a rule, its accuracies minus those of back-propagation on the same network, motion and seed."""
    exact = {(row["units"], row["motion"], row["seed"], row["arm"]): row for row in rows}
    return [
        row | {part: row[part] - exact[row["units"], row["motion"], row["seed"], AGAINST[row["arm"]]][part]
               for part in ("train", "held_out")}
        for row in rows if row["arm"] in AGAINST
    ]  # fmt: skip


def cosine_rows(
    motions: Iterable[float],
    arms: Sequence[Arm],
    network: Callable[[str], SidewaysNet],
    clips: Callable[[float, str], Clips],
    *,
    seeds: Sequence[int],
    epochs: int,
    rate: float,
    batch: int = 32,
) -> Iterator[dict[str, Any]]:
    """A row for each motion, arm, seed, epoch and unit: the cosine on the first `batch` training clips after the epoch,
    while the network is trained by the arm's rule."""
    for motion in motions:
        x, y = clips(motion, "train")
        seen = x[:batch], y[:batch]
        for seed in seeds:
            for arm in arms:
                torch.manual_seed(seed)
                net = network(arm.shortcut)
                setting = {"units": net.depth, "motion": motion, "arm": arm.name, "seed": seed}
                optimiser = torch.optim.Adam(net.parameters(), lr=rate)
                at_start = {"epoch": -1} | cosines(net, *seen)
                history = train(net, x, y, optimiser, epochs, rule=arm.rule, batch=batch, seed=seed, schedule=cosine,
                                observe=lambda net, seen=seen: cosines(net, *seen))  # fmt: skip
                for row in [at_start, *(row for row in history if "cosine_1" in row)]:  # without a diverged epoch
                    for unit in range(1, net.depth + 1):
                        yield setting | {"epoch": row["epoch"] + 1, "unit": unit, "cosine": row[f"cosine_{unit}"]}
