"""Data sources as plugins: listed, planned, run, stale when they are edited, never imported without being named."""

from __future__ import annotations

from pathlib import Path

import forked
import pytest
import yaml

from squeezebench.base.errors import InputError
from squeezebench.pipeline.planner import make_plan
from squeezebench.pipeline.worker import read_plan, run_job
from squeezebench.schema.experiment import read_experiment
from squeezebench.schema.record import read_record
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.reproduce import reproduce
from squeezebench.tools.verify.remeasure import Tasks

SOURCE = '''
"""Steps that count upwards, from outside the project."""
import numpy as np
from pydantic import BaseModel

from squeezebench.data.dataset import Dataset

DEFAULT_SPLIT = "random"


class Options(BaseModel):
    sequences: int = 24


def load(options):
    y = np.arange(options.sequences) % 2
    x = np.full((options.sequences, 3, 4), FACTOR) * y[:, None, None]
    return Dataset(name="counting", x=x, y=y, classes=("even", "odd"), origin="counting")
'''


def write_counting(folder: Path, factor: str = "1.0") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "counting.py").write_text(SOURCE.replace("FACTOR", factor))
    experiment = {"plugins": [str(folder)], "tasks": {"counting": {}}, "methods": {"dense": {}}, "seeds": [0]}
    path = folder.parent / "counted.yaml"
    path.write_text(yaml.safe_dump(experiment | {"model": {"hidden": 2}, "training": {"epochs": 1}}))
    return path


def test_a_source_from_outside_the_project_is_listed_planned_and_run(tmp_path):
    path = write_counting(tmp_path / "mine")
    listed = forked.call(["tasks", "--plugins", str(tmp_path / "mine")], tmp_path, tmp_path / "log").stdout
    assert "counting         Steps that count upwards, from outside the project." in listed and "digits" in listed
    words = ["plan", str(path), "--results", str(tmp_path / "results")]
    assert forked.call(words, tmp_path, tmp_path / "log").returncode == 0
    plan_file = tmp_path / "results" / "counted" / "plan.json"
    plan = read_plan(plan_file)
    assert set(plan.methods) == {"dense"}  # the plugin is no method
    run_job(plan_file, plan.runs[0].job, None)
    place = plan_file.parent / plan.runs[0].path
    record = read_record(place / "record.json")
    assert record.status == "ok" and record.test_size == 7 and record.class_names == ["even", "odd"]
    asked = read_recorded(place)  # without plugins: the code of a foreign folder is not imported
    with pytest.raises(InputError, match="unknown task source 'counting'"):
        Tasks().of(asked.spec())
    assert reproduce(place, plugins=[tmp_path / "mine"]).matched


def test_an_edited_source_makes_its_runs_stale(tmp_path):
    plans = []
    for factor in ("1.0", "1.0  # a comment\n", "2.0"):
        path = write_counting(tmp_path / "mine", factor)
        plans.append(make_plan(read_experiment(path), str(path)).tasks["counting"].fingerprint)
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Options: ...\ndef load(options): ...\n", "must define Options, load, DEFAULT_SPLIT; it lacks DEFAULT"),
        ("class Options: ...\ndef load(options): ...\nimport nowhere\n", "cannot be imported: ModuleNotFoundError"),
        ("class Options: ...\ndef load(options): ...\nimport os; os._exit(3)\n", "cannot be imported: "),
    ],
)
def test_a_source_that_cannot_be_used_is_one_line_before_anything_is_trained(code, message, tmp_path):
    path = write_counting(tmp_path / "mine")
    (tmp_path / "mine" / "counting.py").write_text(code)
    with pytest.raises(InputError, match=message):
        make_plan(read_experiment(path), str(path))
