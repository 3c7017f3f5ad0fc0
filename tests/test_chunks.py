"""How runs are divided into jobs, and what the jobs ask a scheduler for."""

from __future__ import annotations

from collections import Counter

import pytest

from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS
from squeezebench.pipeline.cost.estimate import estimate
from squeezebench.pipeline.planner import make_plan
from squeezebench.pipeline.slurm.allocation import LONGEST_MINUTES, MARGIN_MB, Allocation
from squeezebench.pipeline.slurm.chunks import (
    MEASURED,
    NOMINAL,
    SEVERAL,
    SHARE,
    START_SECONDS,
    _parts,
    _seconds,
    chunked,
)
from squeezebench.schema.experiment import check_experiment
from squeezebench.schema.plan import Plan

BASE = {
    "name": "e",
    "tasks": ["digits"],
    "seeds": list(range(50)),
    "model": {"hidden": 64},
    "training": {"epochs": 100, "batch_size": 16},
    "methods": {"dense": {}},
}


def plan_of(**changed: object) -> Plan:
    return make_plan(check_experiment(BASE | changed, "e.yaml"), "e.yaml")


def sizes(plan: Plan) -> list[int]:
    """Runs in each job, in the order of the runs."""
    return list(Counter(run.job for run in plan.runs).values())


def test_a_job_is_long_enough_that_its_start_costs_less_than_a_tenth_and_no_longer():
    plan = chunked(plan_of())
    each = 3600 * estimate(plan, cpu=NOMINAL).tasks["digits"].cpu_core_hours / len(plan.runs)
    full = sizes(plan)[:-1]
    assert len(full) > 1
    for number in full:  # the last one holds what is left
        assert START_SECONDS / (START_SECONDS + number * each) <= SHARE
        assert START_SECONDS / (START_SECONDS + (number - 1) * each) > SHARE
    assert plan.jobs == list(dict.fromkeys(run.job for run in plan.runs)) and sum(sizes(plan)) == 50


def test_long_runs_have_a_job_each_and_short_ones_share_one():
    assert sizes(chunked(plan_of(training={"epochs": 20_000, "batch_size": 16}))) == [1] * 50
    assert sizes(chunked(plan_of(training={"epochs": 2, "batch_size": 128}))) == [50]
    images = {"tasks": ["digits_images"], "methods": {"dense_network": {}}, "model": {"network": "resnet_20"}}
    assert sizes(chunked(plan_of(**images, training={"epochs": 500, "batch_size": 16}))) == [1] * 50


def test_of_many_settings_the_first_are_estimated_and_the_others_are_taken_for_the_shortest_of_them():
    ratios = [1 + number / 10 for number in range(MEASURED + 100)]
    plan = plan_of(methods={"small_dense": {"ratio": ratios}}, seeds=[0, 1])
    seconds = _seconds(plan)
    assert len(set(seconds[: 2 * MEASURED])) > 1 and seconds[0] == seconds[1]  # two seeds
    assert set(seconds[2 * MEASURED :]) == {min(seconds[: 2 * MEASURED])}


def test_methods_share_jobs_unless_they_wait_for_something_or_are_plugins(tmp_path):
    """Waiting: for the dense pretraining, or for trials."""
    plugin = tmp_path / "own.py"
    plugin.write_text((METHODS / "dense.py").read_text())
    methods = {"dense": {}, "small_dense": {}, "iss": {}, "vib_lstm": {}, "own": {}, "low_rank": {}}
    tuning = {"trials": 2, "methods": ["low_rank"]}
    short = {"training": {"epochs": 5}, "tuning": tuning, "methods": methods, "plugins": [str(plugin)], "seeds": [0, 1]}
    plan = chunked(plan_of(tasks=["digits", "basic_motions"], **short))
    together: dict[str, set[str]] = {}
    for run in plan.runs:
        together.setdefault(run.job, set()).add(run.method)
    names = {run.job: [run.task, SEVERAL if len(together[run.job]) > 1 else run.method] for run in plan.runs}
    assert all(job.split("/")[:2] == name for job, name in names.items())
    expected = [{"dense", "small_dense"}, {"iss", "vib_lstm"}, {"own"}, {"low_rank"}]
    assert sorted(map(sorted, together.values())) == sorted(map(sorted, 2 * expected))


def test_a_short_rest_joins_the_job_before_it_and_skipped_runs_take_no_time():
    assert _parts([1, 2, 3, 4], [6.0, 5.0, 9.0, 3.0], least=10) == [[1, 2], [3, 4]]
    assert _parts([1, 2, 3], [6.0, 5.0, 3.0], least=10) == [[1, 2, 3]]
    assert _parts([1, 2, 3], [6.0, 5.0, 4.0], least=10) == [[1, 2], [3]]
    assert set(_seconds(plan_of(methods={"tt_lstm": {"ratio": [1000]}}))) == {0.0}


def test_another_division_changes_neither_the_runs_nor_where_their_records_are():
    runs = [[run.model_dump(exclude={"job"}) for run in plan_of(runs_per_job=n).runs] for n in (1, 7, "auto")]
    runs.append([run.model_dump(exclude={"job"}) for run in chunked(plan_of()).runs])
    assert all(one == runs[0] for one in runs)


def test_the_division_is_the_same_each_time_and_where_runs_are_added_the_full_jobs_keep_their_names():
    plan = chunked(plan_of())
    assert chunked(plan_of()).jobs == plan.jobs
    assert chunked(plan_of(seeds=list(range(80)))).jobs[: len(plan.jobs) - 1] == plan.jobs[:-1]


@pytest.mark.parametrize("bad", [0, "often", 1.5])
def test_a_number_of_runs_that_is_none_is_one_clear_line(bad):
    with pytest.raises(InputError, match=r"^e.yaml: runs_per_job.*\(got ") as error:
        plan_of(runs_per_job=bad)
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------- what jobs ask for


def asked(**changed: object) -> tuple[Allocation, Plan]:
    plan = plan_of(**changed)
    return Allocation(plan.model_dump(mode="json")), plan


def test_memory_and_time_of_a_job_follow_from_the_experiment():
    allocation, plan = asked(resources={"memory_gb": 2.5, "minutes": 10}, runs_per_job=4)
    assert allocation.memory("digits") == 2500 + MARGIN_MB
    assert allocation.run_minutes("digits", plan.jobs[0]) == 40
    assert allocation.start_minutes("digits") == 500  # a start for each seed
    assert allocation.gpus("digits") == 0


def test_no_job_asks_for_more_than_a_day_unless_one_run_does():
    allocation, plan = asked(resources={"minutes": 600}, runs_per_job=10)
    assert allocation.run_minutes("digits", plan.jobs[0]) == LONGEST_MINUTES
    allocation, plan = asked(resources={"minutes": 3000}, runs_per_job=10)
    assert allocation.run_minutes("digits", plan.jobs[0]) == 3000


def test_a_task_asks_for_its_own():
    tasks = {"digits": None, "basic_motions": {"resources": {"memory_gb": 1}, "training": {"device": "cuda"}}}
    allocation, _ = asked(tasks=tasks, resources={"memory_gb": 4})
    assert (allocation.memory("digits"), allocation.memory("basic_motions")) == (4000 + MARGIN_MB, 1000 + MARGIN_MB)
    assert (allocation.gpus("digits"), allocation.gpus("basic_motions")) == (0, 1)  # cuda needs one


def test_a_gpu_that_would_stand_idle_is_one_clear_line():
    with pytest.raises(InputError, match="gpus: 2 would stand idle; set training: device: cuda"):
        plan_of(resources={"gpus": 2})
    assert asked(resources={"gpus": 2}, training={"device": "auto"})[0].gpus("digits") == 2
