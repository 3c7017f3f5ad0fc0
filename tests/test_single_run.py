"""One run without Snakemake: a task's settings, a log, and the commands that read results read its folder."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import termios

import numpy as np
import pytest
from forked import Forked

from squeezebench.cli.main import main
from squeezebench.schema.record import read_record

CALL = ["run", "--task", "digits", "--method", "dense", "--set", "hidden=4", "--train", "epochs=2"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("single") / "one"
    assert main([*CALL, "--out", str(folder)]) == 0
    return folder


def test_settings_of_a_task_are_those_of_an_experiment_file(tmp_path):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    np.savez(tmp_path / "own.npz", x=rng.normal(size=(60, 8, 3)) + y[:, None, None], y=y, group=np.arange(60) % 10)
    call = ["run", "--task", f"file:{tmp_path / 'own.npz'}", "--method", "pooled_linear", "--train", "epochs=1"]
    call += ["--frames", "4", "--sampling", "random", "--split", "leave_one_group_out", "--fold", "2"]
    call += ["--validation-share", "0.3", "--normalise", "std", "--option", "test_groups=[1, 2]"]
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    spec = read_record(tmp_path / "run" / "record.json").task_spec
    assert spec["options"] == {"path": str(tmp_path / "own.npz"), "test_groups": [1, 2]}
    told = {"frames": 4, "sampling": "random", "split": "leave_one_group_out", "fold": 2, "validation_share": 0.3}
    assert {name: spec[name] for name in told} == told and spec["normalise"] == "std"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--frames", "0"], "--task: frames: Input should be greater than or equal to 1 (got 0)"),
        (["--frames", "9"], "frames is 9, but digits has 8 steps"),
        (["--split", "groups"], "--task: split: Input should be 'official'"),
        (["--split", "group"], "digits: split: group needs groups"),
        (["--normalise", "[]"], "--task: normalise"),
        (["--option", "side=3"], "option side of source digits"),
        (["--fold", "1"], "fold is for split: leave_one_group_out only"),
    ],
)
def test_a_wrong_setting_is_one_line_and_nothing_runs(tmp_path, complaint, words, says):
    assert says in complaint(*CALL, *words, "--out", tmp_path / "run") and not (tmp_path / "run").exists()


def test_the_log_says_what_ran_where_and_with_which_result(made):
    log, record = (made / "log.txt").read_text(), read_record(made / "record.json")
    assert "digits dense hidden=4 seed 0" in log and "train: 2 epochs" in log and record.provenance.machine in log
    assert f"ok: validation {record.accuracy.validation:.2%}, test {record.accuracy.test:.2%}" in log


def test_report_verify_and_compare_read_its_folder(made, tmp_path, capsys, undrawn):
    assert main(["report", str(made), "--verify"]) == 0
    out = capsys.readouterr().out
    assert "1 records checked for consistency, 1 measured again from their models (1 of these on their data)" in out
    page = (made / "report.html").read_text()
    assert "<b>1</b> ok" in page and "digits" in page
    assert main(["report", str(made)]) == 0  # what was verified is still so
    assert "Records have changed since" not in (made / "report.html").read_text()
    assert main([*CALL, "--seed", "1", "--out", str(made.parent / "two")]) == 0
    capsys.readouterr()
    assert main(["compare", str(made), str(made), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["groups"][0]["seeds"] == [0]
    assert main(["compare", str(made.parent), str(made.parent), "--json"]) == 0  # a folder of such folders
    assert json.loads(capsys.readouterr().out)["groups"][0]["seeds"] == [0, 1]


@pytest.mark.parametrize(("words", "shown"), [([], True), (["--no-progress"], False)])
def test_a_terminal_shows_a_progress_bar(tmp_path, words, shown):
    main_end, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))  # lines, columns
    words = [*CALL, *words, "--out", str(tmp_path / "run")]
    process = Forked(words, tmp_path, tmp_path / "log", prepare=lambda: os.dup2(other, 2))
    os.close(other)
    text = b""
    while True:
        try:
            text += os.read(main_end, 1 << 16)
        except OSError:  # the end of a terminal's output
            break
    os.close(main_end)
    assert process.wait(120) == 0
    assert (b"digits dense seed 0 train" in text and b"validation=" in text) == shown


# ---------------------------------------------------------------------- lists


def test_methods_are_one_line_each_and_one_is_shown_with_its_settings(capsys):
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main(["methods", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert len(lines) == len(entries) and [line.split()[0] for line in lines] == [entry["name"] for entry in entries]
    assert main(["methods", "vib_lstm"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("vib_lstm: ") and "    beta = " in out and "dense" not in out.split("\n")[0]
    assert main(["methods", "vib_lstn"]) == 2
    assert "did you mean vib_lstm" in capsys.readouterr().err


@pytest.mark.parametrize(("method", "given", "total"), [("vib_lstm", "beta=9", 4 * 4 * (8 + 4 + 2)),
                                                         ("magnitude", "keep=0.5", 4 * 2 * (8 + 2 + 2))])  # fmt: skip
def test_count_says_that_it_counts_before_pruning(capsys, method, given, total):
    """What data decide; a size that the settings give is applied."""
    assert main(["count", "--method", method, "--input", "8", "--hidden", "4", "--set", given]) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    assert first.startswith(f"{method} as its settings build it, with all that training may remove")
    assert out.splitlines()[-1].split() == ["lstm_total", str(total), str(total)]
