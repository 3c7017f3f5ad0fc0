"""Names that a shell would obey, through real Snakemake: nothing but the runs happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from test_workflow import snakemake

from squeezebench.schema.record import RECORD_NAME, read_record

ROOT = Path(__file__).resolve().parents[1]
# Of folders and files; each part would leave a file called `pwned` where a shell read it.
ATTACK = "my data; touch pwned & $(touch pwned) `touch pwned` 'it' \"is\" * > pwned # é %s \\ -x"
PLUGINS = f"{ATTACK}\ntouch pwned"
PLUGIN = '''"""A method in a folder with a name."""

from squeezebench.method import Method, dense_classifier


class Quoted(Method):
    title = "quoted; touch pwned"
    paper = "$(touch pwned)"

    def build(self, task):
        return dense_classifier(task, self.settings)
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, output) of a run in a folder, with plugins, data and a config file that all have such names."""
    folder = tmp_path_factory.mktemp("workflow") / ATTACK
    (folder / ATTACK).mkdir(parents=True)
    (folder / PLUGINS).mkdir()
    (folder / PLUGINS / "quoted.py").write_text(PLUGIN)
    generator = np.random.default_rng(0)
    np.savez(folder / ATTACK / f"{ATTACK}.npz", x=generator.normal(size=(40, 3, 2)), y=np.arange(40) % 2)
    experiment = {
        "name": "e", "description": ATTACK, "seeds": [0], "model": {"hidden": 2}, "training": {"epochs": 4},
        "tasks": {"own": {"source": "file", "options": {"path": f"{ATTACK}/{ATTACK}.npz"}}},
        "methods": {"quoted": {}, "magnitude": {}}, "plugins": [PLUGINS],
    }  # fmt: skip
    config = folder / f"{ATTACK}.yaml"
    config.write_text(yaml.safe_dump(experiment))
    return folder, snakemake(folder, config=config.name)


def test_names_with_quotes_blanks_and_commands_are_names(made):
    folder, done = made
    assert done.returncode == 0, done.stdout
    found = [read_record(path) for path in sorted((folder / "results" / "e" / "runs").rglob(RECORD_NAME))]
    assert [(r.method, r.status, r.reason) for r in found] == [("magnitude", "ok", None), ("quoted", "ok", None)]
    assert (folder / "results" / "e" / "report.html").is_file()


def test_braces_in_the_place_of_a_plugin_are_refused(made):
    """Snakemake would read {task} in an input's path as its own wildcard."""
    folder, _ = made
    (folder / "{task}").mkdir()
    (folder / "{task}" / "quoted.py").write_text(PLUGIN)
    done = snakemake(folder, "-n", "--config", "plugins=./{task}", config=f"{ATTACK}.yaml")
    (folder / "{task}" / "quoted.py").unlink()
    (folder / "{task}").rmdir()
    assert done.returncode == 1 and "what is in braces; rename the folder" in done.stdout


def test_no_part_of_a_name_was_run(made):
    folder, _ = made
    top = folder.parent
    assert not [path for path in top.rglob("*") if path.name == "pwned"]
    assert not list(ROOT.glob("pwned")) and not Path("pwned").exists()
    assert {path.name for path in folder.iterdir()} <= {ATTACK, PLUGINS, f"{ATTACK}.yaml", "results", ".snakemake"}


@pytest.mark.parametrize("path", [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))], ids=str)
def test_every_value_in_a_shell_command_is_quoted(path):
    """`{x:q}` is quoted by Snakemake; a number of threads needs no quotes."""
    commands = re.findall(r'^\s*shell:\s*\n\s*"(.*)"$', path.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == path.read_text("utf-8").count("shell:")
    for command in commands:
        values = re.findall(r"\{([^{}]*)\}", command)
        assert values and all(value.endswith(":q") or value == "threads" for value in values), command
