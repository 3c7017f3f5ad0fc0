"""Which jobs share a job array and what is submitted: the executor's own sbatch line, a `sbatch` that notes it down.

A real Slurm is in tests/cluster/; this needs none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from squeezebench.pipeline.slurm import arrays

ROOT = Path(__file__).resolve().parents[1]
SBATCH = """#!/bin/sh
{ echo "$@"; cat; } > "$NOTES/$$"
case "$*" in *--gpus*) echo "sbatch: error: invalid partition" >&2; exit 1 ;; esac
echo $$
"""
# All tasks of all arrays have failed: nothing is run, and Snakemake comes to an end by itself.
SQUEUE = """#!/bin/sh
for array in $(ls "$NOTES"); do for task in 1 2 3 4; do echo "${array}_${task}|FAILED"; done; done
"""
SCONTROL = """#!/bin/sh
echo "MinJobAge               = 600 sec"
echo "MaxArraySize            = 1001"
"""
EXPERIMENT = {
    "tasks": {
        "digits": None,
        "basic_motions": {"resources": {"memory_gb": 3, "gpus": 2}, "training": {"device": "auto"}},
    },
    "seeds": [0, 1],
    "resources": {"memory_gb": 1, "minutes": 30},
    "runs_per_job": 1,
    "methods": {"dense": {}, "pooled_linear": {}},
}


@pytest.fixture(scope="module")
def submitted(tmp_path_factory) -> tuple[list[str], str]:
    """What sbatch was given at each call (its options, then the script), and what Snakemake said."""
    folder = tmp_path_factory.mktemp("submitted")
    programs, notes = folder / "programs", folder / "notes"
    for place in (programs, notes):
        place.mkdir()
    fakes = {"sbatch": SBATCH, "squeue": SQUEUE, "sinfo": "#!/bin/sh\n", "scontrol": SCONTROL, "sacct": "#!/bin/sh\n"}
    for name, text in fakes.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (folder / "e.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    profile = (ROOT / "workflow" / "profiles" / "slurm" / "config.yaml").read_text()
    lines = [line for line in profile.splitlines() if "slurm_account" not in line]
    (folder / "config.yaml").write_text("\n".join(lines).replace('"PARTITION"', '"short one"'))
    command = [sys.executable, ROOT / "tests" / "cluster" / "impatient.py", "-s", ROOT / "Snakefile", "--profile", "."]
    done = subprocess.run(
        [*map(str, command), "--configfile", "e.yaml", "--retries", "0", "--until", "runs"],
        cwd=folder,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "NOTES": str(notes)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return [path.read_text() for path in notes.iterdir()], done.stdout + done.stderr


def test_jobs_that_ask_for_the_same_are_one_array_and_others_are_not(submitted):
    options = sorted(call.splitlines()[0] for call in submitted[0])
    assert ["--mem 2000" in one for one in options] == [True, False], options  # 1 GB and the margin
    small, large = options
    assert "--array=1-4" in small and "--gpus" not in small and "-t 30" in small
    assert "--array=1-4" in large and "--mem 4000" in large and "--gpus=2" in large
    for one in options:
        assert "-p short one" in one  # one word, as sbatch sees it


def test_each_task_of_an_array_has_a_command_of_its_own(submitted):
    _, *script = submitted[0][0].splitlines()
    branches = [line for line in script if line.split(")")[0].isdigit()]
    assert [line.split(")")[0] for line in branches] == ["1", "2", "3", "4"]
    targets = [line.split("--target-jobs ")[1].split()[0] for line in branches]
    assert len(set(targets)) == 4 and all("chunk=" in target for target in targets)


def test_what_sbatch_refuses_is_reported_for_each_job_and_ends(submitted):
    """It refuses those that ask for GPUs."""
    output = submitted[1]
    assert output.count("not submitted to Slurm: sbatch: sbatch: error: invalid partition") >= 4, output[-3000:]


def test_a_task_runs_its_own_command_whatever_characters_it_has(tmp_path):
    (tmp_path / "a b; $(c)").mkdir()
    commands = [f"echo {number} > 'a b; $(c)/it''s {number}'" for number in (1, 2, 3)] + ["exit 3"]
    text = arrays.script(commands)
    status = [
        subprocess.run(
            ["sh"], input=text, text=True, cwd=tmp_path, check=False, env={"SLURM_ARRAY_TASK_ID": str(number)}
        )
        for number in (2, 4)
    ]
    assert [one.returncode for one in status] == [0, 3]
    assert [path.name for path in (tmp_path / "a b; $(c)").iterdir()] == ["its 2"]


def test_sacct_is_asked_for_the_tasks_of_an_array_by_the_numbers_that_the_executor_knows():
    asked = arrays.sacct("run-1").split()
    assert asked[0] == "sacct" and "--format=JobId,State" in asked and "run-1" in asked


def test_another_version_of_the_executor_is_left_alone(monkeypatch, caplog):
    import snakemake_executor_plugin_slurm as plugin

    before = plugin.Executor.run_jobs
    assert before.__module__ != "squeezebench.pipeline.slurm.arrays"
    monkeypatch.setattr(arrays, "PATCHED", "0.0.0")
    arrays.patch()
    assert plugin.Executor.run_jobs is before and "job arrays were tested with 0.0.0 only" in caplog.text
