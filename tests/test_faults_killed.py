"""Killed for real, and called again with the same command: the finished results are those of an undisturbed call."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from faults import (
    HANGS,
    Trials,
    bits,
    called,
    command,
    differing,
    end,
    left_over,
    odd,
    processes_in,
    records,
    started,
    targets,
    wait_for,
    write,
)

from squeezebench.schema.record import read_record

TRAINING = {
    "methods": {"iss": {}},  # with a dense pretraining
    "seeds": [0, 1],
    "training": {"epochs": 30, "batch_size": 64},
    "model": {"hidden": 32},
}
OFTEN = {"SQUEEZEBENCH_CHECKPOINT_SECONDS": "0.1"}
LONG = 60  # kills
KINDS = ("worker", "supervisor", "snakemake", "group")
SLOW = "import os, time; time.sleep(float(os.environ.get('SLOW', '0')))"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished experiment: (folder, its bits, seconds)."""
    folder = write(tmp_path_factory.mktemp("undisturbed"), **TRAINING)
    began = time.monotonic()
    done = called(folder, command())
    assert done.returncode == 0, done.stdout
    return folder, bits(folder), time.monotonic() - began


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    end(tmp_path)


def planned(undisturbed: Path, folder: Path) -> list[str]:
    """The plan and the starts of the experiment without its runs; the commands that make them, without Snakemake."""
    shutil.copytree(undisturbed, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".snakemake", "log"))
    for what in ("runs", "jobs", "starts"):
        shutil.rmtree(folder / "results" / "tiny" / what)
    base = f"{sys.executable} -m squeezebench"
    jobs = [path.relative_to(undisturbed / "results/tiny/jobs").with_suffix("") for path in sorted(
        (undisturbed / "results" / "tiny" / "jobs" / "digits").rglob("*.json"))]  # fmt: skip
    return ["bash", "-ec", "; ".join(f"{base} job results/tiny/plan.json {job}" for job in jobs)]


def test_random_kills_of_training_processes_and_their_supervisors(undisturbed, tmp_path):
    whole, reference, _ = undisturbed
    trials = Trials(reference, random.Random(1))
    for number, kind in enumerate(["worker", "supervisor", "group"]):
        place = tmp_path / str(number)
        jobs = planned(whole, place)
        trials.trial(place, lambda place=place, jobs=jobs: started(place, jobs, **OFTEN), kind, 10.0)
    assert trials.equal == 3, trials.summary()


def test_snakemake_is_killed_alone_and_the_same_command_at_once_goes_on(undisturbed, folder):
    """No `--unlock`. Its job ends, or finishes and is accepted; no run is made by two processes."""
    write(folder, **TRAINING)
    process = started(folder, command(), **OFTEN)
    wait_for(lambda: "worker" in targets(folder))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = called(folder, command(), **OFTEN)
    assert done.returncode == 0, done.stdout
    assert differing(bits(folder), undisturbed[1]) == []
    wait_for(lambda: not processes_in(folder))
    assert not left_over(folder)


def test_a_second_call_on_one_folder_of_results_is_refused_in_one_line(folder):
    write(folder, lines={"slow": SLOW}, methods={"odd": {"what": "slow"}}, seeds=[0])
    process = started(folder, command(), SLOW="1000")
    wait_for(lambda: "worker" in targets(folder))
    second = called(folder, command())
    assert second.returncode != 0 and "Traceback" not in second.stdout
    (line,) = [line for line in second.stdout.splitlines() if "results/tiny" in line]
    assert f"process {process.pid} is making these results since" in line
    assert called(folder, command("-n")).returncode == 0  # a look is allowed
    changed = called(folder, command("-n", "--config", "seeds=[0,1]"))
    assert changed.returncode != 0 and f"process {process.pid}" in changed.stdout  # but not to pull the plan away


def test_two_processes_never_make_one_run(undisturbed, folder):
    """The same job twice at once: the second waits, then accepts the records of the first."""
    jobs = planned(undisturbed[0], folder)
    both = [started(folder, jobs), started(folder, jobs)]
    assert [process.wait(HANGS) for process in both] == [0, 0]
    log = (folder / "log").read_text()
    assert "makes this run; waiting for it" in log
    assert differing(bits(folder), undisturbed[1]) == [] and not left_over(folder)


def test_a_job_that_is_told_to_end_takes_its_worker_with_it(folder):
    write(folder, lines={"slow": SLOW}, methods={"odd": {"what": "slow"}}, seeds=[0])
    assert called(folder, [sys.executable, "-m", "squeezebench", "plan", "tiny.yaml"]).returncode == 0
    plan = folder / "results" / "tiny" / "plan.json"
    (job,) = json.loads(plan.read_text())["jobs"]
    words = [sys.executable, "-m", "squeezebench", "job", str(plan), job]
    for number in (signal.SIGTERM, signal.SIGINT):
        process = started(folder, words, SLOW="1000")
        wait_for(lambda: "worker" in targets(folder))
        os.kill(process.pid, number)
        assert process.wait(HANGS) != 0
        wait_for(lambda: not processes_in(folder))
        assert not records(folder)
    done = called(folder, words)
    assert read_record(odd(folder, "slow")).status == "ok", done.stdout


@pytest.mark.long
def test_many_random_kills(undisturbed, tmp_path):
    _, reference, seconds = undisturbed
    seed = time.time_ns()
    trials = Trials(reference, random.Random(seed))
    done = 0
    while trials.killed.total() < LONG:
        place, kind = tmp_path / str(done), KINDS[done % len(KINDS)]
        write(place, **TRAINING)
        trials.trial(place, lambda place=place: started(place, command(), **OFTEN), kind, 0.8 * seconds)
        done += 1
        print(f"trial {done}: {kind}; {trials.summary()}", flush=True)
        shutil.rmtree(place)
        assert done <= 2 * LONG, "most calls end before they are killed"
    print(f"seed {seed}, {done} trials: {trials.summary()}")
    assert trials.equal == done
