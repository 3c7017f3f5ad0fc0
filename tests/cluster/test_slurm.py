"""The workflow through a real Slurm: the same results as here, whatever is cancelled, killed or out of time."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
import slurm
import yaml

from squeezebench.schema.record import RECORD_NAME, read_record

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PROFILE = ROOT / "workflow" / "profiles" / "slurm" / "config.yaml"
PLUGINS = "my methods; touch hacked $(touch hacked)"  # a folder's name that a shell must not read
EXPERIMENT = {
    "name": "tiny",
    "tasks": ["digits"],
    "seeds": [0, 1, 2],
    "model": {"hidden": 8},
    "training": {"epochs": 3, "batch_size": 32, "device": "auto"},
    "resources": {"memory_gb": 1.5, "minutes": 7, "gpus": 1},
    "runs_per_job": 1,
    "methods": {"slow_dense": {}},
    "plugins": [PLUGINS],
}
PLUGIN = '''"""The dense network, trained on from the dense pretraining; slowly as long as there is a file `slow`."""

import time
from pathlib import Path

from squeezebench.method import Method, RecurrentSettings, dense_classifier


class SlowDense(Method):
    title = paper = "slow dense"

    class Settings(RecurrentSettings):
        pass

    def start_share(self):
        return 0.2

    def build(self, task):
        return dense_classifier(task, self.settings)

    def after_step(self, model):
        if Path("slow").exists():
            time.sleep(1)
'''
Found = dict[str, dict]


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Cluster]:
    if reason := slurm.missing():
        pytest.skip(reason)
    try:
        with slurm.cluster(cpus=3, gpus=3) as one:
            yield one
    except slurm.NotStarted as error:
        pytest.skip(f"Slurm does not start on this machine: {error}")


def write(folder: Path, **changed: object) -> Path:
    """A user's folder: an experiment, methods of their own, and the profile with its two edits."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(EXPERIMENT | changed))
    (folder / PLUGINS).mkdir()
    (folder / PLUGINS / "slow_dense.py").write_text(PLUGIN)
    lines = PROFILE.read_text().splitlines()
    (account,) = [line for line in lines if "slurm_account:" in line]
    lines.remove(account)  # as its comment says: this cluster knows no accounts
    text = "\n".join(lines).replace('"PARTITION"', '"short"')
    assert text.count('"short"') == 1
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text(text)
    return folder


def call(folder: Path, *words: object, program: tuple[object, ...] = ("-m", "snakemake"), **more) -> subprocess.Popen:
    command = [sys.executable, *program, "-s", ROOT / "Snakefile", "--configfile", "tiny.yaml", *words]
    log = (folder / "output").open("w")
    with log:
        return subprocess.Popen(list(map(str, command)), cwd=folder, stdout=log, stderr=log, **more)


def on_slurm(cluster: slurm.Cluster, folder: Path, *words: object) -> subprocess.Popen:
    program = (HERE / "impatient.py",)
    return call(folder, "--profile", "profile", "--latency-wait", 5, *words, program=program, env=cluster.environment())


def finish(folder: Path, process: subprocess.Popen, seconds: float = 900) -> str:
    """What it printed. Fails where it has not ended well in time; ends it where it has not ended."""
    try:
        status = process.wait(seconds)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(30)
    output = (folder / "output").read_text()
    assert status == 0, output[-5000:]
    return output


def results(folder: Path) -> Found:
    """`method/settings/seed-0` -> what must not depend on where or how often a run was begun."""
    runs = folder / "results" / "tiny" / "runs" / "digits"
    found = {}
    for path in sorted(runs.rglob(RECORD_NAME)):
        record = read_record(path)
        assert record.status == "ok", record.reason
        found[path.parent.relative_to(runs).as_posix()] = {
            "accuracy": record.accuracy.model_dump(),
            "counts": record.counts.model_dump(),
            "model": record.model_digest,
            "confusion": record.confusion,
        }
    return found


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> Found:
    """The results of the same experiment without Slurm."""
    folder = write(tmp_path_factory.mktemp("local"))
    plan = "results/tiny/plan.json"
    assert forked.call(["plan", "tiny.yaml"], folder, folder / "output").returncode == 0
    for job in json.loads((folder / plan).read_text())["jobs"]:
        done = forked.call(["job", plan, job], folder, folder / "output")
        assert done.returncode == 0, done.stdout
    return results(folder)


def cancel(cluster: slurm.Cluster, job: str, pid: int) -> None:
    cluster.command("scancel", job)


def kill(cluster: slurm.Cluster, job: str, pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def out_of_time(cluster: slurm.Cluster, job: str, pid: int) -> None:
    # A few seconds ahead: Slurm refuses an end that has passed when it reads it, as `now` may have, a second later.
    cluster.command("scontrol", "update", f"JobId={job}", "EndTime=now+5")


DISTURBANCES: dict[str, Callable] = {"TIMEOUT": out_of_time, "CANCELLED": cancel, "FAILED": kill}


def disturb(cluster: slurm.Cluster, folder: Path, process: subprocess.Popen, seed: int, times: int) -> list[str]:
    """End running jobs in turn, each once at a random moment of its training; the states that Slurm gives them."""
    random_moment = random.Random(seed)
    ends, met = list(DISTURBANCES.items()), []
    seen: set[str] = set()
    until = time.monotonic() + 600 + 60 * times
    (folder / "slow").touch()
    while len(met) < times and process.poll() is None and time.monotonic() < until:
        for pid in cluster.processes_of("squeezebench job"):
            job = slurm.job_of(pid)
            if job is None or job in seen or len(met) >= times or "/slow_dense/" not in slurm.command_of(pid):
                continue
            if not slurm.is_python(pid) or slurm.is_worker(pid):
                continue
            seen.add(job)
            state, end = ends[len(met) % len(ends)]
            time.sleep(random_moment.uniform(0, 4))
            if Path(f"/proc/{pid}").exists():
                end(cluster, job, pid)
                met.append(state)
        time.sleep(0.2)
    while seen & cluster.jobs("RUNNING", "COMPLETING").keys() and time.monotonic() < until:
        time.sleep(0.2)  # Slurm looks every 30 s for jobs that are out of time
    (folder / "slow").unlink()
    return met


def test_an_experiment_runs_through_the_profile_to_its_report_whatever_ends_its_jobs(cluster, local, tmp_path):
    folder = write(tmp_path / "a folder; touch hacked")
    process = on_slurm(cluster, folder)
    met = disturb(cluster, folder, process, seed=0, times=3)
    output = finish(folder, process)
    assert results(folder) == local and len(local) == 3
    assert (folder / "results" / "tiny" / "report.html").exists()
    assert "Submitted 3 jobs of rule runs as Slurm job array" in output  # the seeds of a method
    tried = Counter(cluster.jobs().values())  # pretraining, three runs and the report; each run was ended once
    assert sorted(met) == sorted(DISTURBANCES) and tried == Counter(met) + Counter(COMPLETED=5), cluster.jobs()
    jobs = cluster.command("scontrol", "show", "jobs", "-o").splitlines()
    asked = [line for line in jobs if "Comment=rule_runs " in line]
    assert len(asked) == 6, jobs
    for what in ("TresPerJob=gres:gpu:1 ", "MinMemoryNode=2500M"):  # 1.5 GB and the margin
        assert all(what in line for line in asked), (what, asked)
    assert sum("TimeLimit=00:07:00" in line for line in asked) >= 5, asked  # one was given less, to be out of time
    assert not list(tmp_path.rglob("hacked")) and not (ROOT / "hacked").exists()


@pytest.mark.long
def test_jobs_ended_more_often_than_they_are_tried_again_are_finished_by_the_same_command(cluster, local, tmp_path):
    folder, times = write(tmp_path / "disturbed"), 24
    before = set(cluster.jobs())
    met: list[str] = []
    for attempt in range(1 + times):
        process = on_slurm(cluster, folder, "--until", "runs")
        met += disturb(cluster, folder, process, attempt, min(3, times - len(met)))
        process.wait(1200)
        if len(met) >= times and process.returncode == 0:
            break
        if process.returncode == 0:  # finished before it was disturbed often enough: the runs are made once more
            for path in (folder / "results" / "tiny" / "runs" / "digits" / "slow_dense").rglob(RECORD_NAME):
                path.unlink()
    assert results(folder) == local, (folder / "output").read_text()[-3000:]
    states = [state for job, state in cluster.jobs().items() if job not in before]
    assert len(met) >= times and set(DISTURBANCES) <= set(states), (met, states)
    print(json.dumps(Counter(states)))
