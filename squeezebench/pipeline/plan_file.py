"""The plan of an experiment as a file: made, divided into jobs, estimated, written and read. Imports no torch.

Job sizes and costs follow from networks that are built without memory, which needs torch. A process of its own does
that, and the cache folder keeps its answer, so that planning again takes no longer than checking the experiment.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from squeezebench import __version__
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.places import cache_folder
from squeezebench.base.reading import read_json
from squeezebench.base.source import digest_of_package
from squeezebench.engine.provenance import machine, packages
from squeezebench.pipeline.devices import refuse_without_gpu
from squeezebench.pipeline.isolation.watch import Limits, supervised
from squeezebench.pipeline.planner import make_plan
from squeezebench.schema.experiment import Experiment
from squeezebench.schema.plan import Plan, check_origin
from squeezebench.schema.stored import SCHEMA_VERSION, NewerError, check_replaceable, refuse_newer

ESTIMATING = Limits(minutes=5.0, memory_gb=16.0)


def read_plan(path: Path, job: str | None = None) -> Plan:
    """Return the plan at `path`, with the runs of one job alone if `job` names it (checking those of 20,000 others
    would cost each job half a second). Raises InputError if it is no plan, or one of a newer schema."""
    try:
        content = read_json(path)
        refuse_newer(path, content)
        content.pop("key", None)
        if job is not None:
            content["runs"] = [run for run in content["runs"] if run["job"] == job]
        return Plan.model_validate(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except NewerError:
        raise
    except (ValueError, TypeError, AttributeError, KeyError):
        raise InputError(f"{path}: not a plan that `squeezebench plan` wrote") from None


def write_plan(
    experiment: Experiment,
    where: str,
    results: Path,
    key: str = "",
    costs: bool = True,
    tflops: float | None = None,
    files: Iterable[str] = (),
    elsewhere: bool = True,
) -> tuple[Plan, Path, dict[str, Any]]:
    """Write the plan of an experiment below `results`; return it, its path, and the answer of `sized`.

    where: the source of the experiment, for errors. key: kept in the file for the Snakefile. costs: estimate them; the
    Snakefile, which plans each time it is read, does without the seconds that this takes. tflops: of a GPU, in float32.
    files: all files of the experiment, if `where` is not the only one. elsewhere: the runs are made on another machine,
    which may have a GPU if this one has none. Raises InputError if the folder has the plan of another experiment,
    NewerError if a newer version of squeezebench wrote it.
    """
    path, files = results / experiment.name / "plan.json", list(files) or [where]
    check_replaceable(path)
    check_origin(path, files)
    plan, answer = make_plan(experiment, where), {}
    if not elsewhere:
        refuse_without_gpu({name: task.training.device for name, task in plan.tasks.items()}, where)
    if costs or experiment.runs_per_job == "auto":
        answer = sized(plan, costs, tflops)
        runs = [run.model_copy(update={"job": job}) for run, job in zip(plan.runs, answer["jobs"], strict=True)]
        plan = plan.model_copy(update={"runs": runs, "jobs": list(dict.fromkeys(answer["jobs"]))})
    origin = {"key": key, "schema_version": SCHEMA_VERSION, "squeezebench": __version__}
    origin["files"] = [os.path.relpath(Path(file).resolve(), path.parent.resolve()) for file in files]
    write_atomically(path, json.dumps(plan.model_dump(mode="json") | origin).encode())
    return plan, path, answer


def sized(plan: Plan, costs: bool, tflops: float | None) -> dict[str, Any]:
    """Return `jobs` (the job of each run) and, if asked for, the `costs` with the `lines` that say them.

    If they cannot be estimated, the runs keep the jobs that they have, and a line says why.

    Raises InputError if `tflops` is no rate.
    """
    here = [digest_of_package(["pipeline", "schema"]), packages(), machine()]
    key = digest_of([plan.model_dump(mode="json"), costs, tflops, *here])
    kept = cache_folder() / "plans" / f"{plan.experiment}.json"
    try:
        answer = read_json(kept)
        if answer.pop("key") == key and len(answer["jobs"]) == len(plan.runs):
            return answer
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        pass
    ending = supervised(lambda: _size(plan, costs, tflops), ESTIMATING)
    if ending.reason:  # a method whose `build` ends the process, say; its runs will tell, and the others can be made
        line = f"the cost of {plan.experiment} cannot be estimated: {ending.reason}"
        return {"jobs": [run.job for run in plan.runs], "costs": {}, "lines": [line]}
    answer = ending.result
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        write_atomically(kept, json.dumps(answer | {"key": key}).encode())
    return answer


def _size(plan: Plan, costs: bool, tflops: float | None) -> dict[str, Any]:
    from squeezebench.pipeline.cost.estimate import GPU_TFLOPS, estimate
    from squeezebench.pipeline.cost.foreseen import foreseen
    from squeezebench.pipeline.cost.words import words
    from squeezebench.pipeline.slurm.chunks import chunked

    if plan.config["runs_per_job"] == "auto":
        plan = chunked(plan)
    answer: dict[str, Any] = {"jobs": [run.job for run in plan.runs]}
    if costs:
        estimated = estimate(plan, GPU_TFLOPS if tflops is None else tflops)
        answer |= {"costs": estimated.as_dict(), "lines": [*words(estimated), *foreseen(plan)]}
    return answer
