"""One run without an experiment file: its spec from names and settings, its data read before it begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from squeezebench.base.errors import InputError
from squeezebench.data.sources import source_module
from squeezebench.data.task import load_task, task_spec
from squeezebench.engine.run import execute
from squeezebench.engine.training.checkpoint import SECONDS, interval
from squeezebench.engine.training.loop import pick_device
from squeezebench.method.discovery import MethodFile, find_methods, load, pick
from squeezebench.method.settings import settings_of
from squeezebench.pipeline.planner import fingerprint
from squeezebench.schema.experiment import validated
from squeezebench.schema.models import ModelSettings
from squeezebench.schema.record import RECORD_NAME, Record, RecordError, read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings


@dataclass(frozen=True)
class SingleRun:
    """What `squeezebench run` is told. Everything that is missing from a mapping has its default."""

    task: str
    task_settings: dict[str, Any]  # as in an experiment file
    options: dict[str, Any]  # of the data source
    method: str
    settings: dict[str, Any]
    training: dict[str, Any]
    seed: int
    plugins: list[str]

    def spec(self, file: MethodFile, experiment: str) -> RunSpec:
        """The run with all its settings. Raises InputError, which names the option of the command line."""
        settings = settings_of(load(file), self.settings, "--set")
        shared = settings.shared().model_dump(mode="json") if isinstance(settings, ModelSettings) else {}
        named = task_spec(self.task, self.plugins)
        given = self.task_settings | {"options": named.options | self.options}
        task = validated(TaskSpec, {"name": named.name, "source": named.source} | given, "--task")
        return RunSpec(
            experiment=experiment,
            task=task,
            fingerprint=fingerprint(task, self.plugins),
            method=self.method,
            settings=settings.model_dump(mode="json"),
            varied=self.settings,
            seed=self.seed,
            training=validated(TrainingSettings, self.training, "--train"),
            model=shared,
            plugins=self.plugins,
        )


def make_run(asked: SingleRun, folder: Path, threads: int, checkpoint_seconds: str | None, progress: bool) -> Record:
    """Make the run and write its record, model and log to `folder`, which may hold no other run."""
    if checkpoint_seconds is not None:
        os.environ[SECONDS] = checkpoint_seconds
    interval()
    if threads < 1:
        raise InputError(f"--threads {threads}: give at least 1")
    file = pick(find_methods(asked.plugins), asked.method)
    spec = asked.spec(file, folder.name)
    if getattr(source_module(spec.task.source, asked.plugins), "PREPARED", False):
        from squeezebench.data.video.prepare import prepare_local  # OpenCV and PyAV, which other sources do without

        prepare_local(spec.task, progress)  # with all cores
    torch.set_num_threads(threads)
    # Wrong data are a mistake of the user's, not a failed run: they are read before the run begins.
    pick_device(spec.training)
    load_task(spec.task, asked.seed, plugins=asked.plugins)
    _refuse_to_replace(spec, folder)
    return execute(spec, file, folder, folder / "starts", progress)


def _refuse_to_replace(spec: RunSpec, folder: Path) -> None:
    """Raise InputError if the folder has the sound record of another run, which would be lost."""
    try:
        there = read_record(folder / RECORD_NAME)
    except (RecordError, OSError):
        return
    mine = (spec.task.name, spec.method, spec.seed, spec.settings, spec.training.model_dump(mode="json"))
    if (there.task, there.method, there.seed, there.settings, there.training) != mine:
        said = f"{there.method} on {there.task}, seed {there.seed}"
        raise InputError(f"--out {folder}: holds another run ({said}); name another folder")
