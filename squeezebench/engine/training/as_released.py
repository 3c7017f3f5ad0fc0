"""The released codes' habit, for the protocol `as_released` only: keep the epoch that is best on the test part."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from squeezebench.data.task import Task
from squeezebench.engine.training.evaluation import accuracy
from squeezebench.engine.training.snapshot import put_module, take_module
from squeezebench.engine.training.state import Encoder


class BestOnTest:
    """Looks at the test part after each epoch; `best` is (accuracy, module) of the last stage's best one."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._task, self._device = task, device
        self.best: tuple[float, nn.Module] | None = None

    def __call__(self, model: nn.Module, last: bool) -> dict[str, Any]:
        test_accuracy = accuracy(model, self._task, "test", self._device)
        if last and (self.best is None or test_accuracy > self.best[0]):
            self.best = test_accuracy, copy.deepcopy(model)
        return {"test_accuracy": test_accuracy}

    def save(self) -> dict[str, Any] | None:
        """Return the content for a checkpoint; None before the last stage."""
        if self.best is None:
            return None
        return {"accuracy": self.best[0], "module": take_module(Encoder(self.best[1]), self.best[1])}

    def restore(self, content: dict[str, Any], model: nn.Module) -> None:
        """Take up the content of a checkpoint; `model` is the module of the last stage."""
        self.best = content["accuracy"], copy.deepcopy(model)
        put_module(content["module"], self.best[1])
