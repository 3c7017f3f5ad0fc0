"""How stable the learning rules are where their assumption fails: high learning rates, low frame rates, cuts.

Source: Malinowski et al. (CVPR 2021), supplementary, section 6 and Figures 3-5: accuracy on the *training* fold over
the training, for learning rates x frame rates, and for montages of clips. The figures' values are not printed in the
paper, and neither is the optimiser of these runs; here it is SGD without momentum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.nn.sideways.network import SidewaysNet
from squeezebench.nn.sideways.training import backpropagation_step, forget_by_clip, sideways_step

Rule = Literal["sideways", "backpropagation", "backpropagation_per_tick"]
Step = Callable[..., float]  # (net, x, length, y, optimiser) -> loss
STEPS: dict[Rule, Step] = {
    "sideways": partial(sideways_step, together=True),
    "backpropagation": backpropagation_step,
    "backpropagation_per_tick": partial(backpropagation_step, per_tick=True),
}


def in_bfloat16(step: Step) -> Step:
    """The same step with the products of convolutions in bfloat16, as `precision: bfloat16` of an experiment."""

    def stepped(net: SidewaysNet, *given: Any) -> float:
        with torch.autocast("cpu", torch.bfloat16):
            return step(net, *given)

    return stepped


# for frames of thousands of pixels: the rule tick by tick, whose activations fit into the cache
LARGE_STEPS: dict[Rule, Step] = {rule: in_bfloat16(step) for rule, step in STEPS.items()}
LARGE_STEPS["sideways"] = in_bfloat16(sideways_step)


@dataclass(frozen=True)
class Setting:
    """One training of the study."""

    network: str  # a name of the networks given: Sideways is one without shortcuts, Skip-Sideways one with them
    learning_rate: float
    every: int = 1  # every n-th frame of the smooth video: 1, 2, 4, 8 stand for 30, 15, 7, 4 frames a second
    clips: int = 1  # of a montage
    interleaved: bool = False
    rule: Rule = "sideways"


def train(
    net: SidewaysNet,
    x: Tensor,
    y: Tensor,
    optimiser: torch.optim.Optimizer,
    epochs: int,
    *,
    rule: Rule = "sideways",
    batch: int = 32,
    clips: int = 1,
    interleaved: bool = False,
    seed: int = 0,
    schedule: Callable[[float], float] | None = None,
    observe: Callable[[SidewaysNet], dict[str, float]] | None = None,
    steps: dict[Rule, Step] = STEPS,
) -> list[dict[str, float]]:
    """Train on x (N, T, D) of any float type, y (N,); for each epoch its mean loss and the accuracy on x afterwards.

    clips, interleaved: train on montages of each batch. schedule: a factor on the learning rates, of the part of the
    training that is done. observe: further columns, after each epoch. steps: how each rule makes a step. Stops early,
    with a last row of accuracy 0, if the loss is no longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    rates = [group["lr"] for group in optimiser.param_groups]
    per_epoch = -(-len(x) // batch)
    rows: list[dict[str, float]] = []
    forget_by_clip(net, rule, x.shape[1] * clips)
    for epoch in range(epochs):
        net.train()
        losses = []
        for number, picked in enumerate(torch.randperm(len(x), generator=generator).split(batch)):
            if len(picked) < max(2, clips):  # a montage needs its clips, batch normalisation more than one value
                continue
            videos, labels = x[picked].float(), y[picked]
            if clips > 1:
                videos, labels = montage(videos, labels, clips, interleaved)
            if schedule is not None:
                for group, rate in zip(optimiser.param_groups, rates, strict=True):
                    group["lr"] = rate * schedule((epoch + number / per_epoch) / epochs)
            losses.append(steps[rule](net, videos, None, labels, optimiser))
            if not math.isfinite(losses[-1]):
                return [*rows, {"epoch": epoch, "loss": losses[-1], "accuracy": 0.0}]
        row = {"epoch": epoch, "loss": sum(losses) / len(losses), "accuracy": accuracy(net, x, y)}
        rows.append(row | (observe(net) if observe else {}))
    return rows


def montage(x: Tensor, y: Tensor, clips: int, interleaved: bool = False) -> tuple[Tensor, Tensor]:
    """x (B, T, D), y (B,) -> videos (B, clips * T, D) and a label for each frame, (B, clips * T).

    Each video is a clip and the `clips - 1` that follow it in the batch (the first ones after the last), one after the
    other, or `interleaved`: the first frame of each, then the second of each, ... Source: Malinowski et al. (CVPR
    2021), supplementary, section 6, "montage shots". Raises InputError where the batch has fewer clips than a video.
    """
    if not 1 <= clips <= len(x):
        raise InputError(f"a montage of {clips} clips from a batch of {len(x)}: it must be 1..{len(x)}")
    batch, steps, inputs = x.shape
    axis = 2 if interleaved else 1
    videos = torch.stack([x.roll(-shift, 0) for shift in range(clips)], axis).reshape(batch, clips * steps, inputs)
    labels = torch.stack([y.roll(-shift, 0)[:, None].expand(-1, steps) for shift in range(clips)], axis)
    return videos, labels.reshape(batch, clips * steps)


def cosine(done: float) -> float:
    """The paper's schedule: from 1 to 0 over the training."""
    return 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor, batch: int = 64) -> float:
    """Top-1 accuracy of the clips' logits, a fraction."""
    net.eval()
    pairs = zip(x.split(batch), y.split(batch), strict=True)
    right = sum(int((net(clips.float()).argmax(-1) == label).sum()) for clips, label in pairs)
    return right / len(x)


def grid(
    networks: Iterable[str],
    learning_rates: Sequence[float] = (0.01, 0.1, 1.0),
    every: Sequence[int] = (1, 2, 4, 8),
    clips: Sequence[int] = (1,),
    interleaved: Sequence[bool] = (False,),
) -> list[Setting]:
    """Every combination: the paper's Figures 3 and 4 by default."""
    return [
        Setting(network, rate, rarely, count, mixed)
        for network in networks
        for rate in learning_rates
        for rarely in every
        for count in clips
        for mixed in interleaved
    ]


def stability(
    settings: Iterable[Setting],
    networks: dict[str, Callable[[], SidewaysNet]],
    videos: Callable[[int], tuple[Tensor, Tensor]],
    epochs: int,
    *,
    held_out: Callable[[int], tuple[Tensor, Tensor]] | None = None,
    batch: int = 32,
    seed: int = 0,
    steps: dict[Rule, Step] = STEPS,
) -> list[dict[str, Any]]:
    """The table of the study: a row for each setting and epoch, with the setting's fields, the seed, `loss`, `accuracy`
    and, if other clips are given, the accuracy on them, `held_out`.

    networks: by name, what makes a fresh network. videos, held_out: from `every` to (x (N, T, D), y (N,)). Settings of
    one `seed` start from the same weights and see the clips in the same order.
    """
    rows = []
    for setting in settings:
        torch.manual_seed(seed)
        net = networks[setting.network]()
        others = held_out(setting.every) if held_out else None
        history = train(
            net, *videos(setting.every), torch.optim.SGD(net.parameters(), lr=setting.learning_rate), epochs,
            rule=setting.rule, batch=batch, clips=setting.clips, interleaved=setting.interleaved, seed=seed,
            observe=others and (lambda net, others=others: {"held_out": accuracy(net, *others)}), steps=steps,
        )  # fmt: skip
        rows += [{**asdict(setting), "seed": seed, **row} for row in history]
    return rows
