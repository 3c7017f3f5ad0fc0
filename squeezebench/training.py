"""The one training loop: stages, order of data, validation, the equal budget."""

from __future__ import annotations

import copy
import csv
import random
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from tqdm import tqdm

from . import record
from .method import Method, Stage, TaskInfo
from .task import Task

EVALUATION_BATCH = 256


class TrainingSettings(BaseModel):
    """How the engine trains; the same for every method of an experiment."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    epochs: PositiveInt = 60  # in all: dense start + stages
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"  # within each stage
    weight_decay: NonNegativeFloat = 0.0
    clip: NonNegativeFloat = 5.0  # global gradient norm; 0: no clipping
    label_smoothing: NonNegativeFloat = 0.0
    loss: Literal["cross_entropy", "double_softmax"] = "cross_entropy"  # double: as released
    select: Literal["final", "validation"] = "final"  # epoch of the last stage that is kept
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda", "auto"] = "cpu"


class Diverged(RuntimeError):
    """The loss left the finite numbers."""


@dataclass
class History:
    """Rows of history.csv, one an epoch."""

    rows: list[dict[str, float | int | str]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        if self.rows:
            names = list(dict.fromkeys(key for row in self.rows for key in row))
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, names, restval="")
                writer.writeheader()
                writer.writerows(self.rows)


def describe(task: Task) -> TaskInfo:
    """What methods may know of a task."""
    return TaskInfo(
        task.name, task.kind, task.inputs, task.steps, len(task.classes), task.has_lengths, task.size("train")
    )


def seed_everything(seed: int) -> None:
    """Seed every generator that a run may draw from; only deterministic algorithms from here on."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def pick_device(settings: TrainingSettings) -> torch.device:
    """The device asked for; `auto` takes the GPU where there is one."""
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def tensors(batch, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
    """A task's numpy batch as (x, length, y) on `device`."""
    length = None if batch.length is None else torch.from_numpy(batch.length).to(device)
    return torch.from_numpy(batch.x).to(device), length, torch.from_numpy(batch.y).to(device)


def batches(
    task: Task, part: str, size: int, device: torch.device, generator: np.random.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
    """All of `part` once; shuffled (and sampled as in training) where a generator is given."""
    count = task.size(part)
    order = np.arange(count) if generator is None else generator.permutation(count)
    for start in range(0, count, size):
        yield tensors(task.batch(part, order[start : start + size], generator), device)


@torch.no_grad()
def predict(model: nn.Module, task: Task, part: str, device: torch.device) -> np.ndarray:
    """Predicted class of every sequence of `part`, in its own order. Raises Diverged where a logit is not finite."""
    model.eval()
    found = []
    for x, length, _ in batches(task, part, EVALUATION_BATCH, device):
        logits = model(x, length)
        if not torch.isfinite(logits).all():
            raise Diverged(f"the module's outputs on the {part} part are not finite")
        found.append(logits.argmax(-1).cpu())
    return torch.cat(found).numpy()


def accuracy(model: nn.Module, task: Task, part: str, device: torch.device) -> float:
    """Top-1 accuracy on `part`, a fraction."""
    return float((predict(model, task, part, device) == task.labels(part)).mean())


def divide_epochs(stages: list[Stage], epochs: int) -> list[int]:
    """`epochs` divided by the stages' shares; whole numbers that sum to `epochs`, at least one for each stage."""
    if not stages:
        raise ValueError("stages() gives no stage: give at least one")
    if epochs < len(stages):
        raise ValueError(f"{epochs} epochs cannot be divided among {len(stages)} stages: give at least one to each")
    total = sum(stage.share for stage in stages)
    edges = np.cumsum([0.0] + [stage.share / total * epochs for stage in stages])
    counts = np.diff(np.round(edges)).astype(int)
    while (counts < 1).any():
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts.tolist()


@dataclass
class Trainer:
    """Trains one method on one task, from one seed.

    per_epoch: called with (model, whether this is the last stage) after each epoch; returns extra history columns.
    """

    method: Method
    task: Task
    settings: TrainingSettings
    seed: int
    progress: bool = False
    history: History = field(default_factory=History)
    stages: list[record.Stage] = field(default_factory=list)
    per_epoch: Callable[[nn.Module, bool], dict] | None = None

    def __post_init__(self) -> None:
        self.device = pick_device(self.settings)
        self.order = np.random.default_rng([self.seed, 0x5EED])  # order of data: the same for every method

    def run(self, start: nn.Module | None, epochs: int) -> nn.Module:
        """Build the module, adopt the dense start where there is one, and train all stages in `epochs` epochs."""
        info = describe(self.task)
        seed_everything(self.seed)
        model = self.method.build(info)
        if start is not None:
            seed_everything(self.seed + 1)  # the same bits whether the start was trained now or found
            model = self.method.adopt(model, start)
        stages = self.method.stages()
        model.to(self.device)
        for number, (stage, count) in enumerate(zip(stages, divide_epochs(stages, epochs), strict=True)):
            model = self._stage(model, stage, count, last=number == len(stages) - 1)
        return model

    def _stage(self, model: nn.Module, stage: Stage, epochs: int, last: bool) -> nn.Module:
        started, settings, clock = time.perf_counter(), self.settings, self.method.clock
        per_epoch = -(-self.task.size("train") // settings.batch_size)
        clock.stage, clock.epoch, clock.step = stage.name, 0, 0
        clock.steps, clock.examples = per_epoch * epochs, self.task.size("train")
        base = settings.learning_rate * stage.learning_rate
        groups = [
            {
                "params": g["params"],
                "lr": g.get("lr", base),
                "weight_decay": g.get("weight_decay", settings.weight_decay),
            }
            for g in self.method.parameter_groups(model)
        ]
        optimiser = torch.optim.Adam(groups, foreach=True)
        shape = {"cosine": self._cosine, "constant": lambda step: 1.0}[settings.schedule]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, shape)
        best: tuple[float, dict] | None = None
        bar = tqdm(
            range(epochs),
            f"{self.task.name} {self.method.name} seed {self.seed} {stage.name}",
            leave=False,
            disable=not self.progress,
            file=sys.stderr,
        )
        for clock.epoch in bar:
            loss, penalty = self._epoch(model, stage, optimiser, schedule)
            row = {
                "stage": stage.name,
                "epoch": clock.epoch,
                "step": clock.step,
                "loss": loss,
                "penalty": penalty,
                "validation_accuracy": accuracy(model, self.task, "validation", self.device),
            }
            row |= self.method.observe(model)
            row |= self.per_epoch(model, last) if self.per_epoch else {}
            self.history.rows.append(row)
            bar.set_postfix(loss=f"{loss:.3g}", validation=f"{row['validation_accuracy']:.3f}")
            if last and settings.select == "validation" and (best is None or row["validation_accuracy"] > best[0]):
                best = row["validation_accuracy"], copy.deepcopy(model.state_dict())
        if best is not None:
            model.load_state_dict(best[1])
        model = self.method.end_stage(model, stage)
        self.stages.append(
            record.Stage(
                name=stage.name, epochs=epochs, steps=clock.step, seconds=round(time.perf_counter() - started, 3)
            )
        )
        return model.to(self.device)

    def _cosine(self, step: int) -> float:
        return 0.5 * (1 + np.cos(np.pi * min(1.0, step / self.method.clock.steps))) + 1e-3

    def _epoch(self, model, stage, optimiser, schedule) -> tuple[float, float]:
        """One pass over the training part; mean cross-entropy and last penalty."""
        model.train()
        total, penalty, seen = 0.0, 0.0, 0
        for x, length, y in batches(self.task, "train", self.settings.batch_size, self.device, self.order):
            if self.method.train_step is not None:
                loss = self.method.train_step(model, x, length, y, optimiser)
            else:
                loss, penalty = self._step(model, stage, optimiser, x, length, y)
            if not np.isfinite(loss):
                raise Diverged(f"the loss became {loss} in stage {stage.name}, epoch {self.method.clock.epoch}")
            self.method.after_step(model)
            schedule.step()
            self.method.clock.step += 1
            total, seen = total + loss * len(y), seen + len(y)
        return total / seen, penalty

    def _step(self, model, stage, optimiser, x, length, y) -> tuple[float, float]:
        settings = self.settings
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            logits = model(x, length)
        scores = logits.float().softmax(-1) if settings.loss == "double_softmax" else logits.float()
        data = nn.functional.cross_entropy(scores, y, label_smoothing=settings.label_smoothing)
        penalty = self.method.penalty(model) if stage.penalised else 0.0
        optimiser.zero_grad(set_to_none=True)
        (data + penalty).backward()
        if settings.clip:
            norm = nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
            if not torch.isfinite(norm):
                raise Diverged(
                    f"the gradient became {norm.item()} in stage {stage.name}, epoch {self.method.clock.epoch}"
                )
        optimiser.step()
        return data.item(), float(penalty.detach() if isinstance(penalty, Tensor) else penalty)
