"""What a Snakemake job does: runs on one task, one after the other; or the trials of one method.

Importing torch costs seconds, so a job may hold many runs, each in a process that is forked from the job's; a receipt
is written when all have a record. A job that was interrupted goes on from the records that are there.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import METHODS
from squeezebench.base.reading import inside
from squeezebench.base.suggestions import near_matches
from squeezebench.data.sources import is_own, source_file, source_module
from squeezebench.data.task import dataset_of, load_task
from squeezebench.engine.start import dense_start
from squeezebench.engine.training.loop import describe
from squeezebench.method.base import Method
from squeezebench.method.discovery import MethodFile, find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.pipeline.isolation.attempts import supervisor
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.pipeline.tuning.tuner import Study, kept_result, tune
from squeezebench.schema.models import RecurrentSettings
from squeezebench.schema.plan import Plan, PlannedRun, PlannedTuning
from squeezebench.schema.record import Record, size_words
from squeezebench.schema.run import RunSpec


def spec_of(plan: Plan, run: PlannedRun | PlannedTuning, **changed: Any) -> RunSpec:
    """A planned run with all that its task's runs share; `changed` fields replace the planned ones."""
    task = plan.tasks[run.task]
    fields = {
        "experiment": plan.experiment,
        "task": task.spec,
        "fingerprint": task.fingerprint,
        "method": run.method,
        "settings": run.settings,
        "varied": run.varied,
        "seed": getattr(run, "seed", 0),
        "training": task.training,
        "model": task.model,
        "protocol": plan.protocol,
        "plugins": plan.plugins,
    }
    return RunSpec(**(fields | changed))


def study_of(plan: Plan, planned: PlannedTuning, method: MethodFile) -> Study:
    """What a tuner needs: the trials are runs with the seed and the length that `tuning:` asks for."""
    tuning = plan.tuning
    training = tuning.of_trial(plan.tasks[planned.task].training)
    spec = spec_of(plan, planned, seed=tuning.seed, training=training)
    return Study(spec, method, planned.space, tuning)


def tune_job(path: Path, job: str, receipt: Path | None, threads: int = 1) -> None:
    """Make the trials of one method on one task (`TASK/METHOD`, or the job's full name), then write the receipt."""
    torch.set_num_threads(threads)
    plan, folder = read_plan(path), path.parent
    planned = next((tuning for tuning in plan.tunings if job in (tuning.job, f"{tuning.task}/{tuning.method}")), None)
    if planned is None:
        names = [f"{tuning.task}/{tuning.method}" for tuning in plan.tunings]
        hint = near_matches(job, names) if names else "it has none"
        raise InputError(f"{path}: no tuning {job!r}; {hint}")
    for ending in (".json", ".journal"):
        inside(folder, (folder / planned.path).with_suffix(ending))
    inside(folder, folder / "starts")
    study = study_of(plan, planned, find_methods(plan.plugins)[planned.method])
    with supervisor() as watch:
        trial = partial(watch.trial, plan.tasks[planned.task].resources)
        result = tune(study, folder / planned.path, folder / "starts", _say, trial)
    if receipt:
        content = {"job": planned.job, "trials": len(result.trials), "winner": result.winner}
        write_atomically(receipt, json.dumps(content).encode())


def _tuned_settings(plan: Plan, run: PlannedRun, method: MethodFile, folder: Path) -> dict[str, Any]:
    """The winner's settings, as fields of the run's spec. Raises InputError if its tuning has not been finished."""
    planned = next(tuning for tuning in plan.tunings if tuning.job == run.tuned)
    result = kept_result(study_of(plan, planned, method), folder / planned.path)
    if result is None:
        what = f"`squeezebench tune {folder / 'plan.json'} {run.task}/{run.method}`"
        raise InputError(f"{folder / planned.path}: no finished tuning of this plan; call {what} first")
    drawn = result.best.drawn if result.best else {}
    return {"settings": result.settings, "varied": run.varied | drawn, "tuning": result.study}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run_job(path: Path, job: str, receipt: Path | None, threads: int = 1) -> None:
    """Make all runs of `job` that have no valid record yet, then write the receipt."""
    torch.set_num_threads(threads)
    plan, folder = read_plan(path, job), path.parent
    methods = find_methods(plan.plugins)
    runs = plan.runs
    if not runs:
        raise InputError(f"{path}: no job {job!r}")
    starts = inside(folder, folder / "starts")
    with supervisor(partial(_import_own, plan, runs, methods)) as watch:
        for number, run in enumerate(runs, 1):
            method, changed = methods[run.method], {}
            if run.tuned:  # by a worker: it imports the method
                answer = watch.again(partial(_tuned_settings, plan, run, method, folder))
                if answer.reason:
                    raise InputError(f"{path}: {run.task}/{run.method}: its tuning cannot be read: {answer.reason}")
                changed = answer.result
            resources = plan.tasks[run.task].resources
            spec = spec_of(plan, run, **changed)
            record = watch.run(spec, method, inside(folder, folder / run.path), starts, resources)
            if number == 1 and len(runs) > 1 and record.status == "ok":
                _load_own_data(spec)
            _say(f"[{number}/{len(runs)}] {_line(record, run.path)}")
    if receipt:
        write_atomically(receipt, json.dumps({"job": job, "runs": [run.path for run in runs]}).encode())


def _import_own(plan: Plan, runs: list[PlannedRun], methods: dict[str, MethodFile]) -> None:
    """Import the methods, data sources and cells of `runs` that belong to squeezebench, once for all their processes.
    Those of plugins run code that may do anything: each run imports them for itself."""
    for file in {methods[run.method] for run in runs}:
        _ = file.digest  # read from the file's text and kept
        if file.path is not None and file.path.parent == METHODS:
            with suppress(InputError):  # its runs will say so
                load(file)
    for task in {run.task for run in runs}:
        planned = plan.tasks[task]
        if is_own(source_file(planned.spec.source, plan.plugins)):
            source_module(planned.spec.source, plan.plugins)
        if isinstance(planned.model, RecurrentSettings):
            cell_of(planned.model.cell)


def _load_own_data(spec: RunSpec) -> None:
    """Load the data of a run that has ended well, for the runs that follow in processes forked from this one. A plugin
    loads its data in each of them."""
    with suppress(InputError, OSError):
        if is_own(source_file(spec.task.source, spec.plugins)):
            dataset_of(spec.task, spec.plugins)


def _line(record: Record, folder: str) -> str:
    name = f"{record.task} {record.method} {' '.join(f'{k}={v}' for k, v in record.varied.items())} seed {record.seed}"
    if record.status != "ok":
        again = f"; to make it again, delete {folder}" if record.status == "failed" else ""
        return f"{name}: {record.status}: {record.reason}{again}"
    size = f"{record.counts.size:,} {size_words(record.counts)}"
    result = f"{name}: validation {record.accuracy.validation:.1%}, {size}, {record.seconds.total:.1f} s"
    return "; ".join([result, *record.notes])


def train_starts(path: Path, task_name: str, receipt: Path | None, threads: int = 1) -> None:
    """Train the dense networks that the runs on one task start from; `TASK` for all seeds or `TASK/SEED` for one."""
    torch.set_num_threads(threads)
    plan, folder = read_plan(path), path.parent
    methods: dict[str, MethodFile] = find_methods(plan.plugins)
    task_name, _, only = task_name.partition("/")
    if task_name not in plan.tasks:
        raise InputError(f"{path}: no task {task_name!r}; {near_matches(task_name, plan.tasks)}")
    runs = [
        run
        for run in plan.runs
        if run.task == task_name and plan.methods[run.method].needs_start and only in ("", str(run.seed))
    ]
    starts, resources = inside(folder, folder / "starts"), plan.tasks[task_name].resources if runs else None
    trained = []
    with supervisor(partial(_import_own, plan, runs, methods)) as watch:
        wanted = watch.again(partial(_wanted_starts, plan, runs, methods)).result or []
        for run, length in wanted:
            work = partial(_train_start, plan, runs[run], methods, starts, length)
            ending = watch.again(work, resources, plan.tasks[task_name].training.device)
            trained += [run] if ending.reason is None else []
            if ending.reason:  # its runs try it again, and say in their records why they cannot be made
                _say(f"dense pretraining of {task_name}, seed {runs[run].seed}: {ending.reason}")
    if receipt:
        write_atomically(receipt, json.dumps({"task": task_name, "starts": len(trained)}).encode())


def _wanted_starts(plan: Plan, runs: list[PlannedRun], methods: dict[str, MethodFile]) -> list[tuple[int, int]]:
    """(number of a run, length) of each start that `runs` need; several of them share one."""
    wanted: dict[tuple, tuple[int, int]] = {}
    for number, run in enumerate(runs):
        spec, method = spec_of(plan, run), _method_of(plan, run, methods)
        if share := method.start_share():
            length = spec.training.pretraining(share)
            shared = method.settings.shared().model_dump_json()
            wanted.setdefault((run.seed, length, shared), (number, length))
    return list(wanted.values())


def _train_start(plan: Plan, run: PlannedRun, methods: dict[str, MethodFile], starts: Path, length: int) -> None:
    spec = spec_of(plan, run)
    task = load_task(spec.task, spec.seed, plugins=spec.plugins)
    method, info = _method_of(plan, run, methods), describe(task)
    if method.skip(info) is None:
        dense_start(starts, spec, method.settings, task, info, length, False)


def _method_of(plan: Plan, run: PlannedRun, methods: dict[str, MethodFile]) -> Method:
    method = load(methods[run.method])
    return method(settings_of(method, run.settings, plan.experiment))
