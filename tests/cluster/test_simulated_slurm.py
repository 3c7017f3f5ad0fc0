"""A thousand jobs through Snakemake's Slurm executor and this project's profile, on a synthetic cluster that fails.

`simulated.py` says what is real in it. The small form runs always, the thousand jobs on demand: pytest -m long.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from simulated import ACCOUNT, FATES, MOST_FAILURES, PARTITION, cluster

from squeezebench.report.gather import gather

ROOT = Path(__file__).resolve().parents[2]
IMPATIENT = Path(__file__).with_name("impatient.py")
RATIOS = [2, 3, 5, 8, 12, 20, 30, 50, 80, 120]


def call(folder: Path, *more: str, timeout: float) -> subprocess.CompletedProcess:
    """Snakemake with the profile after a user's two edits."""
    profile = (ROOT / "workflow/profiles/slurm/config.yaml").read_text()
    edited = profile.replace('"ACCOUNT"', ACCOUNT).replace('"PARTITION"', PARTITION)
    assert edited != profile
    (folder / "profile").mkdir(exist_ok=True)
    (folder / "profile/config.yaml").write_text(edited)
    command = [sys.executable, str(IMPATIENT), "-s", str(ROOT / "Snakefile"), "--configfile", "many.yaml",
               "--profile", "profile", "--latency-wait", "5", *more]  # fmt: skip
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.mark.parametrize(
    ("tasks", "seeds", "timeout"),
    [pytest.param(1, 2, 1200, id="20 jobs"), pytest.param(10, 10, 3000, id="1000 jobs", marks=pytest.mark.long)],
)
def test_an_experiment_of_many_jobs_survives_a_cluster_that_fails(tasks, seeds, timeout, tmp_path):
    """Each run has its record, the report holds them all, and no job was submitted again without a failure."""
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="the Slurm executor is not installed")
    runs = tasks * seeds * len(RATIOS)
    many = {
        "tasks": {f"task_{number}": {"source": "digits"} for number in range(tasks)},
        "methods": {"small_dense": {"ratio": RATIOS}},
        "seeds": list(range(seeds)),
        "runs_per_job": 1,
    }
    (tmp_path / "many.yaml").write_text(yaml.safe_dump(many))
    with cluster(tmp_path) as made:
        done = call(tmp_path, timeout=timeout)
        (tmp_path / "said.txt").write_text(done.stderr)
        assert done.returncode == 0, done.stderr[-4000:]
        again = call(tmp_path, timeout=timeout)

    found = gather(tmp_path / "results/many")
    assert len(found.runs) == runs and (found.runs["status"] == "ok").all() and found.left_out.empty
    assert found.problems.empty
    assert f"{runs:,}" in (tmp_path / "results/many/report.html").read_text()
    jobs = {what: number for what, number in made.submitted.items() if what.startswith("runs")}
    assert len(jobs) == runs
    assert {what: number - made.failed[what] for what, number in jobs.items()} == dict.fromkeys(jobs, 1)
    assert max(jobs.values()) <= 1 + MOST_FAILURES
    assert made.fates, "the cluster should have failed"
    assert runs < 1000 or set(made.fates) == set(FATES)
    assert again.returncode == 0 and "Nothing to be done" in again.stderr
    assert len(made.submitted) == runs + 1  # and the report, once
