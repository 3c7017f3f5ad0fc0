"""Every experiment of config/paper, from synthetic clips to the published table beside ours.

The tiny forms go through decoding, optical flow, both backbones with random weights, the feature cache, every method
and the report: with `make tiny`, as CI does. One goes through Snakemake; the others take the same steps in the same
order, in processes that have imported torch already. What the experiments ask for is checked always.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import forked
import pytest

from squeezebench.base.folds import task_of_fold
from squeezebench.pipeline.planner import make_plan
from squeezebench.report.statistics.spread import VERDICT_SEEDS
from squeezebench.schema.experiment import read_experiment
from squeezebench.schema.record import RECORD_NAME, read_record

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = sorted((ROOT / "config/paper").glob("*.yaml"))
CONTROLS = {"dense", "small_dense", "random_units", "magnitude", "pooled_linear"}
HANGS = 1200  # seconds


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """One folder of synthetic clips and features for all experiments, as a user's $SQUEEZEBENCH_DATA is."""
    data = tmp_path_factory.mktemp("data")
    return {"SQUEEZEBENCH_DATA": str(data), "SQUEEZEBENCH_CACHE": str(data / "cache")}


def by_snakemake(path: Path, folder: Path, environment: dict[str, str], *config: str) -> Path:
    """The experiment's tiny form through Snakemake; the folder of its results."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--directory", folder,
               "--cores", "2", "--configfile", path, "--config", "scale=tiny", *config]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (folder / "results").iterdir()
    return results


def step_by_step(path: Path, folder: Path, environment: dict[str, str], *config: str) -> Path:
    """The same by the commands that the rules of the workflow call."""

    def call(*words: object) -> None:
        done = forked.call(list(map(str, words)), folder, folder / "log", **environment)
        assert done.returncode == 0, done.stdout[-3000:]

    call("plan", path, "--config", "scale=tiny", *config)
    (results,) = (folder / "results").iterdir()
    file = results / "plan.json"
    plan = json.loads(file.read_text())
    for task in plan["data_jobs"]:
        call("data", "prepare", file, task)
    for task in plan["start_jobs"]:
        call("starts", file, task)
    for job in plan["jobs"]:
        call("job", file, job)
    call("report", results)
    return results


def check(results: Path) -> None:
    plan = json.loads((results / "plan.json").read_text())
    records = [read_record(results / run["path"] / RECORD_NAME) for run in plan["runs"]]
    assert [(r.method, r.reason) for r in records if r.status != "ok"] == []
    page = (results / "report.html").read_text()
    for table in plan["config"]["tables"]:
        assert table["title"].replace('"', "&#34;") in page
        assert list(results.glob(f"*/{table['name']}.csv")), table["name"]


@pytest.mark.parametrize("protocol", ["sound", "paper", "as_released"])
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_each_experiment_is_valid_under_each_protocol_and_at_both_scales(path, protocol):
    for scale in ("full", "tiny") if protocol == "sound" else ("full",):
        plan = make_plan(read_experiment(path, {"protocol": protocol, "scale": scale}), str(path))
        assert plan.runs and plan.data_jobs == sorted(plan.tasks)
        assert {run.method for run in plan.runs} >= CONTROLS, "a table without its controls"
        assert scale == "tiny" or len({run.seed for run in plan.runs}) >= VERDICT_SEEDS
        masks = [run.settings for run in plan.runs if run.method == "vib_lstm"]
        released = protocol == "as_released"
        assert {s["noise"] for s in masks} == {"first_batch" if released else "per_sequence"}
        assert {s["evaluate_with"] for s in masks} == {"hard" if released else "mean"}
        assert {s["scale"] for s in masks} == {{"sound": "dataset", "paper": "eq15"}.get(protocol, "released")}
        losses = {task.training.loss for task in plan.tasks.values()}
        assert losses == {"double_softmax" if released else "cross_entropy"}


CLIPS = [path for path in sorted((ROOT / "config/real").glob("*.yaml")) if "${clips}" in path.read_text()]


def whole(task):
    """A task, and the one of which it is a fold."""
    return (task, task_of_fold(task))


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_each_experiment_on_real_clips_has_its_controls_and_runs_for_every_row(path):
    experiment = read_experiment(path)
    for task in experiment.tasks.values():
        assert task["options"]["folder"] == "${clips}" and task["options"]["subset"]
        own = {key: value for key, value in task["options"].items() if key not in ("folder", "lists", "subset")}
        task["options"] = own | {"synthetic": 5}
    plan = make_plan(experiment, str(path))
    assert {run.method for run in plan.runs} >= CONTROLS
    for name in plan.tasks:
        runs = Counter(run.seed for run in plan.runs if run.task == name)
        assert len(set(runs.values())) == 1, f"{name}: every setting has every seed"
    for table in experiment.tables:
        tasks = [task for task in (table.task, table.left, table.right) if task]
        for name, row in {**table.rows, **table.also}.items():
            for task in tasks:
                own = [run.settings for run in plan.runs if row.method == run.method and task in whole(run.task)]
                fits = [settings for settings in own if all(settings.get(k) == v for k, v in row.where.items())]
                assert fits, f"{table.name}: no run for the row {name}"


def test_the_published_sizes_come_out_of_the_settings():
    """The tensor shapes of Table 1 and the ring of Table 2 hold exactly the published numbers of core parameters."""
    from squeezebench.method import TaskInfo
    from squeezebench.method.discovery import find_methods, load

    published = {"table1": {"tt_lstm": 3360, "bt_lstm": 3392, "tr_lstm": 1725, "ht_lstm": 1245},
                 "table2": {"tr_lstm": 663_552}}  # fmt: skip
    files, found = find_methods(), {}
    for name in published:
        plan = make_plan(read_experiment(ROOT / f"config/paper/{name}.yaml"), name)
        info = TaskInfo("t", "sequence", {"table1": 57_600, "table2": 2048}[name], 6, 11, False, 100)
        for run in plan.runs:
            if run.method in published[name]:
                method = load(files[run.method])
                counts = method(method.Settings(**run.settings)).closed_form(info)
                found.setdefault(name, {})[run.method] = counts["input_to_hidden"]
    assert found == published


@pytest.mark.tiny
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_tiny_form_goes_through_every_step(path, tmp_path, environment):
    check(step_by_step(path, tmp_path, environment))


@pytest.mark.tiny
@pytest.mark.parametrize(("protocol", "make"), [("paper", by_snakemake), ("as_released", step_by_step)])
def test_so_do_the_other_protocols(protocol, make, tmp_path, environment):
    results = make(ROOT / "config/paper/table4.yaml", tmp_path, environment, f"protocol={protocol}")
    assert results.name == f"table4_{protocol}_tiny"
    check(results)
