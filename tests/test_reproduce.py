"""A run repeated: the same bits for every method and thread count, and words for whatever is not the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
from altered_records import alter
from method_files import method_file

from squeezebench.base.digests import digest_of
from squeezebench.cli.main import main
from squeezebench.data.task import task_spec
from squeezebench.engine import provenance
from squeezebench.engine.run import execute
from squeezebench.method import NetworkSettings, PerFrameSettings, RecurrentSettings
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.kernels import native
from squeezebench.pipeline.planner import fingerprint
from squeezebench.schema.record import Record, read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.recorded import read_recorded, same_arithmetic
from squeezebench.tools.reproduce import reproduce

HIDDEN = 16
PLUGIN = method_file(
    more="""def parameter_groups(self, model):
        return [{"params": list(model.parameters()), "lr": RATE}]"""
)


CLIPS = {"groups": 10, "frames": 4, "size": 8}
SMALL = {  # kind of task -> a small one, and a dense model for it
    "sequence": (task_spec("digits"), RecurrentSettings(hidden=HIDDEN)),
    "image": (task_spec("digits_images"), NetworkSettings()),
    "video": (TaskSpec(name="moving_shapes", source="moving_shapes", options=CLIPS), PerFrameSettings(width=2)),
}


def spec_for(name, task=None, seed=0, epochs=3, plugins=(), **changed) -> RunSpec:
    method = load(find_methods(plugins)[name])
    kind = next(kind for kind in SMALL if kind in method.kinds)
    of_kind, model = SMALL[kind]
    shared = {k: v for k, v in model.model_dump(exclude_unset=True).items() if k in method.Settings.model_fields}
    settings = settings_of(method, shared, "test").model_dump(mode="json")
    more = kind == "image"  # one stage more than 3 epochs hold
    training = TrainingSettings(epochs=epochs + more, batch_size=128)
    made = task_spec(task) if task else of_kind
    fields = {"task": made, "fingerprint": fingerprint(made), "method": name, "settings": settings, "seed": seed,
              "training": training, "model": model}  # fmt: skip
    return RunSpec(**(fields | changed))


def run(spec, folder, plugins=()) -> Record:
    record = execute(spec, find_methods(plugins)[spec.method], folder, folder / "starts")
    assert record.status == "ok", record.reason
    return record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of one VIB-LSTM run on digits; tests copy what they change."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made") / "run"
    run(spec_for("vib_lstm"), folder)
    return folder


@pytest.fixture
def own(made, tmp_path):
    return shutil.copytree(made, tmp_path / "own")


def output(capsys, *arguments) -> tuple[int, str]:
    status = main(["reproduce", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err == "", err
    return status, out


# ---------------------------------------------------------------------- the same bits


DIFFERENT = ("vib_lstm", "tr_lstm", "vibnet")  # on 2 threads always; on 1: tests/contract


@pytest.mark.parametrize(
    ("method", "threads"),
    [
        pytest.param(name, threads, marks=() if name in DIFFERENT and threads == 2 else pytest.mark.long)
        for name in find_methods()
        for threads in (1, 2)
    ],
)
def test_every_method_makes_the_same_bits_again(method, threads, tmp_path):
    torch.set_num_threads(threads)
    spec = spec_for(method)
    first, again = (run(spec, tmp_path / name) for name in ("first", "again"))
    assert first.provenance.threads == again.provenance.threads == threads
    for file in ("model.safetensors", "history.csv"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    assert first.model_digest == again.model_digest
    same = ("accuracy", "confusion", "counts", "kept", "ratio", "notes")
    assert all(getattr(first, part) == getattr(again, part) for part in same)


def test_another_seed_makes_other_bits(made):
    """The comparison above is not empty: what is equal there differs here."""
    first = read_record(made / "record.json")
    other = run(spec_for("vib_lstm", seed=1), made.parent / "other")
    assert other.model_digest != first.model_digest and other.confusion != first.confusion


def test_a_record_holds_all_that_decided_its_run(made):
    assert read_recorded(made).spec() == spec_for("vib_lstm")


def test_a_run_of_another_process_is_reproduced_to_the_bit(tmp_path, capsys):
    words = ["run", "--task", "digits", "--method", "magnitude", "--set", "hidden=12", "--train", "epochs=3",
             "--train", "batch_size=128", "--threads", "2", "--out", str(tmp_path / "run")]  # fmt: skip
    subprocess.run([sys.executable, "-m", "squeezebench", *words], check=True, capture_output=True)
    status, out = output(capsys, tmp_path / "run" / "record.json")
    assert status == 0 and out.splitlines()[0] == "digits magnitude hidden=12 seed 0, 2 threads: reproduced to the bit"
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("protocol", ["paper", "as_released"])
def test_other_protocols_are_reproduced_as_they_were(protocol, tmp_path):
    run(spec_for("vib_lstm", protocol=protocol), tmp_path)
    found = reproduce(tmp_path)
    assert found.matched and found.again.protocol == protocol and {"model", "history"} <= set(found.compared)


def test_it_leaves_nothing_but_what_is_asked_for(made, own, tmp_path):
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    assert reproduce(own, out=tmp_path / "kept").matched
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before
    assert read_record(tmp_path / "kept" / "record.json").model_digest == read_record(own / "record.json").model_digest


def test_a_failure_and_a_skip_are_reproduced_too(tmp_path, capsys):
    spec = spec_for("vib_lstm", epochs=1)  # too few for its stages
    record = execute(spec, find_methods()["vib_lstm"], tmp_path / "failed", tmp_path / "starts")
    assert record.status == "failed"
    status, out = output(capsys, tmp_path / "failed")
    assert status == 0 and "reproduced in all that was recorded (failed: " in out


# ---------------------------------------------------------------------- what is not the same


def test_what_differs_is_named_with_both_values(own, capsys):
    record = read_record(own / "record.json")
    confusion = [list(row) for row in record.confusion]
    confusion[0][0] += 3
    confusion[1][1] -= 3
    alter(
        own,
        model_digest="f" * 64,
        confusion=confusion,
        accuracy=record.accuracy.model_copy(update={"train": record.accuracy.train + 0.25}),
        cost=record.cost.model_copy(update={"macs": 1}),
    )
    status, out = output(capsys, own)
    lines = {line.strip().partition(": ")[0]: line for line in out.splitlines()}
    assert status == 1 and "not reproduced" in out.splitlines()[0]
    assert lines["accuracy.train"].endswith("(-0.25)")
    assert f"1 -> {record.cost.macs:,}" in lines["cost.macs"]
    assert f"3 of {record.test_size} sequences in another cell" in lines["confusion"]
    assert f"ffffffffffff -> {record.model_digest[:12]}" in lines["model"]
    assert "nothing differs in what the record says of its environment" in out
    assert "accuracy.test" not in lines and "counts.bias" not in lines


def test_the_history_says_from_which_epoch_on(own):
    path = own / "history.csv"
    head, first, second, *rest = path.read_text().splitlines()
    loss = second.split(",")[3]
    path.write_text("\n".join([head, first, second.replace(loss, "9.5"), *rest]) + "\n")
    (only,) = reproduce(own).results
    assert only.what == "history: loss from epoch 2 of 2" and (only.recorded, only.measured) == ("9.5", loss)


def test_the_environment_is_told_apart(own, capsys):
    origin = read_record(own / "record.json").provenance
    changed = {"packages": origin.packages | {"torch": "1.0", "gone": "2"}, "machine": "abacus", "python": "2.7",
               "engine_digest": "e" * 64}  # fmt: skip
    alter(own, "provenance", **changed)
    status, out = output(capsys, own)
    assert status == 0 and "reproduced to the bit" in out
    for line in (f"package torch: 1.0 -> {origin.packages['torch']}", "package gone: 2 -> none", "machine: abacus -> ",
                 "python: 2.7 -> ", "engine digest: eeeeeeeeeeee -> "):  # fmt: skip
        assert f"  {line}" in out, line


def test_other_kernels_of_the_same_machine_are_named(own):
    """PyTorch chooses kernels once, when it is imported: so in a process of its own."""
    here = torch.backends.cpu.get_cpu_capability()
    assert read_record(own / "record.json").provenance.cpu_capability == here
    words = [sys.executable, "-m", "squeezebench", "reproduce", str(own)]
    environment = os.environ | {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}
    out = subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout
    assert "  variables: none -> ATEN_CPU_CAPABILITY=default MKL_CBWR=COMPATIBLE\n" in out
    assert here == "DEFAULT" or f"  cpu capability: {here} -> DEFAULT\n" in out


def test_kernels_that_an_older_version_did_not_record_are_no_difference(own, capsys):
    origin = alter(own, "provenance", cpu_capability="").provenance
    assert "cpu capability" not in output(capsys, own)[1]
    assert same_arithmetic(read_record(own / "record.json").provenance)
    other = origin.model_copy(update={"cpu_capability": "DEFAULT", "variables": "MKL_CBWR=COMPATIBLE"})
    assert same_arithmetic(origin) and not same_arithmetic(other)


def test_a_shared_start_of_another_machine_is_named(tmp_path, monkeypatch):
    here = provenance.machine()
    run(spec_for("magnitude"), tmp_path)
    monkeypatch.setattr(provenance, "machine", lambda: "another one")
    spec = spec_for("magnitude", varied={"keep": 0.5})
    record = execute(spec, find_methods()["magnitude"], tmp_path / "other", tmp_path / "starts")
    assert record.provenance.machine == f"{here} then another one" and record.provenance.gpu == ""


def test_the_device_that_was_taken_is_recorded(tmp_path):
    training = TrainingSettings(epochs=1, batch_size=128, device="auto")
    record = run(spec_for("dense", training=training), tmp_path)
    assert record.provenance.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_compiled_kernel_is_used_where_the_record_says_so(own, monkeypatch):
    origin = read_record(own / "record.json").provenance
    assert origin.native and origin.packages["llvmlite"] == version("llvmlite")
    again = reproduce(own)
    assert again.again.provenance.native and not again.results
    older = {name: number for name, number in origin.packages.items() if name != "llvmlite"}
    alter(own, "provenance", native=False, packages=older)
    again = reproduce(own)
    assert not again.again.provenance.native and again.again.provenance.packages == older and native.enabled()
    alter(own, provenance=origin)
    monkeypatch.setattr(native, "_available", lambda: False)
    words = {difference.what: difference.measured for difference in reproduce(own).environment}
    assert words == {"native": False, "package llvmlite": "none"}


def test_another_number_of_threads_is_the_records(own):
    alter(own, "provenance", threads=2)
    assert reproduce(own).again.provenance.threads == 2 and torch.get_num_threads() == 1


def test_an_edited_plugin_is_named(tmp_path, capsys):
    plugin = tmp_path / "own_rate.py"
    plugin.write_text(PLUGIN.replace("RATE", "0.001"))
    run(spec_for("own_rate", plugins=[plugin]), tmp_path / "run", [plugin])
    assert output(capsys, tmp_path / "run", "--plugins", plugin)[0] == 0
    plugin.write_text(PLUGIN.replace("RATE", "0.01"))
    load.cache_clear()
    status, out = output(capsys, tmp_path / "run", "--plugins", plugin)
    assert status == 1 and "  method digest: " in out and "  model: " in out and "  history: loss from epoch 1" in out
    load.cache_clear()


def test_other_data_are_named(tmp_path, capsys, complaint):
    rng, y = np.random.default_rng(0), np.arange(60) % 3
    x = (rng.normal(size=(60, 4, 3)) + y[:, None, None]).astype("f4")
    np.savez(tmp_path / "mine.npz", x=x, y=y)
    run(spec_for("dense", task=f"file:{tmp_path / 'mine.npz'}"), tmp_path / "run")
    assert output(capsys, tmp_path / "run")[0] == 0
    np.savez(tmp_path / "mine.npz", x=x + rng.normal(size=x.shape).astype("f4"), y=y)
    status, out = output(capsys, tmp_path / "run")
    assert status == 1 and "  data files: " in out
    (tmp_path / "mine.npz").unlink()
    assert "mine.npz" in complaint("reproduce", tmp_path / "run")


def test_what_is_no_longer_there_is_not_compared(own, capsys):
    alter(own, model_digest=None)
    (own / "history.csv").unlink()
    status, out = output(capsys, own)
    assert status == 0 and "reproduced in all that was recorded" in out
    assert "not compared, because no longer there: the bits of the compact model, the history of its training" in out


def test_json_holds_the_same(own, capsys):
    alter(own, model_digest="f" * 64)
    status, out = output(capsys, own, "--json")
    found = json.loads(out)
    assert status == 1 and not found["matched"] and found["threads"] == 1
    assert [one["what"] for one in found["results"]] == ["model"] and found["environment"] == []


# ---------------------------------------------------------------------- records without their task


def plan_of(root, folder, tmp_path):
    """An experiment with one planned run, made; the record is then stripped to what older versions wrote."""
    (tmp_path / "e.yaml").write_text(
        "tasks: {digits: {}}\nseeds: [0]\nmodel: {hidden: 16}\ntraining: {epochs: 3, batch_size: 128}\n"
        "methods: {dense: {}}\n"
    )
    assert main(["plan", str(tmp_path / "e.yaml"), "--results", str(tmp_path)]) == 0
    experiment = tmp_path / "e"
    plan = json.loads((experiment / "plan.json").read_text())
    assert main(["job", str(experiment / "plan.json"), plan["jobs"][0]]) == 0
    place = experiment / plan["runs"][0]["path"]
    alter(place, task_spec=None, model=None, fingerprint="")
    return place


def test_an_older_record_is_repeated_from_its_plan(root, tmp_path, capsys, complaint):
    place = plan_of(root, "e", tmp_path)
    capsys.readouterr()
    status, out = output(capsys, place)
    assert status == 0 and "reproduced to the bit" in out
    alter(place, "provenance", inputs_digest="0" * 64)  # the plan is now of another run than the record
    assert "does not say which data" in complaint("reproduce", place)
    (tmp_path / "e" / "plan.json").unlink()
    assert "no plan.json" in complaint("reproduce", place)


# ---------------------------------------------------------------------- wrong input, one line each


def test_no_such_record(tmp_path, complaint):
    assert "nowhere" in complaint("reproduce", tmp_path / "nowhere" / "record.json")
    assert "has no record.json; give the folder of one run" in complaint("reproduce", tmp_path)


def test_a_damaged_record(own, complaint):
    path = own / "record.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert "does not match its digest" in complaint("reproduce", own)
    path.write_text(path.read_text()[:100])
    assert "half written or damaged" in complaint("reproduce", own)


def test_a_method_that_is_no_longer_there(own, complaint):
    alter(own, method="vib_lstn")
    assert "did you mean vib_lstm" in complaint("reproduce", own)
    assert "does not exist" in complaint("reproduce", own, "--plugins", own / "gone.py")


def test_a_setting_that_is_no_longer_there(own, complaint):
    alter(own, settings={"gamma": 1.0})
    assert "has no setting 'gamma'" in complaint("reproduce", own)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"task_spec": {"name": "digits", "colour": "red"}}, "colour"),
        ({"task_spec": {"name": "no such", "source": "digits"}}, "name"),
        ({"task_spec": {"name": "x", "source": "no_such_source"}}, "no_such_source"),
        ({"training": {"epochs": -1}}, "epochs"),
        ({"model": {"hidden": "many"}}, "hidden"),
    ],
)
def test_inputs_that_no_run_has(own, complaint, changed, words):
    alter(own, **changed)
    assert words in complaint("reproduce", own)


@pytest.mark.parametrize("threads", [0, -3, 10**9])
def test_threads_that_no_run_has(own, complaint, threads):
    alter(own, "provenance", threads=threads)
    assert f"{threads} threads" in complaint("reproduce", own)


def test_an_out_folder_that_holds_a_run(own, complaint):
    assert "holds a run already" in complaint("reproduce", own, "--out", own)


def test_the_digest_of_a_model_is_of_its_tensors():
    from squeezebench.engine.measurement.digest import model_digest

    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int32)}
    whole = model_digest(state)
    assert whole == model_digest(dict(reversed(state.items()))) and len(whole) == 64
    others = [
        state | {"a": state["a"].reshape(3, 2)},
        state | {"b": torch.ones(2)},
        state | {"a": state["a"] + torch.tensor([0, 0, 1e-6])},
        {"a": state["a"], "c": state["b"]},
    ]
    assert len({whole, *map(model_digest, others)}) == 5
    transposed = state | {"a": state["a"].T.contiguous().T}  # another layout, the same numbers
    assert model_digest(transposed) == whole and digest_of({}) != whole
