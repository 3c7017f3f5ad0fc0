"""The one training loop: stages, order of data, validation, the equal budget."""

from __future__ import annotations

import copy
import csv
import io
import random
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.data.task import Task
from squeezebench.engine import provenance
from squeezebench.engine.training import resuming
from squeezebench.engine.training.augment import Augmentation
from squeezebench.engine.training.checkpoint import Checkpoints
from squeezebench.engine.training.evaluation import Diverged, accuracy, batches, wrong_shape
from squeezebench.engine.training.optimisers import mean_factor, optimiser_of, schedule_of
from squeezebench.engine.training.snapshot import generators, set_generators
from squeezebench.engine.training.stages import Epoch, Running, Watch
from squeezebench.method.base import Method, Stage, cross_entropy
from squeezebench.nn.cnn.layout import arrange
from squeezebench.schema import record
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.training import TrainingSettings, Unit

MOST_ROWS = 100  # of the history of a stage whose length is given in steps; twice as many at most


@dataclass
class History:
    """Rows of history.csv: one an epoch; in stages of many steps on few data, one in several epochs."""

    rows: list[dict[str, float | int | str]] = field(default_factory=list)

    def write(self, path: Path) -> None:
        """As CSV, whole or not at all. Raises OSError that names `path` (a full disk)."""
        if self.rows:
            names = list(dict.fromkeys(key for row in self.rows for key in row))
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, names, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
            write_atomically(path, text.getvalue().encode())


def describe(task: Task) -> TaskInfo:
    """What methods may know of a task."""
    return TaskInfo(
        task.name,
        task.kind,
        task.inputs,
        task.steps,
        len(task.classes),
        task.has_lengths,
        task.size("train"),
        task.frame,
    )


def seed_everything(seed: int) -> None:
    """Seed every generator that a run may draw from; only deterministic algorithms from here on."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms would import the compiler


def pick_device(settings: TrainingSettings) -> torch.device:
    """The device that is asked for; `auto` takes a GPU if there is one. Raises InputError if there is none to take."""
    wanted = settings.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("training: device: cuda: this machine has no GPU that PyTorch can use; give cpu or auto")
    return torch.device(wanted)


def divide_length(stages: list[Stage], length: int, unit: Unit) -> list[int]:
    """`length` divided by the stages' shares; whole numbers that sum to `length`, at least one for each stage."""
    if not stages:
        raise ValueError("stages() gives no stage: give at least one")
    if length < len(stages):
        raise ValueError(f"{length} {unit} cannot be divided among {len(stages)} stages: give at least one to each")
    total = sum(stage.share for stage in stages)
    edges = np.cumsum([0.0] + [stage.share / total * length for stage in stages])
    counts = np.diff(np.round(edges)).astype(int)
    while (counts < 1).any():
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts.tolist()


@dataclass
class Trainer:
    """Trains one method on one task, from one seed.

    checkpoints: where training may be interrupted and go on; None: it starts again when it is interrupted.
    """

    method: Method
    task: Task
    settings: TrainingSettings
    seed: int
    progress: bool = False
    history: History = field(default_factory=History)
    stages: list[record.Stage] = field(default_factory=list)  # that are finished
    per_epoch: Watch | None = None
    checkpoints: Checkpoints | None = None

    def __post_init__(self) -> None:
        self.device = pick_device(self.settings)
        self.augmentation = Augmentation(self.settings.augment, self.task) if self.settings.augment else None
        self.method.cross_entropy = partial(
            cross_entropy,
            label_smoothing=self.settings.label_smoothing,
            double_softmax=self.settings.loss == "double_softmax",
        )
        self.forget()

    def forget(self) -> None:
        """As if nothing had been trained."""
        self.places = [provenance.place(self.device)]  # where it was trained
        self.order = np.random.default_rng([self.seed, 0x5EED])  # order of data: the same for every method
        self.history.rows, self.stages = [], []
        self.finished: list[dict] = []  # the snapshot at the end of each finished stage, for checkpoints
        self.before_fine_tuning: nn.Module | None = None  # what the last stage that changed the module left
        self.resumed, self.earlier = 0, 0.0  # how often training went on from a checkpoint; seconds until then

    def run(self, start: nn.Module | None, length: int) -> nn.Module:
        """Build the module, load the dense pretraining if there is one, and train all stages.

        length: of the stages together, in the unit of the settings.
        """
        resumed = resuming.resume(self, start, length) if self.checkpoints else None
        model, running = resumed or (self.build(start), None)
        del start  # see Start.take
        plan = self.plan(length)
        if resumed is None:
            self._check_logits(model)
        for number in range(len(self.stages), len(plan)):
            model = self._stage(model, running or self.open(model, plan, number))
            running = None
        self.finished = []  # large, and no checkpoint follows
        return arrange(model, torch.contiguous_format)  # so that it gives the bits of one that is read from its file

    def build(self, start: nn.Module | None) -> nn.Module:
        """The module that is trained, seeded."""
        seed_everything(self.seed)
        model = self.method.build(describe(self.task))
        if start is not None:
            seed_everything(self.seed + 1)  # the same bits whether the start was trained now or found
            model = self.method.load_dense(model, start)
        return self.placed(model)

    def _check_logits(self, model: nn.Module) -> None:
        """Raise InputError if the module does not give one logit for each class, before the first step: a loss would
        fail with words of torch's, or train on classes that there are not. Draws nothing from the generators."""
        rows, drawn = np.arange(min(2, self.task.size("train"))), generators()
        x, length, _ = next(batches(self.task, "train", len(rows), self.device, rows))
        with torch.no_grad():
            wrong = wrong_shape(model.eval()(x, length), len(rows), len(self.task.classes))
        set_generators(drawn)
        if wrong:
            raise InputError(wrong)

    def placed(self, model: nn.Module) -> nn.Module:
        """The module where it trains; on a CPU with its convolutions in the layout that is fast there."""
        layout = torch.channels_last if self.device.type == "cpu" else torch.contiguous_format
        return arrange(model.to(self.device), layout)

    @property
    def per_pass(self) -> int:
        """Gradient steps of one epoch."""
        return -(-self.task.size("train") // self.settings.batch_size)

    def plan(self, length: int) -> list[tuple[Stage, int]]:
        """The stages with their gradient steps."""
        stages, unit = self.method.stages(), self.settings.unit
        if length < len(stages):  # a dense pretraining has taken what is not left
            share = self.method.start_share() if length < self.settings.length else 0.0
            raise InputError(self.settings.too_short(share, len(stages)) or f"{length} {unit} for {len(stages)} stages")
        each = self.per_pass if unit == "epochs" else 1
        return [(stage, part * each) for stage, part in zip(stages, divide_length(stages, length, unit), strict=True)]

    def open(self, model: nn.Module, plan: list[tuple[Stage, int]], number: int) -> Running:
        """Begin stage `number`: its optimiser, its schedule, the clock."""
        settings, clock = self.settings, self.method.clock
        stage, steps = plan[number]
        clock.stage, clock.epoch, clock.step = stage.name, 0, 0
        clock.steps, clock.examples = steps, self.task.size("train")
        clock.optimiser = stage.optimiser or settings.optimiser
        clock.mean_factor = mean_factor(settings, stage, steps)
        groups = self.method.parameter_groups(model)
        optimiser = optimiser_of(settings, stage, groups)
        schedule = schedule_of(optimiser, settings, stage, groups, steps)
        epochs = -(-steps // self.per_pass)
        every = 1 if settings.unit == "epochs" else max(1, epochs // MOST_ROWS)
        return Running(stage, epochs, every, number == len(plan) - 1, optimiser, schedule)

    def _stage(self, model: nn.Module, running: Running) -> nn.Module:
        stage, clock = running.stage, self.method.clock
        name = f"{self.task.name} {self.method.name} seed {self.seed} {stage.name}"
        shown = {"leave": False, "disable": not self.progress, "file": sys.stderr, "unit": "step"}
        with tqdm(desc=name, initial=clock.step, total=clock.steps, **shown) as bar:
            for epoch in range(clock.epoch, running.epochs):
                clock.epoch = epoch
                self._pass(model, running, bar)
        if running.best is not None:
            model.load_state_dict(running.best[1])
        if self.checkpoints and not running.last:
            resuming.finish(self, model)
        del running.optimiser, running.schedule  # before a second module is made
        model = self.end(model, stage, running.last)
        self.stages.append(running.as_record(clock.step))
        return model

    def end(self, model: nn.Module, stage: Stage, last: bool) -> nn.Module:
        """What the method makes of the module at the end of a stage; another one is kept as it is, for the record."""
        after = self.placed(self.method.end_stage(model, stage))
        if after is not model and not last:
            self.before_fine_tuning = copy.deepcopy(after)
        return after

    def _pass(self, model: nn.Module, running: Running, bar: tqdm) -> None:
        """One epoch, with the validation and the row of the history that follow it."""
        clock, last = self.method.clock, running.last
        with self.checkpoints.heeding() if self.checkpoints else nullcontext():
            loss, penalty = self._epoch(model, running)
            looks = (clock.epoch + 1) % running.every == 0 or clock.epoch + 1 == running.epochs
            validation = self._validation(model, running) if looks else 0.0
            running.epoch, running.drawn = Epoch(), None
        bar.update(clock.step - bar.n)
        if not looks:
            return
        row = {
            "stage": running.stage.name,
            "epoch": clock.epoch,
            "step": clock.step,
            "loss": loss,
            "penalty": penalty,
            "validation_accuracy": validation,
        }
        row |= self.method.observe(model)
        row |= self.per_epoch(model, last) if self.per_epoch else {}
        self.history.rows.append(row)
        bar.set_postfix(loss=f"{loss:.3g}", validation=f"{validation:.3f}")
        if last and self.settings.select == "validation" and (running.best is None or validation > running.best[0]):
            running.best = validation, copy.deepcopy(model.state_dict())

    def _epoch(self, model: nn.Module, running: Running) -> tuple[float, float]:
        """What is not done of a pass over the training part; its mean loss and last penalty."""
        epoch, stage, size = running.epoch, running.stage, self.settings.batch_size
        if not epoch.batches:
            model.train()
            steps = self.method.clock.steps - self.method.clock.step  # a stage may end inside a pass
            epoch.order = self.order.permutation(self.task.size("train"))[: steps * size]
        rest = epoch.order[epoch.batches * size :]
        for x, length, y in batches(self.task, "train", size, self.device, rest, self.order):
            if self.augmentation is not None:
                x = self.augmentation(x, length, self.order)
            if self.method.train_step is not None:
                loss = self.method.train_step(model, x, length, y, running.optimiser)
            else:
                loss, epoch.penalty = self._step(model, stage, running.optimiser, x, length, y)
            if not np.isfinite(loss):
                raise Diverged(f"the loss became {loss} in stage {stage.name}, epoch {self.method.clock.epoch}")
            self.method.clock.learning_rate = float(running.optimiser.param_groups[0]["lr"])
            self.method.after_step(model)
            running.schedule.step()
            self.method.clock.step += 1
            epoch.batches, epoch.seen, epoch.loss = epoch.batches + 1, epoch.seen + len(y), epoch.loss + loss * len(y)
            if self.checkpoints and self.checkpoints.due():
                resuming.save(self, model, running)
        return epoch.loss / epoch.seen, epoch.penalty

    def _validation(self, model: nn.Module, running: Running) -> float:
        """Validation accuracy after an epoch's steps; a signal that comes meanwhile need not wait for its end."""
        if self.checkpoints is None:
            share = accuracy(model, self.task, "validation", self.device)
        else:
            running.drawn = generators()

            def between() -> None:
                if self.checkpoints.asked is not None:
                    resuming.save(self, model, running)

            share = accuracy(model, self.task, "validation", self.device, between)
            between()
        return share

    def _step(self, model, stage, optimiser, x, length, y) -> tuple[float, float]:
        settings = self.settings
        with torch.autocast(self.device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
            data = self.method.loss(model, x, length, y)
        if not isinstance(data, Tensor) or data.dim():
            given = f"a tensor of shape {tuple(data.shape)}" if isinstance(data, Tensor) else f"a {type(data).__name__}"
            raise TypeError(f"loss() returns {given}: return a scalar tensor, the mean over the batch")
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
