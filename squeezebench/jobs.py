"""What a Snakemake job does: the runs of one method on one task, one after the other in one process.

Importing torch costs seconds, so a job may hold many runs; a receipt is written when all have a record. A job that
was interrupted goes on from the records that are there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from .discovery import MethodFile, find_methods, load
from .errors import InputError
from .plan import Plan, PlannedRun
from .record import Record, write_atomically
from .run import RunSpec, execute, settings_of
from .start import dense_start
from .task import load_task
from .training import describe


def _read(path: Path) -> Plan:
    try:
        content = json.loads(path.read_bytes())
        content.pop("key", None)
        return Plan.model_validate(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError):
        raise InputError(f"{path}: not a plan that `squeezebench plan` wrote") from None


def spec_of(plan: Plan, run: PlannedRun) -> RunSpec:
    """A planned run with all that its task's runs share."""
    task = plan.tasks[run.task]
    return RunSpec(
        experiment=plan.experiment,
        task=task.spec,
        fingerprint=task.fingerprint,
        method=run.method,
        settings=run.settings,
        varied=run.varied,
        seed=run.seed,
        training=task.training,
        model=task.model,
        protocol=plan.protocol,
    )


def run_job(path: Path, job: str, receipt: Path | None, threads: int = 1) -> None:
    """Make all runs of `job` that have no valid record yet, then write the receipt."""
    torch.set_num_threads(threads)
    plan, folder = _read(path), path.parent
    methods = find_methods(plan.plugins)
    runs = [run for run in plan.runs if run.job == job]
    if not runs:
        raise InputError(f"{path}: no job {job!r}")
    for number, run in enumerate(runs, 1):
        record = execute(spec_of(plan, run), methods[run.method], folder / run.path, folder / "starts")
        print(f"[{number}/{len(runs)}] {_line(record)}", file=sys.stderr, flush=True)
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
    plan, folder = _read(path), path.parent
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
