"""What comes from others: results, models and features that somebody sent run no code and reach nothing else."""

from __future__ import annotations

import copy
import json
import os
import re
from pathlib import Path

import pytest
import yaml
from altered_records import alter, signed
from hypothesis import given
from hypothesis import strategies as st
from method_files import method_file
from safetensors.torch import load_file, save_file
from synthetic_records import record as synthetic
from unsafe_calls import unsafe_calls

from squeezebench.base.errors import InputError, printable
from squeezebench.base.reading import DEEPEST, inside, parse_json, planned_path, read_json
from squeezebench.cli.main import main
from squeezebench.engine.measurement.files import load_model, read_spec, save_model
from squeezebench.method.discovery import find_methods
from squeezebench.method.discovery import load as load_method
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.pipeline import workflow
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.pipeline.workflow import load_plan
from squeezebench.report import build_report
from squeezebench.schema.record import RECORD_NAME, Record, read_record, write_record
from squeezebench.tools.export import read_module

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).resolve().parents[1]
# Where code is imported by its place, and nowhere else: plugins (which are trusted), sources, cells and heads by name.
IMPORTS_CODE = {
    "squeezebench/base/plugins.py": {"spec_from_file_location", "exec_module"},
    "squeezebench/data/sources/__init__.py": {"import_module"},
    "squeezebench/nn/rnn/cells/__init__.py": {"import_module"},
    "squeezebench/nn/rnn/heads/__init__.py": {"import_module"},
}


SMALL = {"name": "e", "tasks": ["digits"], "seeds": [0], "methods": {"dense": {}}}


def planned(folder: Path, **changed) -> Path:
    """The plan of an experiment whose file and results are in `folder`."""
    (folder / "e.yaml").write_text(yaml.safe_dump(SMALL | changed))
    assert main(["plan", str(folder / "e.yaml"), "--results", str(folder / "results"), "--json"]) == 0
    return folder / "results" / "e" / "plan.json"


# ---------------------------------------------------------------------- no code from files


def test_nothing_in_the_sources_can_run_what_a_file_holds():
    found = {}
    for path in sorted(file for top in ("squeezebench", "methods", "workflow") for file in (ROOT / top).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        calls = {what for _, what in unsafe_calls(path.read_text("utf-8"))} - IMPORTS_CODE.get(place, set())
        found |= {place: calls} if calls else {}
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from joblib import load", "eval(text)", "exec(code)", "compile(a, b, 'exec')",
        "torch.load(path)", "torch.load(path, weights_only=False)", "np.load(path)", "yaml.load(text)",
        "np.load(path, allow_pickle=True)", "npy.read_array(file)", "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)", "yaml.full_load(text)", "subprocess.run(line, shell=True)", "os.system(line)",
        "pd.read_pickle(path)", "importlib.import_module(name)", "spec.loader.exec_module(module)",
    ],
)  # fmt: skip
def test_the_walk_sees_what_it_looks_for(source):
    assert list(unsafe_calls(source))


def test_the_walk_leaves_the_safe_forms_alone():
    safe = "np.load(p, allow_pickle=False); torch.load(p, weights_only=True); yaml.safe_load(t); model.eval()"
    assert not list(unsafe_calls(safe + "; yaml.load(t, _Core); re.compile(x); method.compact(m).eval()"))


def tracing(folder: Path) -> str:
    """A method file that leaves a trace in `folder` wherever it is imported."""
    return method_file(before=f"with open({str(folder / 'imported')!r}, 'a') as file:\n    file.write('x')")


@pytest.fixture(scope="module")
def sent(tmp_path_factory):
    """A folder of results whose method is a plugin that lies in the folder itself, as its plan says."""
    folder = tmp_path_factory.mktemp("sent")
    (folder / "mine").mkdir()
    (folder / "mine" / "traced.py").write_text(tracing(folder))
    experiment = {"model": {"hidden": 4}, "training": {"epochs": 1}, "methods": {"dense": {}, "traced": {}}}
    plan = planned(folder, **experiment, plugins=[str(folder / "mine")])
    for job in read_plan(plan).jobs:
        assert main(["job", str(plan), job]) == 0
    results = plan.parent
    (results / "evil").mkdir()
    (results / "evil" / "traced.py").write_text(tracing(folder))
    content = json.loads(plan.read_bytes()) | {"plugins": [str(results / "evil")]}
    content["methods"]["traced"]["path"] = str(results / "evil" / "traced.py")
    plan.write_text(json.dumps(content))
    return results


def traces(results: Path) -> int:
    path = results.parents[1] / "imported"
    return len(path.read_text()) if path.exists() else 0


def run_of(results: Path, method: str) -> Path:
    return next((results / "runs" / "digits" / method).rglob(RECORD_NAME)).parent


@pytest.mark.parametrize(
    "command",
    [["report", "{}"], ["report", "{}", "--verify"], ["compare", "{}", "{}"], ["reproduce", "{run}"], ["audit"],
     ["export", "{run}", "--out", "{out}"]],
    ids=" ".join,
)  # fmt: skip
def test_no_command_imports_a_plugin_that_only_the_results_name(sent, tmp_path, capsys, command):
    before = traces(sent)
    assert before > 0  # the jobs imported it: it was named
    words = [word.format(sent, run=run_of(sent, "traced"), out=tmp_path / "out.onnx") for word in command]
    status = main(words)
    said = capsys.readouterr()
    assert traces(sent) == before
    if command[0] == "reproduce":
        assert status == 2 and f"if you trust them, give --plugins {sent / 'evil'}" in said.err
    if "--verify" in command:
        assert status == 0 and "not measured (1 runs)" in said.out and "--plugins" in said.out


def test_speed_export_and_report_know_no_way_to_import_a_method():
    for part in ("tools/latency", "tools/export", "report"):
        files = list((ROOT / "squeezebench" / part).rglob("*.py"))
        assert files, f"no files in {part}"
        for path in files:
            assert not re.search(r"discovery|find_methods|\.restore\b", path.read_text("utf-8")), path


def test_a_plugin_that_is_named_is_imported(sent, capsys):
    before = traces(sent)
    assert main(["report", str(sent), "--verify", "--plugins", str(sent / "evil")]) == 0
    assert traces(sent) > before and "not measured" not in capsys.readouterr().out


def test_a_suggested_command_is_quoted(sent, tmp_path, capsys):
    plan = sent / "plan.json"
    before = plan.read_bytes()
    plan.write_text(json.dumps(json.loads(before) | {"plugins": ["x; touch $(id)"]}))
    try:
        assert main(["reproduce", str(run_of(sent, "traced"))]) == 2
    finally:
        plan.write_bytes(before)
    assert "--plugins 'x; touch $(id)'" in capsys.readouterr().err


def test_a_plan_with_the_right_key_is_not_believed_for_that(tmp_path):
    """The key is a digest of what everybody can see. A crafted plan could name code to import, files to write, and
    receipts to remove: that of a job called ../../../important is FOLDER/jobs/../../../important.json."""
    (tmp_path / "important.json").write_text("precious")
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(SMALL))
    arguments = SMALL, [str(tmp_path / "e.yaml")], tmp_path / "results"
    made = load_plan(*arguments)
    changes = [
        lambda plan: plan.update(plugins=["evil.py"]),
        lambda plan: plan.update(experiment="../../elsewhere"),
        lambda plan: plan["runs"][0].update(path="../../outside"),
        lambda plan: plan["runs"][0].update(job="../../../important"),
        lambda plan: plan["runs"][0].update(job=7),
        lambda plan: plan.update(jobs=["digits/dense/../../../x"]),
        lambda plan: plan.update(start_jobs=["a\nb"]),
        lambda plan: plan.update(tunings=[{"path": "/etc/x", "job": "a"}]),
        lambda plan: plan.update(runs="none"),
        lambda plan: plan.pop("plugins"),
    ]
    assert workflow._is_ours(made, "e", [])
    for change in changes:
        changed = copy.deepcopy(made)
        change(changed)
        assert changed != made and not workflow._is_ours(changed, "e", [])
    path = tmp_path / "results" / "e" / "plan.json"
    made["runs"][0]["job"], made["plugins"] = "../../../important", ["evil.py"]
    path.write_text(json.dumps(made))
    again = load_plan(*arguments)
    assert again["plugins"] == [] and again["runs"][0]["job"] in again["jobs"]
    assert (tmp_path / "important.json").read_text() == "precious"


def test_a_job_of_a_cluster_uses_the_plan_it_was_submitted_of(tmp_path, monkeypatch):
    """Where the engine or a plugin was edited meanwhile, its thousand jobs would all make, and write, a new one."""
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(SMALL))
    arguments = SMALL, [str(tmp_path / "e.yaml")], tmp_path / "results"
    made = load_plan(*arguments)
    monkeypatch.setattr(workflow, "engine_digest", lambda: "another")
    monkeypatch.setattr("sys.argv", ["snakemake", "--mode", "remote"])
    assert load_plan(*arguments) == made
    monkeypatch.setattr("sys.argv", ["snakemake"])
    assert load_plan(*arguments)["key"] != made["key"]


# ---------------------------------------------------------------------- models


def lying(path: Path, change) -> Path:
    """A model file whose tensors are sound and whose spec is not."""
    save_model(path, recurrent_classifier(3, 4, 2))
    spec, state = read_spec(path), load_file(path)
    save_file(state, path, metadata={"spec": json.dumps(change(spec))})
    return path


SPECS = {
    "another class": lambda spec: spec | {"class": "system"},
    "a module": lambda spec: spec | {"class": "torch"},
    "a function": lambda spec: spec | {"class": "recurrent_classifier"},
    "an attribute": lambda spec: spec | {"class": "__loader__"},
    "no name": lambda spec: spec | {"class": ["RecurrentClassifier"]},
    "no class": lambda spec: {},
    "a list": lambda spec: [spec],
    "a head of terabytes": lambda spec: spec | {"head": 1 << 40},
    "a larger head": lambda spec: spec | {"head": 1 << 30},
    "more segments than tensors": lambda spec: spec | {"front": {"inputs": 1, "segments": 10**9, "pool": True}},
    "hundreds of layers": lambda spec: spec | {"layers": spec["layers"] * 500},
    "no layers": lambda spec: spec | {"layers": []},
    "layers of text": lambda spec: spec | {"layers": "none"},
    "another cell": lambda spec: spec | {"cell": "rm -rf"},
    "an index of gigabytes": lambda spec: spec | {"input_index": 1 << 31},
    "negative": lambda spec: spec | {"input_index": -5},
}


@pytest.mark.parametrize("change", SPECS.values(), ids=SPECS)
def test_a_spec_that_lies_is_refused_before_anything_is_made(tmp_path, change):
    path = lying(tmp_path / "model.safetensors", change)
    with pytest.raises(InputError) as caught:
        read_module(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    with pytest.raises((ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError)):
        load_model(path, load_method(find_methods()["dense"]).restore)


def test_a_vast_matrix_of_few_numbers_is_refused(tmp_path):
    """Forty cores of two by two stand for a matrix that no machine holds; so does a sparse one of three numbers."""
    spec = recurrent_classifier(3, 4, 2).spec()
    spec["layers"][0]["input_map"] = {"map": "sparse", "in_features": 1 << 31, "out_features": 16, "nonzero": 3}
    model = RecurrentClassifier.from_spec(spec)
    save_model(tmp_path / "model.safetensors", model)
    assert (tmp_path / "model.safetensors").stat().st_size < 10_000
    with pytest.raises(InputError, match="GB of memory; this machine has"):
        read_module(tmp_path / "model.safetensors")


def test_a_model_of_a_records_own_lies_is_a_problem_and_no_crash(sent, capsys):
    """`report --verify` where the model file is another's: sizes that the record claims are not believed either."""
    folder = run_of(sent, "dense")
    before = (folder / RECORD_NAME).read_bytes(), (folder / "model.safetensors").read_bytes()
    try:
        lying(folder / "model.safetensors", SPECS["more segments than tensors"])
        assert main(["report", str(sent), "--verify"]) == 1
        assert "model.safetensors" in capsys.readouterr().out
        (folder / "model.safetensors").write_bytes(before[1])
        alter(folder, "shape", inputs=9)
        assert main(["report", str(sent), "--verify"]) == 1
        assert "Traceback" not in capsys.readouterr().out
    finally:
        (folder / RECORD_NAME).write_bytes(before[0])
        (folder / "model.safetensors").write_bytes(before[1])


# ---------------------------------------------------------------------- JSON


BAD_JSON = {
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "infinite": b'{"a": 1e999}',
    "infinite in digits": b'{"a": ' + b"9" * 400 + b".0}",
    "infinite by both": b'{"a": ' + b"9" * 215 + b"e99}",
    "a huge number": b'{"a": 99999999999999999999}',
    "a number without end": b'{"a": ' + b"9" * 5000 + b"}",
    "twice": b'{"a": 1, "a": 2}',
    "deep": b"[" * 100_000,
    "deep and whole": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    "deep after brackets in a text": b'["' + b"]" * 90_000 + b'", ' + b"[" * 90_000,
    "deep objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "half a character": b'{"a": "\\ud800"}',
    "half a key": b'{"\\udfff": 1}',
    "no UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "nothing": b"",
}


@pytest.mark.parametrize("content", BAD_JSON.values(), ids=BAD_JSON)
def test_json_that_is_not_strict_is_refused(tmp_path, content):
    with pytest.raises(ValueError):
        parse_json(content)
    path = tmp_path / RECORD_NAME
    path.write_bytes(content)
    with pytest.raises(InputError, match="half written or damaged") as caught:
        read_record(path)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_that_we_write_is_read_as_it_was(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@pytest.mark.parametrize(
    "change",
    [
        {"shape": {"inputs": 3, "steps": 10**12, "classes": 2, "has_lengths": False}},
        {"shape": {"inputs": 10**12, "steps": 3, "classes": 2, "has_lengths": False}},
        {"shape": {"inputs": 10**5, "steps": 10**6, "classes": 2, "has_lengths": False}},
        {"shape": {"inputs": 0, "steps": 1, "classes": 1, "has_lengths": False}},
    ],
)
def test_a_signed_record_with_impossible_sizes_is_no_record(tmp_path, change):
    """Its digest is right: whoever writes a record can write its digest."""
    content = synthetic("digits", "dense", 0, 0).model_dump(mode="json") | change
    (tmp_path / RECORD_NAME).write_bytes(signed(content))
    with pytest.raises(InputError, match="not a valid record: shape"):
        read_record(tmp_path / RECORD_NAME)


@pytest.mark.parametrize("name", ["record", "plan", "tuning", "inference", "verification"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_does_not_hang(tmp_path, name):
    """Reading a named pipe waits for a writer, /dev/zero never ends."""
    path = tmp_path / "x.json"
    for make in (lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero"), lambda: path.mkdir()):
        make()
        with pytest.raises(OSError):
            read_json(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    places = {"record": "runs/t/m/s/record.json", "plan": "plan.json", "tuning": "tuning/t/m.json",
              "inference": "inference.json", "verification": "verification.json"}  # fmt: skip
    write_record(tmp_path / "runs" / "a", synthetic("digits", "dense", 0, 0))
    place = tmp_path / places[name]
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    try:
        build_report(tmp_path)
    except InputError as error:
        assert places[name] in str(error)


# ---------------------------------------------------------------------- names and links


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../x", "/x", "a//b", "a/./b", "", ".", "..", "a\\b", "C:x/y", "a\nb", "a/\x1b[2J", "a/\u202eb", "\0"],
)
def test_paths_of_a_plan_that_lead_elsewhere(path):
    with pytest.raises(ValueError, match="no path below"):
        planned_path(path)


@given(st.text(st.sampled_from("ab./\\: \n-"), max_size=12))
def test_a_planned_path_stays_below_the_folder(text):
    try:
        planned_path(text)
    except ValueError:
        return
    folder = Path("/somewhere/results")
    found = Path(os.path.normpath(folder / text))
    assert found.is_relative_to(folder) and found != folder


def test_a_link_that_leads_out_is_refused_and_the_folder_itself_may_be_one(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    assert inside(tmp_path / "results", tmp_path / "results" / "runs" / "new")
    (tmp_path / "disk" / "runs").symlink_to(tmp_path)
    with pytest.raises(InputError, match="by a link"):
        inside(tmp_path / "results", tmp_path / "results" / "runs" / "new")


def some_results(folder: Path) -> Path:
    for seed in range(2):
        write_record(folder / "runs" / "digits" / "dense" / f"seed-{seed}", synthetic("digits", "dense", 0, seed))
    return folder


def test_a_report_writes_through_no_link(tmp_path):
    """Somebody's archive of results may hold figures/x.svg -> ~/.bashrc."""
    folder, target = some_results(tmp_path / "results"), tmp_path / "precious"
    build_report(folder)
    names = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.name != RECORD_NAME]
    assert len(names) > 10
    target.write_text("precious")
    for name in names:
        (folder / name).unlink()
        (folder / name).symlink_to(target)
    build_report(folder)
    assert target.read_text() == "precious" and not any((folder / name).is_symlink() for name in names)


@pytest.mark.parametrize("part", ["figures", "tables"])
def test_a_report_refuses_a_folder_that_is_elsewhere(tmp_path, part, complaint):
    folder = some_results(tmp_path / "results")
    (tmp_path / "elsewhere").mkdir()
    (folder / part).symlink_to(tmp_path / "elsewhere")
    assert "by a link" in complaint("report", folder) and not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("what", ["runs", "starts", "log.txt", "unfinished", "history.csv", "model.safetensors"])
def test_a_job_writes_nothing_outside_the_folder_of_its_plan(tmp_path, capsys, what):
    place = planned(tmp_path, model={"hidden": 2}, training={"epochs": 1})
    plan, folder = read_plan(place), place.parent
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    if what in ("runs", "starts"):
        (folder / what).symlink_to(outside)
    else:
        (folder / plan.runs[0].path).mkdir(parents=True)
        (folder / plan.runs[0].path / what).symlink_to(outside / "precious")
    status = main(["job", str(place), plan.jobs[0]])
    assert (outside / "precious").read_text() == "precious" and [p.name for p in outside.iterdir()] == ["precious"]
    said = capsys.readouterr().err
    assert (status == 2 and "by a link" in said) if what in ("runs", "starts") else status == 0


@pytest.mark.parametrize("part", ["path", "job"])
def test_a_plan_whose_paths_lead_elsewhere_is_no_plan(tmp_path, part):
    path = planned(tmp_path)
    content = json.loads(path.read_bytes())
    content["runs"][0][part] = "runs/../../../outside"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a plan"):
        read_plan(path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "", ".", "..", "a\nb", "-x", "\u202ex", "a;b", "$(x)"])
@pytest.mark.parametrize("what", ["experiment", "task", "table", "method"])
def test_names_of_an_experiment_that_are_no_file_names(tmp_path, complaint, what, name):
    changed = {
        "experiment": {"name": name},
        "task": {"tasks": {name: {"source": "digits"}}},
        "table": {"tables": [{"name": name, "title": "x", "rows": {}, "columns": []}]},
        "method": {"methods": {name: {}}},
    }[what]
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(SMALL | changed, allow_unicode=False))
    said = complaint("plan", tmp_path / "e.yaml", "--results", tmp_path / "r" / "s", "--json")
    assert said.strip().isprintable() and not (tmp_path / "r").exists()


@given(setting=st.text(max_size=30), value=st.text(max_size=30))
def test_settings_make_a_folder_name_of_harmless_letters(setting, value):
    from squeezebench.pipeline.planner import _slug

    assert re.fullmatch(r"[A-Za-z0-9._-]+", _slug({setting: value}, {setting: value}))
    assert _slug({setting: value}, {setting: value}) not in (".", "..")


# ---------------------------------------------------------------------- the terminal


@given(st.text())
def test_what_is_printed_has_no_power_over_a_terminal(text):
    assert "\x1b" not in printable(text) and "\u202e" not in printable(text) and "\n" not in printable(text)
    printable(text).encode()
    assert "\n" not in str(InputError(text)) and "\x1b" not in str(InputError(text))


def test_names_in_results_do_not_reach_the_terminal_as_they_are(tmp_path, capsys):
    attack = "dense\x1b]0;gone\x07\x1b[2J\u202e\nok: everything reproduced"
    for name, seed in (("a", 0), ("b", 1)):
        made = synthetic("digits", "dense", 0, seed).model_dump(mode="json") | {"method": attack, "varied": {attack: 1}}
        write_record(tmp_path / name / "runs" / "r", Record.model_validate(made))
    main(["compare", str(tmp_path / "a"), str(tmp_path / "b")])
    main(["report", str(tmp_path / "a"), "--verify"])
    main(["reproduce", str(tmp_path / "a" / "runs" / "r")])
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert not set("\x1b\x07\u202e") & set(text)
        assert not any(line.startswith("ok: everything") for line in text.splitlines())
