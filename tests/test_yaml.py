"""Experiment files say what is written in them: YAML 1.2 for keys and values, in every file that Snakemake is given."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from squeezebench.base.errors import InputError
from squeezebench.base.yaml_file import load_yaml, parse_yaml
from squeezebench.pipeline.workflow import read_config
from squeezebench.schema.experiment import check_experiment, read_experiment


@pytest.mark.parametrize(
    ("text", "value"),
    [  # what PyYAML alone would make of it
        ("yes", "yes"),  # True
        ("on", "on"),  # True
        ("Off", "Off"),  # False
        ("n", "n"),
        ("2024-01-05", "2024-01-05"),  # datetime.date
        ("2024-02-30", "2024-02-30"),  # ValueError
        ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),  # datetime.datetime
        ("010", 10),  # 8
        ("0o10", 8),  # "0o10"
        ("08", 8),  # "08"
        ("0x1F", 31),
        ("0b11", "0b11"),  # 3
        ("1:30", "1:30"),  # 90
        ("190:20:30.15", "190:20:30.15"),  # 685230.15
        ("1_000", "1_000"),  # 1000
        ("1e-3", 0.001),  # "1e-3"
        ("1E5", 1e5),  # "1E5"
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("+12", 12),
        ("=", "="),  # ConstructorError
        ("~", None),
        ("NULL", None),
        ("True", True),
        ("'true'", "true"),
        ("!!str 1", "1"),
        ("&a {x: *b}", InputError),
        ("!!timestamp 2024-01-05", InputError),  # datetime.date
        ("!!binary aGk=", InputError),  # bytes
        ("!!set {a}", InputError),  # set
        ("!!omap [a: 1]", InputError),  # list of tuples
        ("!mine 1", InputError),
        ("!!float 1:30", InputError),  # 90.0
    ],
)
def test_a_value_is_what_the_core_schema_of_yaml_1_2_says(text, value):
    if value is InputError:
        with pytest.raises(InputError, match=r"^e\.yaml"):
            parse_yaml(f"key: {text}", "e.yaml")
    else:
        read = parse_yaml(f"key: {text}", "e.yaml")["key"]
        assert read == value and type(read) is type(value)


def test_not_a_number():
    assert math.isnan(parse_yaml(".NaN", "e.yaml"))


@pytest.mark.parametrize(
    "key", ["yes", "on", "1", "010", "1e3", "1.50", "null", "~", "true", "2024-01-05", "1:30", "="]
)
def test_a_key_is_the_text_that_is_written(key):
    assert parse_yaml(f"{key}: 1", "e.yaml") == {key: 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: not valid YAML: 'a' is given twice"),
        ("1: 1\n'1': 3", "line 2: not valid YAML: '1' is given twice"),
        ("yes: {x: 1}\n'yes': {y: 1}", "line 2: not valid YAML: 'yes' is given twice"),
        ("? [a]\n: 1", "line 1: not valid YAML: a key is no text"),
        ("x: !!timestamp 2024-01-05", "line 1: not valid YAML: 'timestamp' is no tag"),
    ],
)
def test_what_would_be_lost_or_rewritten_is_refused_by_its_line(text, words):
    with pytest.raises(InputError, match=words):
        parse_yaml(text, "e.yaml")


def test_settings_that_are_shared_by_reference_are_filled_in():
    shared = "base: &base {on: 1}\nmine:\n  <<: *base\n  off: 2"
    assert parse_yaml(shared, "e.yaml")["mine"] == {"on": 1, "off": 2}
    again = "a: &a {x: 0, y: 0}\ninner: {b: &b {<<: *a, x: 1}}\nc: {<<: *b}"  # what is merged twice is given once
    assert parse_yaml(again, "e.yaml")["c"] == {"x": 1, "y": 0}


# ---------------------------------------------------------------------- what Snakemake is given

TASKS = ("yes", "on", "data", "starts", "tuning", "2024-01-05", "010", "null")
EXPERIMENT = f"""
description: 2024-01-05
tasks: {{{", ".join(f"{name}: {{source: digits}}" for name in TASKS)}}}
model: {{hidden: 4}}
training: {{epochs: 1}}
seeds: [08]
runs_per_job: 1
methods: {{dense: {{}}, magnitude: {{}}}}
"""


def test_snakemake_plans_the_tasks_as_they_are_written(tmp_path, root):
    """Names that YAML 1.1 takes for something else, and those of the folders of receipts."""
    (tmp_path / "e.yaml").write_text(EXPERIMENT)
    command = [sys.executable, "-m", "snakemake", "-s", root / "Snakefile", "--cores", "1", "--configfile", "e.yaml"]
    command += ["--dry-run", "--config", "name=2024_01"]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for task in TASKS:
        for method in ("dense", "magnitude"):
            assert f"results/2024_01/jobs/{task}/{method}/" in done.stdout
        assert f"results/2024_01/jobs/starts/{task}.json" in done.stdout


def test_files_are_laid_over_each_other_and_the_command_line_over_all(tmp_path):
    (tmp_path / "a.yaml").write_text("tasks: {yes: {source: digits}}\nmodel: {hidden: 4, cell: gru}")
    (tmp_path / "b.json").write_text('{\n\t"tasks": {"on": {"source": "digits"}}, "seeds": [1]}')
    files = [str(tmp_path / name) for name in ("a.yaml", "b.json")]
    given = {"model": {"hidden": "8"}, "description": 20240105, "plugins": ["of a profile"]}  # as Snakemake reads them
    words = ["snakemake", "--config", "model={hidden: 010}", "description=2024_01_05"]
    assert read_config(files, given, words) == {
        "tasks": {"yes": {"source": "digits"}, "on": {"source": "digits"}},
        "model": {"hidden": 10, "cell": "gru"},
        "seeds": [1],
        "description": "2024_01_05",
        "plugins": ["of a profile"],
    }


@pytest.mark.parametrize(
    ("name", "text", "given", "words"),
    [
        ("e.yaml", "tasks: [a]\ntasks: [b]", {}, "line 2: not valid YAML: 'tasks' is given twice"),
        ("e.json", '{"tasks": 1, "tasks": 2}', {}, "not valid JSON: 'tasks' is given twice"),
        ("e.yaml", "- tasks", {}, "an experiment is a mapping"),
        ("e.yaml", "seeds: [0]", {"model": {"a": "2"}}, "--config model, line 1: not valid YAML: 'a' is given twice"),
    ],
)
def test_what_snakemake_would_lose_is_refused(tmp_path, name, text, given, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        read_config([str(tmp_path / name)], given, ["--config=model={a: 1, a: 2}"])


def test_a_template_of_snakemake_is_refused_and_runs_no_code(tmp_path):
    (tmp_path / "e.yaml").write_text("__use_yte__: true\n?if True:\n  seeds: [0]")
    with pytest.raises(InputError, match="unknown key '__use_yte__'"):
        check_experiment(read_config([str(tmp_path / "e.yaml")], {}, []), "e.yaml")


def test_plan_lays_its_config_over_the_file_as_snakemake_does(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(EXPERIMENT)
    read = read_experiment(path, {"training": {"batch_size": 4}})
    assert read.training == {"epochs": 1, "batch_size": 4} and read.seeds == [8]
    assert json.loads(json.dumps(load_yaml(path))) == load_yaml(path)  # it is data, and no date or set
