"""How many runs share a job, `runs_per_job: auto`: as few as keep the cost of starting jobs under a tenth of the time.

A job of one run each costs a cluster the most; a job of all runs of a method keeps them waiting for one another. What
a job costs before it trains was measured (config/README.md), and what a run takes is estimated as `squeezebench plan`
does, but on a nominal core, fast and the same everywhere: a plan must not depend on who makes it, since jobs are named
by what they run. A slower core only makes the share of the start smaller. Records are kept per run, so another
division into jobs makes none of them again.
"""

from __future__ import annotations

import json

from squeezebench.base.errors import InputError
from squeezebench.method.discovery import find_methods
from squeezebench.pipeline.cost.estimate import (
    MEASURING_SECONDS,
    epoch_seconds,
    epochs_of,
    expected,
    planned_network,
    shares,
    usable_methods,
)
from squeezebench.pipeline.cost.throughput import Throughput
from squeezebench.pipeline.isolation.watch import answer_of
from squeezebench.pipeline.planner import named_jobs
from squeezebench.schema.kind import kind_of
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.plan import Plan, PlannedRun

START_SECONDS = 10.0  # of a Slurm job before it trains, see config/README.md
SHARE = 0.1
MEASURED = 32
NOMINAL = Throughput(  # twice as fast as the machine on which START_SECONDS was measured
    wide=200e9,
    narrow=200e9,
    batch=5e-4,
    step=2e-5,
    element=2e-9,
    parameter=1e-9,
    about="a fast core (nominal)",
)


def chunked(plan: Plan) -> Plan:
    """The plan with each job as short as `SHARE` allows; runs of unknown length stay together by their seeds."""
    seconds, seeds = _seconds(plan), len({run.seed for run in plan.runs})
    least = START_SECONDS * (1 / SHARE - 1)
    filled: dict[tuple[str, str], tuple[int, float]] = {}  # the job in hand and its seconds
    runs = []
    for run, takes in zip(plan.runs, seconds, strict=True):
        number, together = filled.get((run.task, run.method), (0, 0.0))
        if together >= least:
            number, together = number + 1, 0.0
        filled[run.task, run.method] = number, together + (takes or least / seeds)
        runs.append(run.model_copy(update={"job": f"{run.task}/{run.method}/{number}"}))
    runs = named_jobs(runs, plan.tasks, plan.protocol)
    return plan.model_copy(update={"runs": runs, "jobs": list(dict.fromkeys(run.job for run in runs))})


def _seconds(plan: Plan) -> list[float | None]:
    """Of each run on the nominal core, its dense pretraining aside; None if only the data or the method can tell.

    A method's first `MEASURED` settings on a task are estimated (milliseconds each); any more count as the shortest of
    those, so that their jobs are rather too long than too short.
    """
    methods, files = usable_methods(plan), find_methods(plan.plugins)
    runs: dict[tuple[str, str], dict[str, PlannedRun]] = {}
    for run in plan.runs:
        runs.setdefault((run.task, run.method), {}).setdefault(_key(run), run)
    known: dict[str, float | None] = {}
    for name in methods:
        own = [list(settings.items()) for (_, method), settings in runs.items() if method == name]
        asked = [entry for settings in own for entry in settings[:MEASURED]]
        answer = answer_of(files[name], lambda asked=asked: [_run_seconds(plan, run, methods) for _, run in asked])
        known |= dict(zip([key for key, _ in asked], answer.result or [None] * len(asked), strict=True))
        for settings in own:
            shortest = min((known[key] for key, _ in settings[:MEASURED] if known[key] is not None), default=None)
            known |= {key: shortest for key, _ in settings[MEASURED:]}
    return [known.get(_key(run)) for run in plan.runs]


def _key(run: PlannedRun) -> str:
    return json.dumps([run.task, run.method, run.settings], sort_keys=True)


def _run_seconds(plan: Plan, run: PlannedRun, methods: dict) -> float | None:
    task = plan.tasks[run.task]
    try:
        sizes = expected(task, plan.plugins)
    except InputError:  # the runs will say so
        return None
    steps = task.spec.frames or sizes.steps
    if None in (sizes.sequences, steps, sizes.inputs, sizes.classes):
        return None
    parts = shares(task, sizes, plan.plugins)
    kind = kind_of(sizes.frame, steps)
    info = TaskInfo(task.spec.name, kind, sizes.inputs, steps, sizes.classes, False, parts[0], sizes.frame)
    planned = planned_network(methods[run.method], run, info)
    if planned is None:  # skips the task
        return None
    method, network = planned
    training = task.training
    rest = max(0, training.length - training.pretraining(method.start_share()))
    watched = parts[1] + (parts[2] if plan.protocol == "as_released" else 0)
    each = epoch_seconds(NOMINAL, network, training.batch_size, parts[0], watched)
    return epochs_of(training, rest, parts[0]) * each + MEASURING_SECONDS + network.forward_seconds(NOMINAL, sum(parts))
