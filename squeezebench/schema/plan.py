"""The plan of an experiment: what `squeezebench plan` writes and every later step reads."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

from squeezebench.base.errors import InputError
from squeezebench.base.reading import planned_path, read_json
from squeezebench.schema.models import AnyModel
from squeezebench.schema.resources import Resources
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.schema.tuning import Tuning
from squeezebench.schema.tuning_result import Axis

PlannedPath = Annotated[str, AfterValidator(planned_path)]


class PlannedTuning(BaseModel):
    """One method on one task whose settings are picked by trials."""

    task: str
    method: str
    settings: dict[str, Any]  # resolved, before anything is drawn
    varied: dict[str, Any]  # the settings that the experiment fixes
    space: dict[str, Axis]
    path: PlannedPath  # of its result, relative to the results folder
    job: PlannedPath


class PlannedRun(BaseModel):
    """One run of a plan; what all runs of a task share is kept once, with the task."""

    task: str
    method: str
    settings: dict[str, Any]
    varied: dict[str, Any]
    seed: int
    path: PlannedPath  # relative to the results folder
    job: PlannedPath
    tuned: str | None = None  # job of the tuning whose winner takes the place of `settings`


class PlannedTask(BaseModel):
    spec: TaskSpec
    fingerprint: str
    training: TrainingSettings
    model: AnyModel
    resources: Resources = Resources()
    methods: list[str] | None = None  # the only ones that run on it; None: all
    seeds: list[int] | None = None  # None: the experiment's
    prepared: bool = False  # its data are made by `squeezebench data prepare` before the runs


class PlannedMethod(BaseModel):
    path: str | None
    digest: str
    needs_start: bool
    error: str | None = None  # a method file that cannot be used: its runs become failed records


class Plan(BaseModel):
    """What `squeezebench plan` writes and every later step reads."""

    experiment: str
    description: str
    protocol: str
    config: dict[str, Any]
    engine_digest: str
    digest_rule: int = 1  # of base/source.py, by which the engine and the methods were digested
    plugins: list[str]
    tasks: dict[str, PlannedTask]
    methods: dict[str, PlannedMethod]
    runs: list[PlannedRun]
    tuning: Tuning | None = None
    tunings: list[PlannedTuning] = []
    start_jobs: list[str]
    data_jobs: list[str]
    jobs: list[str]


def check_origin(path: Path, files: Iterable[str]) -> None:
    """Raises InputError if the plan at `path` is of other experiment files than `files`, and these are still there.

    Two files of one name have one folder of results. A file that was moved, or a plan that cannot be read, is no
    obstacle.
    """
    try:
        content = read_json(path)
        before = [(path.parent / name).resolve() for name in content["files"]]
    except (OSError, ValueError, LookupError, TypeError):
        return
    now = [Path(file).resolve() for file in files]
    if now != before and before and all(file.is_file() for file in before):
        theirs, ours = (" and ".join(os.path.relpath(file) for file in group) for group in (before, now))
        raise InputError(
            f"{path.parent}: has the results of {theirs}. Give {ours} a folder of its own by a name (`name: NAME` in "
            f"the file, or --config name=NAME); if both are one experiment, remove {path}"
        )
