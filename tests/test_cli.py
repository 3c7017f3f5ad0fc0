"""The command line: what it prints for programs, and one line on standard error for whatever is wrong."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from method_files import method_file

from squeezebench import __version__
from squeezebench.cli.main import main
from squeezebench.schema.record import read_record
from squeezebench.tools.check_method import CHECKS

BROKEN = {
    "syntax": ("def broken(:\n", "line 1: not valid Python"),
    "raises": ("raise RuntimeError('at import')\n", "RuntimeError: at import"),
    "exits": ("import sys\nsys.exit('bye')\n", "calls sys.exit(bye)"),
    "missing": ("import no_such_package\n", "No module named 'no_such_package'"),
    "empty": ("", "exactly one class"),
}
FAST = ["--train", "epochs=2", "--train", "batch_size=16"]
TWICE = ["--set", "hidden=8", "--set", "hidden=9"]
ASKS = method_file(
    before="from squeezebench.method import RecurrentSettings",
    more="class Settings(RecurrentSettings):\n        strength: float",
)  # a method with a setting that has no default


def features(n=40, t=4, d=3):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    x = rng.normal(size=(n, t, d)) + y[:, None, None]
    return {"x": x.astype("f4"), "y": y, "subset": np.where(np.arange(n) % 5 == 4, 2, 1)}


def save(path, **changed):
    np.savez(path, **(features() | changed))
    return path


@pytest.fixture
def call(capsys):
    """Run a command in this process: (exit status, standard output, standard error)."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run


# ---------------------------------------------------------------------- listings


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0 and capsys.readouterr().out == f"squeezebench {__version__}\n"


def test_methods_as_json_tell_each_setting_with_its_default_and_range(call):
    status, out, _ = call("methods", "--json")
    listing = {entry["name"]: entry for entry in json.loads(out)}
    assert status == 0
    assert {"dense", "small_dense", "pooled_linear", "random_units", "magnitude", "vib_lstm", "iss"} <= set(listing)
    beta = listing["vib_lstm"]["settings"]["beta"]
    assert beta["default"] == 1.0 and beta["search"] == [0.05, 20.0] and beta["axis"] == "log"
    assert listing["vib_lstm"]["settings"]["noise"]["enum"] == ["per_sequence", "first_batch"]
    assert listing["dense"]["control"] and not listing["vib_lstm"]["control"]
    for entry in listing.values():
        assert entry["title"] and entry["summary"] and entry["paper"]
        assert all(setting["description"] for setting in entry["settings"].values())


def test_methods_show_broken_plugins_beside_the_others(call, tmp_path):
    (tmp_path / "mine.py").write_text(method_file(title="mine"))
    for name, (text, _) in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    status, out, err = call("methods", "--json", "--plugins", tmp_path)
    listing = {entry["name"]: entry for entry in json.loads(out)}
    assert status == 0 and err == ""
    assert listing["mine"]["title"] == "mine" and "error" not in listing["dense"]
    for name, (_, words) in BROKEN.items():
        assert words in listing[name]["error"] and f"{name}.py" in listing[name]["error"]


def test_tasks_are_one_line_each_and_as_json_tell_the_options_of_each_source(call):
    listing = {entry["name"]: entry for entry in json.loads(call("tasks", "--json")[1])}
    assert {"digits", "basic_motions", "japanese_vowels", "ucr", "file"} <= set(listing)
    assert "path" in listing["file"]["options"]["properties"]
    assert [line.split()[0] for line in call("tasks")[1].splitlines()] == list(listing)


def test_output_that_nobody_reads_on_is_no_error():
    command = f"{sys.executable} -m squeezebench methods --json | head -1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "[\n" and done.stderr == ""


# ---------------------------------------------------------------------- count


def counted(call, *arguments):
    status, out, _ = call("count", *arguments, "--json")
    result = json.loads(out)
    assert status == 0 and result["agree"]
    assert result["closed_form"] == result["constructed"] == {k: result[k] for k in result["closed_form"]}
    return result


def test_count_of_the_papers_dense_network(call):
    result = counted(call, "--method", "dense", "--input", 57600, "--hidden", 256)
    assert result["input_to_hidden"] == 58_982_400 and result["lstm_total"] == 59_246_592
    assert (result["hidden_to_hidden"], result["bias"]) == (4 * 256 * 256, 8 * 256)


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        (["dense", "--set", "cell=gru"], 3 * 5 * (7 + 5 + 2)),
        (["dense", "--set", "layers=2"], 4 * 5 * (7 + 5 + 2) + 4 * 5 * (5 + 5 + 2)),
        (["small_dense", "--set", "width=2"], 4 * 2 * (7 + 2 + 2)),
        (["random_units", "--set", "keep=0.4"], 4 * 2 * (7 + 2 + 2)),
        (["magnitude", "--set", "keep=0.4", "--set", "keep_inputs=0.5"], 4 * 2 * (4 + 2 + 2)),
        (["vib_lstm"], 4 * 5 * (7 + 5 + 2)),
    ],
    ids=str,
)
def test_count_follows_the_settings(call, arguments, total):
    assert counted(call, "--input", 7, "--hidden", 5, "--method", *arguments)["lstm_total"] == total


def test_count_for_people(call):
    status, out, _ = call("count", "--method", "dense", "--input", 200, "--hidden", 10)
    assert status == 0 and re.search(r"lstm_total +8,480 +8,480", out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "vib_lstn", "--input", 3, "--hidden", 3], "did you mean vib_lstm"),
        (["--method", "dense", "--input", 0, "--hidden", 3], "--input 0"),
        (["--method", "dense", "--input", 3, "--hidden", -1], "--hidden -1"),
        (["--method", "dense", "--input", 3, "--hidden", 3, "--set", "widht=3"], "no setting 'widht'"),
        (["--method", "dense", "--input", 3, "--hidden", 3, "--set", "layers"], "write --set name=value"),
        (["--method", "dense", "--input", 3, "--hidden", 3, "--set", "layers=[1"], "not valid YAML"),
        (["--method", "dense", "--input", 3, "--hidden", 3, "--set", "layers=two"], "layers = 'two'"),
        (["--method", "small_dense", "--input", 3, "--hidden", 3], "cannot reach 10x on count"),
        (["--method", "dense", "--input", 10**7, "--hidden", 10**7], "memory"),
    ],
    ids=str,
)
def test_count_refuses(arguments, words, complaint):
    assert words in complaint("count", *arguments)


# ---------------------------------------------------------------------- run


def test_run_of_the_users_own_features(call, tmp_path):
    """`run --task file:PATH` leaves a record that says what was made, and the module that was scored."""
    out = tmp_path / "out"
    arguments = ["--task", f"file:{save(tmp_path / 'mine.npz')}", "--method", "vib_lstm", "--set", "hidden=6"]
    status, said, _ = call("run", *arguments, "--set", "beta=0.5", "--seed", 3, "--out", out, "--steps", 8)
    record = read_record(out / "record.json")
    assert status == 0 and "test " in said and "recurrent parameters" in said
    assert (record.status, record.task, record.method, record.seed) == ("ok", "mine", "vib_lstm", 3)
    assert record.settings["beta"] == 0.5 and record.varied == {"hidden": 6, "beta": 0.5}
    assert record.training["steps"] == 8 and [stage.steps for stage in record.stages] == [2, 4, 2]
    assert record.cost.bytes == (out / "model.safetensors").stat().st_size
    assert (out / "history.csv").read_text().startswith("stage,epoch,step,loss")
    assert record.baseline.counts.lstm_total == 4 * 6 * (3 + 6 + 2)


def test_a_second_run_keeps_the_record_and_another_run_leaves_it_alone(call, tmp_path, complaint):
    out = tmp_path / "out"
    arguments = ["run", "--task", f"file:{save(tmp_path / 'x.npz')}", "--method", "dense", "--out", out, *FAST]
    call(*arguments, "--set", "hidden=4")
    first = (out / "record.json").read_bytes()
    call(*arguments, "--set", "hidden=4")
    for other in (
        ["--set", "hidden=5"],
        ["--set", "hidden=4", "--seed", 1],
        ["--set", "hidden=4", "--train", "learning_rate=0.1"],
    ):
        assert "holds another run (dense on x, seed 0); name another folder" in complaint(*arguments, *other)
    assert (out / "record.json").read_bytes() == first


def test_a_run_that_fails_says_why_in_one_line_and_keeps_the_traceback_in_its_log(call, tmp_path):
    (tmp_path / "raises.py").write_text(method_file(first="raise RuntimeError('no idea')"))
    out = tmp_path / "out"
    said = call("run", "--task", "digits", "--method", "raises", "--plugins", tmp_path, "--out", out)
    line = (tmp_path / "raises.py").read_text().splitlines().index("        raise RuntimeError('no idea')") + 1
    reason = f"RuntimeError: no idea (raises.py:{line}; traceback in log.txt)"
    assert said == (1, "", f"digits raises seed 0: failed: {reason}\n")
    assert read_record(tmp_path / "out" / "record.json").reason == reason
    assert "Traceback" in (tmp_path / "out" / "log.txt").read_text()


def test_a_skipped_run_says_why_and_is_no_failure(call, tmp_path):
    path = save(tmp_path / "x.npz")
    arguments = ["--task", f"file:{path}", "--method", "small_dense", "--set", "ratio=1000", "--out", tmp_path / "out"]
    status, _, err = call("run", *arguments)
    assert status == 0 and "skipped: cannot reach 1000x on x: the weights of one hidden unit" in err
    assert read_record(tmp_path / "out" / "record.json").status == "skipped"


def test_bad_features_are_one_line(complaint, tmp_path, monkeypatch):
    """One of many; test_file_task has the others."""
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "mine.npz", x=np.where(np.arange(3) == 1, np.nan, features()["x"]))
    text = complaint("run", "--task", "file:mine.npz", "--method", "dense", "--out", "out")
    assert "mine.npz: x[0, 0, 1] is nan" in text and not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "digit", "--method", "dense"], "did you mean digits"),
        (["--task", "digits:8", "--method", "dense"], "takes nothing after its name"),
        (["--task", "file:", "--method", "dense"], "takes its path after the colon"),
        (["--task", "file:nowhere.npz", "--method", "dense"], "nowhere.npz: no such file"),
        (["--task", "digits", "--method", "vib"], "did you mean vibnet or vib_lstm"),
        (["--task", "digits", "--method", "dense", "--set", "beta=1"], "no setting 'beta'"),
        (["--task", "digits", "--method", "dense", "--set", "hidden=many"], "hidden = 'many'"),
        (["--task", "digits", "--method", "dense", "--set", "hidden=[3, 4]"], "hidden = [3, 4]"),
        (["--task", "digits", "--method", "dense", "--train", "epochs=0"], "--train: epochs"),
        (["--task", "digits", "--method", "dense", "--train", "epoch=3"], "unknown key 'epoch'"),
        (["--task", "digits", "--method", "dense", "--seed", "-1"], "seed is -1"),
        (["--task", "digits", "--method", "dense", "--threads", "0"], "--threads 0"),
        (["--task", "digits", "--method", "dense", "--plugins", "nowhere"], "nowhere does not exist"),
        (["--task", "digits", "--method", "dense", "--seed", "0", "--seed", "1"], "--seed: is given twice"),
        (["--task", "digits", "--method", "dense", *TWICE], "--set 'hidden=9': hidden is given twice"),
        (["--task", "digits", "--method", "dense", "--train", "steps=9", "--steps", "8"], "steps is given twice"),
        (["--task", "digits", "--method", "asks"], "--set: asks needs a value for strength, which has no default"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_run_refuses(tmp_path, monkeypatch, arguments, words, complaint):
    monkeypatch.chdir(tmp_path)
    if "asks" in arguments:
        Path("asks.py").write_text(ASKS)
        arguments = [*arguments, "--plugins", "asks.py"]
    assert words in complaint("run", *arguments, "--out", "out")
    assert not Path("out").exists()


def test_a_method_file_that_cannot_be_used_is_one_line_and_the_others_still_run(call, tmp_path, complaint):
    for name, (text, _) in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(text)
    path = save(tmp_path / "x.npz")
    common = ["run", "--task", f"file:{path}", "--plugins", tmp_path, "--out", tmp_path / "out"]
    for name, (_, words) in BROKEN.items():
        assert words in complaint(*common, "--method", name)
    assert call(*common, "--method", "pooled_linear", *FAST)[0] == 0


def test_a_folder_that_cannot_be_written_is_one_line(call, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = call("run", "--task", "digits", "--method", "pooled_linear", "--out", tmp_path / "file" / "out")
    assert status == 1 and len(err.splitlines()) == 1 and "file/out: Not a directory" in err


def test_wrong_usage_is_exit_status_2(capsys):
    for arguments in ([], ["fly"], ["run", "--task", "digits"], ["count", "--method", "dense", "--input", "x"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2 and "Traceback" not in capsys.readouterr().err


def test_the_command_itself_returns_the_status(tmp_path):
    """Through the interpreter, as a script would call it: no traceback from anywhere."""
    arguments = ["run", "--task", "digits", "--method", "nothing", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-m", "squeezebench", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stdout == ""


# ---------------------------------------------------------------------- new-method, check


def test_a_new_method_passes_the_contract_and_runs(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call("new-method", "my_idea", "--folder", tmp_path)
    hint = shlex.split(out.partition("try: squeezebench ")[2])
    assert status == 0 and hint[0] == "check"
    status, out, _ = call(*hint)
    assert status == 0 and "FAIL" not in out and out.count("ok  ") == len(CHECKS)
    path = save(tmp_path / "x.npz")
    arguments = ["--task", f"file:{path}", "--method", "my_idea", "--plugins", "my_idea.py", "--out", "out"]
    assert call("run", *arguments, "--set", "hidden=4", "--train", "epochs=5")[0] == 0
    count = call(
        "count", "--method", "my_idea", "--plugins", "my_idea.py", "--input", 20, "--hidden", 32, "--set", "ratio=10"
    )
    assert re.search(r"lstm_total .* 672\b", count[1])  # 6 units of 32: 7 would be more than a tenth
    assert len(Path("my_idea.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Mine"], "'Mine' is not a method name"),
        (["2nd"], "is not a method name"),
        (["../up"], "is not a method name"),
        (["mine", "--folder", "here.py"], "here.py cannot be a folder"),
        (["vib_lstm"], "is a method of squeezebench; choose another name"),
        (["here", "--folder", "."], "exists"),
    ],
)
def test_new_method_refuses(tmp_path, monkeypatch, arguments, words, complaint):
    monkeypatch.chdir(tmp_path)
    Path("here.py").write_text("")
    assert words in complaint("new-method", *arguments)
    assert Path("here.py").read_text() == ""


def test_check_shows_what_fails_and_says_so_in_its_status(call, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(method_file().replace('    """Dense, but for what a test adds."""\n', ""))
    status, out, _ = call("check", path)
    assert status == 1 and out.splitlines()[0].startswith("FAIL describes itself: ")
    assert len(out.splitlines()) == 1  # what follows would fail of the same cause, or of nothing new


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vib", "did you mean vibnet or vib_lstm"),
        ("no.py", "no.py: no such file"),
        ("bad.py", "bad.py, line 1: not valid Python"),
        ("asks.py", "asks.py: Settings: strength: Field required; the checks need a default"),
        (".", "is no .py file; give the file of one method, or a method's name"),
    ],
)
def test_check_refuses(tmp_path, monkeypatch, name, words, complaint):
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text("def\n")
    Path("asks.py").write_text(ASKS)
    assert words in complaint("check", name)


# ---------------------------------------------------------------------- plan, job, report


def test_plan_lists_the_runs_of_an_experiment_and_no_job_but_its_own_is_made(call, complaint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text(yaml.safe_dump({"tasks": ["digits"], "methods": {"dense": {}}, "seeds": [0, 1]}))
    status, out, _ = call("plan", "e.yaml", "--results", "results")
    assert status == 0 and out.startswith("2 runs in 1 job; wrote results/e/plan.json\n")
    assert len(json.loads(Path("results/e/plan.json").read_text())["runs"]) == 2
    assert "no job 'digits/iss/0'" in complaint("job", "results/e/plan.json", "digits/iss/0")
    assert "no task 'digit'; did you mean digits" in complaint("starts", "results/e/plan.json", "digit/0")


def test_plan_refuses_and_writes_nothing(tmp_path, monkeypatch, complaint):
    """One of many; test_experiment has the others."""
    monkeypatch.chdir(tmp_path)
    Path("e.yaml").write_text("tasks: [digits]\nmethods: {dense: {hidden: wide}}\n")
    assert "e.yaml: methods: dense: hidden = 'wide'" in complaint("plan", "e.yaml")
    assert not Path("results").exists()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"runs": 3}'])
def test_a_plan_that_is_none_is_refused(tmp_path, content, complaint):
    path = tmp_path / "plan.json"
    if content is not None:
        path.write_text(content)
    for command in ("job", "starts"):
        assert "plan.json" in complaint(command, path, "digits/dense/0")


def test_a_report_of_nothing_is_refused(tmp_path, complaint):
    assert "nowhere" in complaint("report", tmp_path / "nowhere")


def test_an_empty_argument_is_refused_and_an_unknown_command_has_a_suggestion(complaint, capsys):
    assert complaint("run", "--task", "digits", "--method", "dense", "--out", "").startswith(
        "squeezebench: --out: is empty"
    )
    assert "--out: is empty" in complaint("export", "somewhere", "--out=")
    for words, near in (
        (["rnu"], "unknown command 'rnu'; did you mean run?"),
        (["data", "verfy"], "did you mean verify?"),
    ):
        with pytest.raises(SystemExit):
            main(words)
        assert near in capsys.readouterr().err
