"""Where the rules may run: the pinned environment in its four forms.

No conda and no container registry is at hand where the tests run: that the files agree, that Snakemake reads them and
what a job would then call is tested; that an environment or image comes out of them is not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ENVS = ROOT / "workflow" / "envs"
CONDA = """#!/bin/sh
case "$*" in
  *--version*) echo "conda 24.11.1" ;;
  *info*) echo '{"conda_version": "24.11.1", "conda_prefix": "/nowhere", "platform": "linux-64"}' ;;
  *channel_priority*) echo '{"get": {"channel_priority": "strict"}}' ;;
  *) exit 1 ;;
esac
"""


def snakemake(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "--cores", 1, *words]
    command += ["--configfile", ROOT / "config" / "smoke.yaml"]
    environment = os.environ | environment
    return subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, env=environment, check=False
    )


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("==") for line in lines)


def test_the_conda_environment_pins_the_same():
    text = (ENVS / "squeezebench.yaml").read_text()
    *others, last = yaml.safe_load(text)["dependencies"]
    assert dict(line.split("==") for line in last["pip"]) == pins()
    assert "python=3.11" in others
    spec = spec_from_file_location("pins", ENVS / "pins.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.environment(text) == text  # what its first lines call makes this very file


@pytest.mark.parametrize("name", ["Dockerfile", "squeezebench.def"])
def test_a_container_is_made_of_a_public_image_the_pinned_packages_and_both_rar_readers(name):
    text = (ENVS / name).read_text()
    bases = re.findall(r"^(?:FROM|From:) (\S+)$", text, re.M)
    assert bases == ["python:3.11-slim-bookworm"]
    assert "libarchive-tools unar" in text
    for line in re.findall(r"pip install (.*)", text):
        assert line.endswith("requirements.txt") or "--no-deps" in line, line  # nothing but what is pinned


def test_a_rule_runs_its_environments_python_where_one_is_deployed_and_this_one_where_none_is(tmp_path):
    (tmp_path / "conda").write_text(CONDA)
    (tmp_path / "conda").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    plain = snakemake(tmp_path, "--dry-run", "--printshellcmds", PATH=path)
    deployed = snakemake(tmp_path, "--dry-run", "--printshellcmds", "--sdm", "conda", PATH=path)
    assert plain.returncode == deployed.returncode == 0, plain.stderr + deployed.stderr
    assert f"{sys.executable} -m squeezebench job" in plain.stdout
    assert f"env PYTHONPATH={ROOT} python -m squeezebench job" in deployed.stdout
    assert "squeezebench.yaml" in deployed.stdout + deployed.stderr  # the environment that would be made
    assert "squeezebench.yaml" not in plain.stdout + plain.stderr


def test_the_slurm_profile_has_two_lines_to_edit_and_options_that_the_executor_knows():
    path = ROOT / "workflow" / "profiles" / "slurm" / "config.yaml"
    assert path.read_text().count("<- edit") == 2
    known = subprocess.run(
        [sys.executable, "-m", "snakemake", "--help"], capture_output=True, text=True, check=True
    ).stdout
    for option in yaml.safe_load(path.read_text()):
        assert f"--{option}" in known, option
