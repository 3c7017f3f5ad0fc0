"""The pipeline as a user calls it: real Snakemake on a small experiment, in a folder outside the project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from squeezebench.schema.record import RECORD_NAME, read_record

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"
TINY = {
    "tasks": ["digits"],
    "seeds": [0, 1, 2],
    "model": {"hidden": 8},
    "training": {"epochs": 3, "batch_size": 128},
    "methods": {"dense": {}},
}
PLUGIN = '''"""Half the units of the dense network, the first ones."""

import torch

from squeezebench.method import Method, RecurrentSettings, Stage, dense_classifier, setting
from squeezebench.nn import select_units


class FirstUnits(Method):
    """Keeps the first units, whatever they do; then trains on."""

    title = "first units"
    paper = "synthetic for a test"

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
FAILING = '''"""Fails where a test wants it to."""

from squeezebench.method import Method, dense_classifier


class Failing(Method):
    """Fails."""

    title = paper = "failing"

    def build(self, task):
        {line}
        return dense_classifier(task, self.settings)
'''
BAD = {  # plugin -> (its text, the reason its records must give); what a method does in a run is in test_faults
    "wrong_syntax": ("def broken(:\n", "line 1: not valid Python"),
    "exits_on_import": ("import sys\n\nsys.exit(3)\n", "calls sys.exit(3) when imported"),
}


def command(*arguments, config="tiny.yaml", cores=2) -> list[str]:
    """A user's command line in a folder of their own."""
    base = [sys.executable, "-m", "snakemake", "--cores", cores, "-s", SNAKEFILE, "--configfile", config]
    return [str(word) for word in [*base, *arguments]]


def snakemake(folder: Path, *arguments, **more) -> subprocess.CompletedProcess:
    done = subprocess.run(command(*arguments, **more), cwd=folder, capture_output=True, text=True, check=False)
    done.stdout += done.stderr
    return done


def write(folder: Path, **changed) -> Path:
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY | changed, sort_keys=False))
    return folder


def records(folder: Path) -> dict[str, Path]:
    """`method/settings/seed-0` -> the record's file."""
    runs = folder / "results" / "tiny" / "runs" / "digits"
    return {path.parent.relative_to(runs).as_posix(): path for path in sorted(runs.rglob(RECORD_NAME))}


def states(folder: Path) -> dict[str, tuple[bytes, int]]:
    """What tells whether a record was written again."""
    return {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in records(folder).items()}


def of(found: dict, method: str) -> dict:
    return {name: value for name, value in found.items() if name.split("/")[0] == method}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """(folder, output) of a whole run: a method, a good plugin and bad ones that are not in the project.

    The last test changes it.
    """
    methods = {"dense": {"hidden": [8]}, "first_units": {"keep": [2, 4]}}
    folder = write(tmp_path_factory.mktemp("finished"), methods=methods)
    (folder / "mine").mkdir()
    (folder / "mine" / "first_units.py").write_text(PLUGIN)
    for name, (text, _) in BAD.items():
        (folder / "mine" / f"{name}.py").write_text(text)
    done = snakemake(folder, "--config", "plugins=mine")
    return folder, done


def test_one_call_takes_data_through_methods_to_a_report(finished):
    folder, done = finished
    assert done.returncode == 0, done.stdout
    found = {name: read_record(path) for name, path in records(folder).items()}
    assert [r.status for r in of(found, "dense").values()] == ["ok"] * 3  # seeds
    page = (folder / "results" / "tiny" / "report.html").read_text()
    for title in ("dense", "digits"):
        assert title in page


def test_a_plugin_of_40_lines_outside_the_project_is_run_and_reported(finished):
    folder, _ = finished
    assert len(PLUGIN.splitlines()) <= 40
    found = of({name: read_record(path) for name, path in records(folder).items()}, "first_units")
    assert {(r.varied["keep"], r.seed, r.counts.lstm_total) for r in found.values()} == {
        (keep, seed, 4 * keep * (8 + keep + 2)) for keep in (2, 4) for seed in (0, 1, 2)
    }
    assert all(r.stages[0].name == "dense pretraining" and r.stages[0].shared for r in found.values())
    assert "first units" in (folder / "results" / "tiny" / "report.html").read_text()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_plugin_becomes_failed_records_that_the_report_shows(finished, name):
    folder, done = finished
    found = [read_record(path) for path in of(records(folder), name).values()]
    assert [r.status for r in found] == ["failed"] * 3
    assert all(BAD[name][1] in r.reason for r in found)
    page = (folder / "results" / "tiny" / "report.html").read_text()
    assert name in page and BAD[name][1].replace("'", "&#39;").split("line 1: ")[-1] in page
    assert done.returncode == 0


def again(folder: Path, *arguments) -> tuple[dict, dict, str]:
    """Call Snakemake once more: (records before, records after, output)."""
    before = states(folder)
    done = snakemake(folder, "--config", "plugins=mine", *arguments)
    assert done.returncode == 0, done.stdout
    return before, states(folder), done.stdout


def test_a_second_call_does_nothing(finished):
    folder, _ = finished
    page = (folder / "results" / "tiny" / "report.html").stat().st_mtime_ns
    before, after, output = again(folder)
    assert before == after and "Nothing to be done" in output
    assert (folder / "results" / "tiny" / "report.html").stat().st_mtime_ns == page


def test_what_is_deleted_damaged_edited_or_added_is_made_again_and_nothing_else(finished):
    folder, _ = finished
    sound, paths = states(folder), records(folder)
    deleted, damaged, _ = sorted(of(paths, "dense"))
    paths[deleted].unlink()
    content = bytearray(paths[damaged].read_bytes())
    content[content.index(b'"test": 0.') + 10] ^= 1  # another digit of the accuracy: still a JSON file
    paths[damaged].write_bytes(content)
    (folder / "mine" / "first_units.py").write_text(PLUGIN.replace('"first units"', '"first units, edited"'))
    (folder / "mine" / "wrong_syntax.py").write_text(FAILING.format(line="pass"))  # repaired
    write(folder, methods={"dense": {"hidden": [8, 6]}, "first_units": {"keep": [2, 4]}})

    _, after, output = again(folder)
    new = {name: after[name] for name in after.keys() - sound.keys()}
    changed = {name for name in sound if sound[name] != after[name]}
    assert changed == {deleted, damaged, *of(sound, "first_units")}, output
    assert new.keys() == {*of(new, "dense"), *of(new, "wrong_syntax")}
    assert [json.loads(content)["varied"] for content, _ in of(new, "dense").values()] == [{"hidden": 6}] * 3
    assert [json.loads(content)["status"] for content, _ in of(new, "wrong_syntax").values()] == ["ok"] * 3
    for name in (deleted, damaged):
        old, new = json.loads(sound[name][0]), json.loads(after[name][0])
        assert old["accuracy"] == new["accuracy"] and old["counts"] == new["counts"]
    assert "first units, edited" in (folder / "results" / "tiny" / "report.html").read_text()


# ---------------------------------------------------------------------- mistakes


def test_a_mistake_in_the_experiment_is_one_clear_line_and_nothing_is_run(tmp_path):
    """One of many; test_experiment has the others, without Snakemake."""
    done = snakemake(write(tmp_path, methods={"dense": {"hiden": 3}}))
    assert done.returncode != 0 and "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "tiny.yaml: " in line]
    assert "tiny.yaml: methods: dense has no setting 'hiden'; did you mean hidden?" in line
    assert not (tmp_path / "results").exists()


def test_a_plugin_folder_that_is_not_there_is_one_clear_line(tmp_path):
    done = snakemake(write(tmp_path), "--config", "plugins=nowhere")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "plugins: nowhere does not exist" in done.stdout


# ---------------------------------------------------------------------- interrupted

SLOW = FAILING.format(
    line="import os, pathlib, time\n"
    '        pathlib.Path(f"started-{time.monotonic_ns()}").touch()\n'
    '        time.sleep(float(os.environ.get("SLOW", "0")))'
)


def test_an_interrupt_keeps_what_is_finished_and_the_next_call_goes_on(tmp_path):
    write(tmp_path, methods={"slow": {}}, runs_per_job=2)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "slow.py").write_text(SLOW)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command("--config", "plugins=mine"), cwd=tmp_path, stdout=log, stderr=log,
            start_new_session=True, env=os.environ | {"SLOW": "4"},
            # a shell that runs the tests in the background has Ctrl-C ignored, and children would inherit that
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            until = time.monotonic() + 600
            while not of(records(tmp_path), "slow") and time.monotonic() < until and process.poll() is None:
                time.sleep(0.1)
            time.sleep(1.0)  # in the middle of the second slow run
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches every process of the terminal
            assert process.wait(600) != 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    output = (tmp_path / "log").read_text()
    before = states(tmp_path)
    assert len(of(before, "slow")) in (1, 2), output
    assert all(read_record(path).status == "ok" for path in records(tmp_path).values())
    assert not (tmp_path / "results" / "tiny" / "report.html").exists()

    done = snakemake(tmp_path, "--config", "plugins=mine")
    after = states(tmp_path)
    assert done.returncode == 0, done.stdout
    assert not [path for path in (tmp_path / "results").rglob(".*") if path.is_file()]  # what was half written is gone
    assert {name: after[name] for name in before} == before
    assert len(after) == 3 and (tmp_path / "results" / "tiny" / "report.html").exists()
