"""Where training stands: a stage that runs, an epoch of it, and who looks on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from squeezebench.method.base import Stage
from squeezebench.schema import record


@dataclass
class Epoch:
    """Where training stands in an epoch, after some batches of it."""

    order: np.ndarray | None = None  # positions of the training part, shuffled for this epoch
    batches: int = 0  # done
    seen: int = 0  # sequences in them
    loss: float = 0.0  # their sum
    penalty: float = 0.0  # the last one


@dataclass
class Running:
    """A stage while it is trained."""

    stage: Stage
    epochs: int  # passes over the training part, of which the last one may be cut short
    every: int  # epochs between two rows of the history
    last: bool
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    epoch: Epoch = field(default_factory=Epoch)
    best: tuple[float, dict] | None = None  # of `select: validation`: accuracy and state
    drawn: dict[str, Any] | None = None  # while validating: the states of the generators before
    earlier: float = 0.0  # seconds of processes that were interrupted
    started: float = field(default_factory=time.perf_counter)
    worked: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.started

    @property
    def core_seconds(self) -> float | None:
        """Of all threads; None if a process that was interrupted had a part in it."""
        return None if self.earlier else time.process_time() - self.worked

    def as_record(self, steps: int) -> record.Stage:
        """The stage, which ends now after `steps` gradient steps."""
        worked = self.core_seconds
        return record.Stage(
            name=self.stage.name,
            epochs=self.epochs,
            steps=steps,
            seconds=round(self.seconds, 3),
            core_seconds=None if worked is None else round(worked, 3),
        )


class Watch(Protocol):
    """Called after each epoch; what it keeps goes into checkpoints."""

    def __call__(self, model: nn.Module, last: bool) -> dict[str, Any]:
        """Extra columns of the history. last: this is the last stage."""

    def save(self) -> dict[str, Any] | None: ...

    def restore(self, content: dict[str, Any], model: nn.Module) -> None: ...
