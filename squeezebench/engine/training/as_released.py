"""The released codes' habit, for the protocol `as_released` only: keep the epoch that is best on the test part."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.data.task import Task
from squeezebench.engine.training.evaluation import accuracy
from squeezebench.engine.training.snapshot import put_module, take_module
from squeezebench.engine.training.stages import Part
from squeezebench.engine.training.state import Encoder


class BestOnTest:
    """Looks at the test part after each epoch; `best` is (accuracy, module) of the last stage's best one."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._task, self._device = task, device
        self.best: tuple[float, nn.Module] | None = None

    def __call__(self, model: nn.Module, last: bool) -> dict[str, Any]:
        found = accuracy(model, self._task, "test", self._device)
        if last and (self.best is None or found > self.best[0]):
            self.best = found, copy.deepcopy(model)
        return {"test_accuracy": found}

    def save(self) -> tuple[dict[str, Any] | None, dict[str, Tensor]]:
        """For a checkpoint; None before the last stage."""
        if self.best is None:
            return None, {}
        encoder = Encoder(self.best[1], "watched.")
        return {"accuracy": self.best[0], "module": take_module(encoder, self.best[1])}, encoder.tensors

    def restore(self, part: Part, model: nn.Module) -> None:
        """From a checkpoint; `model` is the module of the last stage."""
        content, tensors = part
        self.best = content["accuracy"], copy.deepcopy(model)
        put_module(content["module"], tensors, self.best[1])
