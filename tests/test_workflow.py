"""The pipeline as a user calls it: real Snakemake on a small experiment, in a folder outside the project.

The folder, its files and the plugins have names that a shell would obey, so that all tests here show that nothing but
the runs happens.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml
from method_files import method_file

from squeezebench.pipeline.isolation.occupied import INTERRUPTED
from squeezebench.schema.record import RECORD_NAME, Record, read_record
from squeezebench.schema.tuning_result import read_result

ROOT = Path(__file__).resolve().parents[1]
SNAKEFILE = ROOT / "Snakefile"
# Each part would leave a file called `pwned` if a shell read it.
ATTACK = "my data; touch pwned & $(touch pwned) `touch pwned` 'it' \"is\" * > pwned # é %s \\ -x"
PLUGINS = f"{ATTACK}\ntouch pwned"
TINY = {
    "name": "tiny",
    "tasks": {"own": {"source": "file", "options": {"path": f"{ATTACK}/{ATTACK}.npz"}}},
    "seeds": [0, 1, 2],
    "model": {"hidden": 8},
    "training": {"epochs": 3, "batch_size": 16},
    "methods": {"dense": {}},
}
INPUTS = 3
PLUGIN = '''"""Half the units of the dense network, the first ones."""

import torch

from squeezebench.method import Method, RecurrentSettings, Stage, dense_classifier, setting
from squeezebench.nn import select_units


class FirstUnits(Method):
    """Keeps the first units, whatever they do; then trains on."""

    title = "first units; touch pwned"
    paper = "$(touch pwned)"

    class Settings(RecurrentSettings):
        keep: int = setting(4, "units that stay", search=(1, 64), gt=0)

    def start_share(self):
        return 0.4

    def build(self, task):
        return dense_classifier(task, self.settings)

    def load_dense(self, model, dense):
        return select_units(dense, None, [torch.arange(self.settings.keep)])

    def closed_form(self, task):
        from squeezebench.method import closed_form

        return closed_form(task.inputs, [self.settings.keep], self.settings.cell)
'''
SLOW = method_file(before="import os, time", first='time.sleep(float(os.environ.get("SLOW", "0")))')
WHOLE = {
    "methods": {"dense": {"hidden": [8]}, "first_units": {"keep": [2]}, "small_dense": {}},
    "tuning": {"trials": 2, "methods": ["small_dense"], "objective": {"ratio": 2}},
}


def command(*arguments, config=f"{ATTACK}.yaml", cores=2) -> list[str]:
    """A user's command line in a folder of their own."""
    base = [sys.executable, "-m", "snakemake", "--cores", cores, "-s", SNAKEFILE, "--configfile", config]
    return [str(word) for word in [*base, *arguments]]


def snakemake(folder: Path, *arguments, **more) -> subprocess.CompletedProcess:
    done = subprocess.run(command(*arguments, **more), cwd=folder, capture_output=True, text=True, check=False)
    done.stdout += done.stderr
    return done


def write(folder: Path, **changed) -> Path:
    """The experiment, its data and its folder of plugins."""
    for name in (ATTACK, PLUGINS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    x, y = np.random.default_rng(0).normal(size=(40, 3, INPUTS)), np.arange(40) % 2
    np.savez(folder / ATTACK / f"{ATTACK}.npz", x=x + y[:, None, None], y=y)
    (folder / f"{ATTACK}.yaml").write_text(yaml.safe_dump(TINY | {"plugins": [PLUGINS]} | changed, sort_keys=False))
    return folder


def records(folder: Path) -> dict[str, Path]:
    """`method/settings/seed-0` -> the record's file."""
    runs = folder / "results" / "tiny" / "runs" / "own"
    return {path.parent.relative_to(runs).as_posix(): path for path in sorted(runs.rglob(RECORD_NAME))}


def read(folder: Path, method: str) -> dict[str, Record]:
    return {name: read_record(path) for name, path in of(records(folder), method).items()}


def states(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The content of each record and the time at which it was written."""
    return {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in records(folder).items()}


def of(named: dict, method: str) -> dict:
    return {name: value for name, value in named.items() if name.split("/")[0] == method}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, output) of a whole call: a method, a tuned one, and a plugin outside the project.

    The last test changes the folder.
    """
    folder = write(tmp_path_factory.mktemp("workflow") / ATTACK, **WHOLE)
    (folder / PLUGINS / "first_units.py").write_text(PLUGIN)
    return folder, snakemake(folder)


def test_one_call_takes_data_through_methods_to_a_report(finished):
    folder, done = finished
    assert done.returncode == 0, done.stdout
    assert [record.status for record in read(folder, "dense").values()] == ["ok"] * 3  # seeds
    page = (folder / "results" / "tiny" / "report.html").read_text()
    for title in ("dense", "own"):
        assert title in page


def test_trials_pick_the_settings_of_a_tuned_method_before_its_runs(finished):
    folder, _ = finished
    result = read_result(folder / "results" / "tiny" / "tuning" / "own" / "small_dense.json")
    tuned = read(folder, "small_dense")
    assert len(result.trials) == 2 and [name.split("/")[1] for name in tuned] == ["tuned"] * 3
    assert {record.provenance.tuning_digest for record in tuned.values()} == {result.study}
    assert all(record.settings == result.settings for record in tuned.values())


def test_a_plugin_of_40_lines_outside_the_project_is_run_and_reported(finished):
    folder, _ = finished
    assert len(PLUGIN.splitlines()) <= 40
    made = read(folder, "first_units").values()
    assert {(r.varied["keep"], r.seed, r.counts.lstm_total) for r in made} == {
        (2, seed, 4 * 2 * (INPUTS + 2 + 2)) for seed in (0, 1, 2)
    }
    assert all(record.stages[0].name == "dense pretraining" and record.stages[0].shared for record in made)
    assert "first units; touch pwned" in (folder / "results" / "tiny" / "report.html").read_text()


def test_no_part_of_a_name_is_run(finished):
    folder, _ = finished
    assert not [path for path in folder.parent.rglob("*") if path.name == "pwned"]
    assert not list(ROOT.glob("pwned")) and not Path("pwned").exists()
    known = {ATTACK, PLUGINS, f"{ATTACK}.yaml", "results", ".snakemake"}
    assert {path.name for path in folder.iterdir()} <= known


def again(folder: Path, *arguments) -> tuple[dict, dict, str]:
    """Call Snakemake once more: (records before, records after, output)."""
    before = states(folder)
    done = snakemake(folder, *arguments)
    assert done.returncode == 0, done.stdout
    return before, states(folder), done.stdout


def test_a_second_call_does_nothing_whatever_the_dates_of_the_files(finished):
    folder, _ = finished
    plan, page = (folder / "results" / "tiny" / name for name in ("plan.json", "report.html"))
    for number, path in enumerate(sorted([*(folder / "results").rglob("*"), folder / f"{ATTACK}.yaml"])):
        year = (2001, 2090)[number % 2]
        os.utime(path, (datetime(year, 1, 1, tzinfo=UTC).timestamp(),) * 2)
    unchanged = plan.read_bytes(), plan.stat().st_mtime_ns, page.stat().st_mtime_ns
    before, after, output = again(folder)
    assert before == after and "Nothing to be done" in output
    assert (plan.read_bytes(), plan.stat().st_mtime_ns, page.stat().st_mtime_ns) == unchanged


def test_what_is_deleted_damaged_edited_or_added_is_made_again_and_nothing_else(finished):
    folder, _ = finished
    sound, paths = states(folder), records(folder)
    deleted, damaged, _ = sorted(of(paths, "dense"))
    paths[deleted].unlink()
    content = bytearray(paths[damaged].read_bytes())
    content[content.index(b'"test": ') + 10] ^= 1  # another digit of the accuracy: still a JSON file
    paths[damaged].write_bytes(content)
    (folder / PLUGINS / "first_units.py").write_text(PLUGIN.replace('"first units;', '"first units, edited;'))
    write(folder, **(WHOLE | {"methods": WHOLE["methods"] | {"dense": {"hidden": [8, 6]}}}))

    _, after, output = again(folder)
    new = {name: after[name] for name in after.keys() - sound.keys()}
    changed = {name for name in sound if sound[name] != after[name]}
    assert changed == {deleted, damaged, *of(sound, "first_units")}, output
    assert new.keys() == of(new, "dense").keys()
    assert [json.loads(content)["varied"] for content, _ in of(new, "dense").values()] == [{"hidden": 6}] * 3
    for name in (deleted, damaged):
        old, new = json.loads(sound[name][0]), json.loads(after[name][0])
        assert old["accuracy"] == new["accuracy"] and old["counts"] == new["counts"]
    page = folder / "results" / "tiny" / "report.html"
    assert "first units, edited" in page.read_text()

    write(folder, **(WHOLE | {"methods": WHOLE["methods"] | {"dense": {"hidden": [8, 6]}}, "description": "Said anew"}))
    assert again(folder)[1] == after and "Said anew" in page.read_text(), "the page alone is made again"


# ---------------------------------------------------------------------- mistakes


def test_a_mistake_in_the_experiment_is_one_clear_line_and_nothing_is_run(tmp_path):
    """One of many; test_experiment has the others, without Snakemake."""
    done = snakemake(write(tmp_path, methods={"dense": {"hiden": 3}}))
    assert done.returncode != 0 and "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if f"{ATTACK}.yaml: " in line]
    assert f"{ATTACK}.yaml: methods: dense has no setting 'hiden'; did you mean hidden?" in line
    assert not (tmp_path / "results").exists()


# ---------------------------------------------------------------------- interrupted


def test_an_interrupt_keeps_what_is_finished_and_the_next_call_goes_on(tmp_path):
    write(tmp_path, methods={"slow": {}}, seeds=[0, 1])  # one job
    (tmp_path / PLUGINS / "slow.py").write_text(SLOW)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command(), cwd=tmp_path, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"SLOW": "4"}
        )
        try:
            until = time.monotonic() + 600
            while not records(tmp_path) and time.monotonic() < until and process.poll() is None:
                time.sleep(0.1)
            time.sleep(1.0)  # in the middle of the second run
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of the terminal
            assert process.wait(600) != 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    output = (tmp_path / "log").read_text()
    before = states(tmp_path)
    assert len(before) == 1, output
    assert output.splitlines()[-1] == INTERRUPTED and "Traceback" not in output, output
    assert all(read_record(path).status == "ok" for path in records(tmp_path).values())
    assert not (tmp_path / "results" / "tiny" / "report.html").exists()

    done = snakemake(tmp_path, "--until", "runs")
    after = states(tmp_path)
    assert done.returncode == 0, done.stdout
    assert not [path for path in (tmp_path / "results").rglob(".*") if path.is_file()]  # no half-written file stays
    assert {name: after[name] for name in before} == before
    assert len(after) == 2
