"""Large experiments: planning and gathering grow with the number of runs and no faster; a job reads its own runs.

How many seconds 20,000 runs take, `python -m benchmarks.scale` says.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from pathlib import Path

import pytest
from synthetic_records import make

from squeezebench.base.errors import InputError
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.pipeline.planner import make_plan
from squeezebench.report.gather import gather
from squeezebench.schema.experiment import check_experiment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.scale import SMALLEST_GROWTH, Cost, experiment, exponent, table

MORE = 8  # times as many runs
MOST = 2.5 * MORE  # linear is 8, quadratic 64


def seconds(call) -> float:
    """Processor time, the better of two, so that a moment of the machine does not decide."""
    taken = []
    for _ in range(2):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


def calls(call) -> float:
    """Calls of functions, which no load changes."""
    profile = cProfile.Profile()
    profile.runcall(call)
    return pstats.Stats(profile).total_calls


measures = pytest.mark.parametrize("measure", [calls, pytest.param(seconds, marks=pytest.mark.long)])


@measures
def test_planning_grows_with_the_number_of_runs_and_no_faster(measure):
    small, large = (check_experiment({"name": "n"} | experiment(runs, 1), "here") for runs in (500, 500 * MORE))
    assert len(make_plan(large, "here").jobs) == MORE * len(make_plan(small, "here").jobs) == MORE * 500
    assert measure(lambda: make_plan(large, "here")) < MOST * measure(lambda: make_plan(small, "here"))


@measures
def test_gathering_grows_with_the_number_of_records_and_no_faster(measure, tmp_path):
    for name, seeds in (("small", 3), ("large", 3 * MORE)):
        make(tmp_path / name, methods=("dense", "magnitude", "vib_lstm"), seeds=seeds)
    assert len(gather(tmp_path / "large").runs) == MORE * len(gather(tmp_path / "small").runs)
    assert measure(lambda: gather(tmp_path / "large")) < MOST * measure(lambda: gather(tmp_path / "small"))


@pytest.fixture
def plan(tmp_path) -> Path:
    made = make_plan(check_experiment({"name": "n"} | experiment(500, 1), "here"), "here")
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(made.model_dump(mode="json") | {"key": "k"}))
    return path


def test_a_job_reads_its_own_runs_and_what_they_share(plan):
    whole = read_plan(plan)
    job = whole.jobs[123]
    own = read_plan(plan, job)
    assert own.runs == [run for run in whole.runs if run.job == job] and len(own.runs) == 1
    assert own.model_copy(update={"runs": whole.runs}) == whole
    assert read_plan(plan, "no/such/job").runs == []


def test_a_plan_whose_runs_have_no_job_is_one_line(plan):
    content = json.loads(plan.read_bytes())
    del content["runs"][0]["job"]
    plan.write_text(json.dumps(content))
    for job in (None, "task_0/iss/0"):
        with pytest.raises(InputError, match=r"plan\.json: not a plan that `squeezebench plan` wrote"):
            read_plan(plan, job)


def test_the_exponent_of_growth():
    runs = [500, 2500, 5000, 20000]
    assert exponent(runs, [3 + 0.001 * n for n in runs]) == pytest.approx(1)
    assert exponent(runs, [3 + 1e-6 * (n - 500) ** 2 for n in runs]) == pytest.approx(2)
    assert exponent(runs, [3 + 0.9 * SMALLEST_GROWTH * n / 20000 for n in runs]) is None
    assert exponent([500], [3]) is None


def test_two_sizes_are_not_called_flat():
    cost = Cost(1.0, 1.0, 100.0)
    assert "flat" in table({size: {"gather": cost} for size in (500, 1000, 2000)})
    assert "flat" not in table({size: {"gather": cost} for size in (500, 1000)})
