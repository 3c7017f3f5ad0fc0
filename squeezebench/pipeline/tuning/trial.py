"""One trial: train like a run, score the compact module on the validation part, leave the test part alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from squeezebench.base.errors import reason_of
from squeezebench.data.task import Task, load_task
from squeezebench.engine.hooks import Hooks
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.run import check_model, train
from squeezebench.engine.training.evaluation import accuracy
from squeezebench.engine.training.loop import describe
from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier
from squeezebench.method.settings import settings_of
from squeezebench.schema.record import ratio_of
from squeezebench.schema.run import RunSpec


class SealedTest(RuntimeError):
    """Something asked for the test part while settings were being chosen."""


class WithoutTest:
    """A task whose test part cannot be read; everything else is as in the task."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def labels(self, part: str) -> Any:
        return self._opened(part).labels(part)

    def batch(self, part: str, *arguments: Any) -> Any:
        return self._opened(part).batch(part, *arguments)

    def raw(self, part: str, *arguments: Any) -> Any:
        return self._opened(part).raw(part, *arguments)

    def _opened(self, part: str) -> Task:
        if part == "test":
            raise SealedTest("the test part is sealed while settings are chosen")
        return self._task


def attempt(spec: RunSpec, method_class: type[Method], drawn: dict[str, Any], starts: Path) -> dict[str, Any]:
    """The fields of a Trial. `spec` is the run with the method's own settings, `drawn` what replaces them.

    A method that raises, diverges or exits makes a failed trial; KeyboardInterrupt passes through.
    """
    started = time.perf_counter()
    try:
        fields = _score(spec, Hooks().guarded(method_class), drawn, starts)
    except (Exception, SystemExit) as error:
        fields = {"status": "failed", "reason": reason_of(error)}
    return fields | {"seconds": round(time.perf_counter() - started, 3)}


def _score(spec: RunSpec, method_class: type[Method], drawn: dict[str, Any], starts: Path) -> dict[str, Any]:
    method = method_class(settings_of(method_class, spec.settings | drawn, "tuning"))
    task = WithoutTest(load_task(spec.task, spec.seed, plugins=spec.plugins))
    info = describe(task)
    if reason := method.skip(info):
        return {"status": "skipped", "reason": reason}
    check_model(spec, info, method)
    model, _, _ = train(method, spec, task, info, starts)
    compact = method.compact(model).cpu().eval()
    counts = count(compact)
    dense = count(dense_classifier(info, spec.model))
    return {
        "status": "ok",
        "validation": accuracy(compact, task, "validation", torch.device("cpu")),
        "lstm_total": counts.size,  # of a feed-forward network: its weights
        "ratio": ratio_of(dense.size, counts.size),
    }
