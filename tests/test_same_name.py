"""Two experiments of one name do not share a folder of results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.pipeline.workflow import load_plan, read_config

TEXT = "tasks: [digits]\nmethods: {dense: {}}\nruns_per_job: 1\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """a/digits.yaml is planned; b/digits.yaml is another experiment."""
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "digits.yaml").write_text(TEXT)
    (tmp_path / "over.yaml").write_text("seeds: [0]\n")
    planned("a/digits.yaml")
    return tmp_path


def planned(*files: str, **given: str) -> Path:
    """As the Snakefile plans."""
    words = [f"{key}={value}" for key, value in given.items()]
    plan = load_plan(read_config(list(files), given, words), list(files))
    return Path("results") / plan["experiment"] / "plan.json"


SAYS = r"^results/digits: has the results of a/digits.yaml. Give b/digits.yaml a folder .* --config name=NAME"


def test_another_file_of_the_name_is_refused_with_the_way_out_and_nothing_is_touched(folder, complaint):
    plan = folder / "results/digits/plan.json"
    before = plan.read_bytes(), plan.stat().st_mtime_ns
    with pytest.raises(InputError, match=SAYS):
        planned("b/digits.yaml")
    assert "has the results of a/digits.yaml" in complaint("plan", "b/digits.yaml")
    (folder / "other.yaml").write_text(TEXT + "name: digits\n")
    with pytest.raises(InputError, match=r"has the results of a/digits.yaml. Give other.yaml"):
        planned("other.yaml")
    assert (plan.read_bytes(), plan.stat().st_mtime_ns) == before
    assert planned("b/digits.yaml", name="mine") == Path("results/mine/plan.json")


def test_the_files_of_an_experiment_count_together(folder):
    """The last file names the experiment: two experiments may share it."""
    assert planned("a/digits.yaml", "over.yaml").parts[1] == "over"
    with pytest.raises(InputError, match=r"has the results of a/digits.yaml and over.yaml. Give b/digits.yaml and"):
        planned("b/digits.yaml", "over.yaml")
    planned("a/digits.yaml", "over.yaml")


def test_an_edited_file_a_variant_and_a_project_that_was_moved_go_on(folder):
    (folder / "a/digits.yaml").write_text(TEXT + "seeds: [0]\n")
    planned("a/digits.yaml")
    planned("a/../a/digits.yaml", seeds="[0, 1]")
    (folder / "a").rename(folder / "c")
    planned("c/digits.yaml")
    assert main(["plan", "c/digits.yaml"]) == 0
    with pytest.raises(InputError, match=r"has the results of c/digits.yaml"):
        planned("b/digits.yaml")


def test_a_dry_run_leaves_the_plan_as_it_is_and_plans_all_the_same(folder, monkeypatch):
    """The next report would hold the runs against a plan that nobody has run."""
    plan = folder / "results/digits/plan.json"
    before = plan.read_bytes(), plan.stat().st_mtime_ns
    (folder / "a/digits.yaml").write_text(TEXT + "seeds: [0]\n")
    monkeypatch.setattr("sys.argv", ["snakemake", "-n"])
    plans = load_plan(read_config(["a/digits.yaml"], {}, []), ["a/digits.yaml"])
    assert len(plans["runs"]) == 1 != len(json.loads(before[0])["runs"])
    assert (plan.read_bytes(), plan.stat().st_mtime_ns) == before
    load_plan({"name": "new", "tasks": ["digits"], "methods": {"dense": {}}}, ["new.yaml"])
    assert not (folder / "results/new").exists()
