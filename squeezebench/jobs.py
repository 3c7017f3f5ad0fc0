"""What a Snakemake job does: the runs of one method on one task, one after the other in one process; or its trials.

Importing torch costs seconds, so a job may hold many runs; a receipt is written when all have a record. A job that
was interrupted goes on from the records that are there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

from .discovery import MethodFile, find_methods, load, near_matches
from .errors import InputError
from .plan import Plan, PlannedRun
from .record import Record, write_atomically
from .run import RunSpec, execute, settings_of
from .start import dense_start
from .task import load_task
from .training import describe
from .tuning.planned import PlannedTuning
from .tuning.tuner import Study, kept_result, tune


def read_plan(path: Path) -> Plan:
    """The plan at `path`. Raises InputError where it is none."""
    try:
        content = json.loads(path.read_bytes())
        content.pop("key", None)
        return Plan.model_validate(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{path}: not a plan that `squeezebench plan` wrote") from None


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
    }
    return RunSpec(**(fields | changed))


def study_of(plan: Plan, planned: PlannedTuning, method: MethodFile) -> Study:
    """What a tuner needs: the trials are runs with the seed and the epochs that `tuning:` asks for."""
    tuning, training = plan.tuning, plan.tasks[planned.task].training
    training = training.model_copy(update={"epochs": tuning.epochs or training.epochs})
    spec = spec_of(plan, planned, seed=tuning.seed, training=training)
    return Study(spec, method, planned.space, tuning)


def tune_job(path: Path, job: str, receipt: Path | None, threads: int = 1) -> None:
    """Make the trials of one method on one task (`TASK/METHOD`, or the job's full name), then write the receipt."""
    torch.set_num_threads(threads)
    plan, folder = read_plan(path), path.parent
    planned = next((one for one in plan.tunings if job in (one.job, f"{one.task}/{one.method}")), None)
    if planned is None:
        known = (
            near_matches(job, [f"{one.task}/{one.method}" for one in plan.tunings]) if plan.tunings else "it has none"
        )
        raise InputError(f"{path}: no tuning {job!r}; {known}")
    study = study_of(plan, planned, find_methods(plan.plugins)[planned.method])
    result = tune(study, folder / planned.path, folder / "starts", say=_say)
    if receipt:
        content = {"job": planned.job, "trials": len(result.trials), "winner": result.winner}
        write_atomically(receipt, json.dumps(content).encode())


def _tuned_settings(plan: Plan, run: PlannedRun, method: MethodFile, folder: Path) -> dict[str, Any]:
    """The winner's settings, as fields of the run's spec. Raises InputError where its tuning has not been finished."""
    planned = next(one for one in plan.tunings if one.job == run.tuned)
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
    plan, folder = read_plan(path), path.parent
    methods = find_methods(plan.plugins)
    runs = [run for run in plan.runs if run.job == job]
    if not runs:
        raise InputError(f"{path}: no job {job!r}")
    for number, run in enumerate(runs, 1):
        method = methods[run.method]
        spec = spec_of(plan, run, **(_tuned_settings(plan, run, method, folder) if run.tuned else {}))
        record = execute(spec, method, folder / run.path, folder / "starts")
        _say(f"[{number}/{len(runs)}] {_line(record)}")
    if receipt:
        write_atomically(receipt, json.dumps({"job": job, "runs": [run.path for run in runs]}).encode())


def _line(record: Record) -> str:
    name = f"{record.task} {record.method} {' '.join(f'{k}={v}' for k, v in record.varied.items())} seed {record.seed}"
    if record.status != "ok":
        return f"{name}: {record.status}: {record.reason}"
    size = f"{record.counts.lstm_total:,} recurrent parameters"
    return f"{name}: validation {record.accuracy.validation:.1%}, {size}, {record.seconds.total:.1f} s"


def train_starts(path: Path, task_name: str, receipt: Path | None, threads: int = 1) -> None:
    """Train the dense starts that the runs on one task share; `TASK` for all seeds or `TASK/SEED` for one."""
    torch.set_num_threads(threads)
    plan, folder = read_plan(path), path.parent
    methods: dict[str, MethodFile] = find_methods(plan.plugins)
    task_name, _, only = task_name.partition("/")
    made = set()
    for run in plan.runs:
        if run.task != task_name or not plan.methods[run.method].needs_start or (only and str(run.seed) != only):
            continue
        spec = spec_of(plan, run)
        method = load(methods[run.method])(settings_of(load(methods[run.method]), run.settings, plan.experiment))
        share = method.start_share()
        if not share:
            continue
        epochs = max(1, round(share * spec.training.epochs))
        key = (run.seed, epochs, *(getattr(method.settings, k) for k in type(spec.model).model_fields))
        if key in made:
            continue
        made.add(key)
        task = load_task(spec.task, run.seed)
        dense_start(folder / "starts", spec, method.settings, task, describe(task), epochs, False)
    if receipt:
        write_atomically(receipt, json.dumps({"task": task_name, "starts": len(made)}).encode())
