"""Killed for real, and called again with the same command: the finished results are those of an undisturbed call."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import forked
import psutil
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
from forked import Forked

from squeezebench.schema.record import read_record

TRAINING = {
    "methods": {"iss": {}},  # with a dense pretraining
    "seeds": [0, 1],
    "training": {"epochs": 6, "batch_size": 64},
    "model": {"hidden": 16},
}
PLAN = "results/tiny/plan.json"
OFTEN = {"SQUEEZEBENCH_CHECKPOINT_SECONDS": "0.1"}
LONG = 60  # kills
KINDS = ("worker", "supervisor", "snakemake", "group")
SLOW = "import os, time; time.sleep(float(os.environ.get('SLOW', '0')))"


def make(folder: Path, *words: str) -> None:
    done = forked.call(list(words), folder, folder / "log")
    assert done.returncode == 0, done.stdout


def held(folder: Path) -> psutil.Process | None:
    """A worker that has been stopped; None if there is none, or if it ended first, as it may on a busy machine."""
    if worker := targets(folder).get("worker"):
        with suppress(psutil.NoSuchProcess):
            worker.suspend()
            wait_for(lambda: worker.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE))
            return worker if worker.status() == psutil.STATUS_STOPPED else None
    return None


def job(folder: Path, **environment: str) -> Forked:
    """A process that makes the only job of the experiment in `folder`, as Snakemake calls it."""
    (name,) = json.loads((folder / PLAN).read_bytes())["jobs"]
    return Forked(["job", PLAN, name], folder, folder / "log", **environment)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a finished experiment."""
    folder = write(tmp_path_factory.mktemp("undisturbed"), **TRAINING)
    make(folder, "plan", "tiny.yaml")
    assert job(folder).wait(HANGS) == 0, (folder / "log").read_text()
    return folder


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    end(tmp_path)


def test_random_kills_of_training_processes_and_their_supervisors(undisturbed, tmp_path):
    trials = Trials(bits(undisturbed), random.Random(1))
    for kind in ("worker", "supervisor", "group"):
        place = write(tmp_path / kind, **TRAINING)
        make(place, "plan", "tiny.yaml")
        trials.trial(place, lambda place=place: job(place, **OFTEN), kind, 1.5)
    assert trials.equal == 3, trials.summary()


def test_a_second_call_is_refused_until_snakemake_is_killed_and_then_goes_on_at_once(undisturbed, folder):
    """No `--unlock`. The job of the killed call ends, or finishes and is accepted; no run is made by two processes."""
    write(folder, **TRAINING)
    process = started(folder, command("--until", "runs"), **OFTEN)
    worker = wait_for(lambda: held(folder))  # so that it trains until Snakemake is killed
    second = called(folder, command())
    assert second.returncode != 0 and "Traceback" not in second.stdout
    (line,) = [line for line in second.stdout.splitlines() if "results/tiny" in line]
    assert f"process {process.pid} is making these results since" in line
    assert called(folder, command("-n")).returncode == 0  # a look is allowed
    plan = (folder / "results" / "tiny" / "plan.json").read_bytes()
    assert called(folder, command("-n", "--config", "seeds=[0,1,2]")).returncode == 0
    assert (folder / "results" / "tiny" / "plan.json").read_bytes() == plan  # it does not pull the plan away
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with suppress(psutil.NoSuchProcess):
        worker.resume()
    done = called(folder, command("--until", "runs"), **OFTEN)
    assert done.returncode == 0, done.stdout
    assert differing(bits(folder), bits(undisturbed)) == []
    wait_for(lambda: not processes_in(folder))
    assert not left_over(folder)


def test_two_processes_never_make_one_run(undisturbed, folder):
    """The same job twice at once: the second waits, then accepts the records of the first."""
    write(folder, **TRAINING)
    make(folder, "plan", "tiny.yaml")
    both = [job(folder), job(folder)]
    assert [process.wait(HANGS) for process in both] == [0, 0]
    assert "makes this run; waiting for it" in (folder / "log").read_text()
    assert differing(bits(folder), bits(undisturbed)) == [] and not left_over(folder)


def test_a_job_that_is_told_to_end_takes_its_worker_with_it(folder):
    write(folder, lines={"slow": SLOW}, methods={"odd": {"what": "slow"}}, seeds=[0])
    make(folder, "plan", "tiny.yaml")
    for number in (signal.SIGTERM, signal.SIGINT):
        process = job(folder, SLOW="1000")
        wait_for(lambda: "worker" in targets(folder))
        os.kill(process.pid, number)
        assert process.wait(HANGS) != 0
        wait_for(lambda: not processes_in(folder))
        assert not records(folder)
    assert job(folder).wait(HANGS) == 0
    assert read_record(odd(folder, "slow")).status == "ok"


@pytest.mark.long
def test_many_random_kills(undisturbed, tmp_path):
    began = time.monotonic()
    assert called(write(tmp_path / "whole", **TRAINING), command()).returncode == 0
    seconds, seed, done = time.monotonic() - began, time.time_ns(), 0
    trials = Trials(bits(undisturbed), random.Random(seed))
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
