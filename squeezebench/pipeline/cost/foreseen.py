"""What a plan tells of its runs before they are made: which will be skipped, which are too short to be trained, and
whether any ends at the ratio at which the methods are compared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

from squeezebench.data.dataset import Expected
from squeezebench.method.base import Method
from squeezebench.pipeline.cost.estimate import expected, info_of, usable_methods
from squeezebench.schema.experiment import compared_at
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.plan import Plan, PlannedRun, PlannedTask


def foreseen(plan: Plan) -> list[str]:
    """A line each on the runs that will be skipped and on those that will fail: how many, and the first reason; and
    on the tasks where no run is given the ratio of the comparison or a larger one."""
    skipped, short, apart = [], [], []
    for name, task in plan.tasks.items():
        sizes, asked = expected(task, plan.plugins), []
        for run, method, info in _runs(plan, name, task, sizes):
            where = f"{name}/{run.method}"
            if info is not None and (reason := method.skip(info)):
                skipped.append(f"{where}: {reason}")
            elif reason := _too_short(task, method):
                short.append(f"{where}: {reason}")
            elif ratio := run.settings.get("ratio"):
                asked.append(ratio)
        at = compared_at(plan.config.get("compare_at"), name)
        if asked and max(asked) < at:
            apart.append(f"{name}: methods are compared at {at:g}x, and none is asked for more than {max(asked):g}x")
    kinds = (("skipped", skipped, "will be skipped"), ("too short", short, "will fail"))
    lines = [
        f"{kind}: {len(reasons)} of {len(plan.runs)} runs {will}, the first of them {reasons[0]}"
        for kind, reasons, will in kinds
        if reasons
    ]
    return lines + ([f"comparison: {apart[0]}; see compare_at"] if apart else [])


def _runs(
    plan: Plan, name: str, task: PlannedTask, sizes: Expected
) -> Iterator[tuple[PlannedRun, Method, TaskInfo | None]]:
    """The runs on a task with their methods; the task's description is None if only the data can tell it."""
    classes, methods = usable_methods(plan), {}
    info = info_of(task, sizes, plan.plugins)
    for run in plan.runs:
        if run.task == name and run.method in classes:
            key = json.dumps([run.method, run.settings], sort_keys=True)
            if key not in methods:
                methods[key] = classes[run.method](classes[run.method].Settings(**run.settings))
            yield run, methods[key], info


def _too_short(task: PlannedTask, method: Method) -> str:
    with suppress(Exception):  # a plugin's hook may need what the engine gives it: the run will tell
        share = 0.0 if method.start_file() else method.start_share()
        return task.training.too_short(share, len(method.stages()))
    return ""
