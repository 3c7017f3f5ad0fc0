"""Which runs share a job, `runs_per_job: auto`: as few as keep the cost of starting jobs under a tenth of the time.

A job of one run each costs the most; a job of all runs keeps cores idle. The methods of squeezebench share the jobs of
a task, those that need the dense pretraining apart from the others, which need not wait for it. A method that is tuned
has jobs of its own, as its runs wait for its trials; so has a plugin, whose file is edited more often, and which may
take its time.

What a job costs before it trains was measured (config/README.md), and what a run takes is estimated as `squeezebench
plan` does, but on a nominal core that is the same everywhere: a plan must not depend on who makes it, since jobs are
named by what they run. Records are kept per run, so another division into jobs makes none of them again.
"""

from __future__ import annotations

import json
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS
from squeezebench.method.discovery import find_methods
from squeezebench.pipeline.cost.estimate import (
    MEASURING_SECONDS,
    epoch_seconds,
    epochs_of,
    expected,
    info_of,
    planned_network,
    shares,
    usable_methods,
)
from squeezebench.pipeline.cost.throughput import Throughput
from squeezebench.pipeline.isolation.watch import answer_of
from squeezebench.pipeline.planner import named_jobs
from squeezebench.schema.plan import Plan, PlannedRun

START_SECONDS = 5.0  # of a Slurm job before it trains, on the nominal core, see config/README.md
SHARE = 0.1
SEVERAL = "several"  # takes the place of the method in the name of a job of several methods
MEASURED = 32
NOMINAL = Throughput(  # twice as fast as the machine on which a start took 10 s
    wide=200e9,
    narrow=200e9,
    batch=5e-4,
    step=2e-5,
    element=2e-9,
    parameter=1e-9,
    about="a fast core (nominal)",
    convolution=200e9,
    activation=4e-9,
)


def chunked(plan: Plan) -> Plan:
    """The plan with each job as short as `SHARE` allows; runs of unknown length stay together by their seeds."""
    seconds, seeds = _seconds(plan), len({run.seed for run in plan.runs})
    least = START_SECONDS * (1 / SHARE - 1)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, run in enumerate(plan.runs):
        groups.setdefault(_group(plan, run), []).append(number)
    runs = list(plan.runs)
    for members in groups.values():
        takes = [least / seeds if seconds[number] is None else seconds[number] for number in members]
        for part, own in enumerate(_parts(members, takes, least)):
            methods = {runs[number].method for number in own}
            name = f"{runs[own[0]].task}/{SEVERAL if len(methods) > 1 else methods.pop()}/{part}"
            job = f"{name} {members[0]}"  # another group may have parts of this name
            for number in own:
                runs[number] = runs[number].model_copy(update={"job": job})
    runs = named_jobs(runs, plan.tasks, plan.protocol)
    return plan.model_copy(update={"runs": runs, "jobs": list(dict.fromkeys(run.job for run in runs))})


def _group(plan: Plan, run: PlannedRun) -> tuple[str, ...]:
    """Equal for runs that may share a job."""
    method = plan.methods[run.method]
    if run.tuned or method.path is None or Path(method.path).parent != METHODS:
        return run.task, run.method
    return run.task, "", "start" if method.needs_start else ""


def _parts(members: list[int], takes: list[float], least: float) -> list[list[int]]:
    """`members` in parts that take `least` or more; less than a third of that at the end joins the part before it."""
    parts, together = [[]], 0.0
    for member, seconds in zip(members, takes, strict=True):
        if together >= least:
            parts.append([])
            together = 0.0
        parts[-1].append(member)
        together += seconds
    if len(parts) > 1 and together < least / 3:
        rest = parts.pop()
        parts[-1] += rest
    return parts


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
    if (info := info_of(task, sizes, plan.plugins)) is None:
        return None
    parts = shares(task, sizes, plan.plugins)
    planned = planned_network(methods[run.method], run, info)
    if planned is None:  # skips the task
        return 0.0
    method, network = planned
    training = task.training
    rest = max(0, training.length - training.pretraining(method.start_share()))
    watched = parts[1] + (parts[2] if plan.protocol == "as_released" else 0)
    each = epoch_seconds(NOMINAL, network, training.batch_size, parts[0], watched)
    return epochs_of(training, rest, parts[0]) * each + MEASURING_SECONDS + network.forward_seconds(NOMINAL, sum(parts))
