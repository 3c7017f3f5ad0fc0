"""`report --verify`: a planted error is found in a record whose digest is right, whether its model is there or not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from altered_records import alter, without_models
from safetensors.torch import load_file, save_file
from synthetic_records import make

from squeezebench.cli.main import main
from squeezebench.data.task import task_spec
from squeezebench.engine.measurement.files import read_spec
from squeezebench.engine.run import execute
from squeezebench.method import RecurrentSettings
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.report.verified import verified
from squeezebench.schema.predictions import packed, unpacked
from squeezebench.schema.record import read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.training import TrainingSettings
from squeezebench.schema.verification import records_digest
from squeezebench.tools.verify.consistency import inconsistencies
from squeezebench.tools.verify.saved import as_text, verify

pytestmark = pytest.mark.usefixtures("undrawn")

RECURRENT = ("input_to_hidden", "lstm_total", "model_total")  # rules of counting
MADE = ("dense", "tt_lstm", "vib_lstm", "magnitude", "pooled_linear")
SETTINGS = {"magnitude": {"structure": "element"}, "vib_lstm": {"beta": 30.0}}


def make_run(folder, name, seed=0, task=None, **changed):
    method = find_methods()[name]
    fields = load(method).Settings.model_fields
    shared = {"hidden": 12} if "hidden" in fields else {}
    settings = settings_of(load(method), shared | SETTINGS.get(name, {}), "test").model_dump(mode="json")
    task, model = task or task_spec("digits"), RecurrentSettings(hidden=12)
    spec = RunSpec(task=task, method=name, settings=settings, seed=seed, model=model,
                   training=TrainingSettings(epochs=3, batch_size=128), **changed)  # fmt: skip
    record = execute(spec, method, folder / f"runs/{task.name}/{name}/x/seed-{seed}", folder / "starts")
    assert record.status == "ok", record.reason
    return record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Five runs of kinds of modules that are saved, counted and read back in different ways."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("made")
    for name in MADE:
        make_run(folder, name)
    return folder


@pytest.fixture
def own(made, tmp_path):
    return shutil.copytree(made, tmp_path / "own")


@pytest.fixture
def of_one(made, tmp_path):
    """The folder with the runs of one method alone."""

    def copy(name):
        shutil.copytree(made / f"runs/digits/{name}", tmp_path / f"own/runs/digits/{name}")
        return tmp_path / "own"

    return copy


def place(folder, name):
    return folder / f"runs/digits/{name}/x/seed-0"


def fields(found, name) -> dict[str, tuple[str, str]]:
    """{field: (recorded, measured)} of the problems of one run; nothing else may have any."""
    assert {p.run for p in found.problems} <= {f"runs/digits/{name}/x/seed-0"}, found.problems
    return {p.field: (p.recorded, p.measured) for p in found.problems}


# ---------------------------------------------------------------------- what is right


def test_what_a_run_leaves_behind_is_verified_exactly(own):
    found = verify(own)
    assert (found.records, found.measured, found.scored, found.without_model) == (5, 5, 5, 0)
    assert found.problems == [] and found.notes == [] and found.not_measured == {}
    assert as_text(found).endswith("no problems")


def test_without_models_the_records_still_agree_with_themselves(own):
    without_models(own)
    found = verify(own)
    assert (found.records, found.measured, found.without_model, found.problems) == (5, 0, 5, [])


def test_the_published_records_agree_with_themselves(root):
    paths = sorted((root / "results/reference").rglob("record.json"))
    assert paths
    for path in paths:
        record = read_record(path)
        assert record.status != "ok" or list(inconsistencies(record)) == [], path


def test_sequences_of_several_lengths_and_as_released(tmp_path):
    make_run(tmp_path, "vib_lstm", task=task_spec("japanese_vowels"), seed=1, protocol="as_released")
    found = verify(tmp_path)
    assert found.scored == 1 and found.problems == []


def test_a_sample_measures_so_many_and_checks_all(own):
    alter(place(own, "dense"), "accuracy", test=0.5)
    found = verify(own, sample=2)
    assert (found.records, found.measured, found.sample) == (5, 2, 2)
    assert "accuracy.test" in fields(found, "dense")  # whether it was drawn or not
    assert verify(own, sample=99).measured == 5


def test_the_callers_random_state_and_threads_are_left_alone(own):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    verify(own)
    without_models(own)
    verify(own)
    assert torch.equal(state, torch.get_rng_state()) and torch.get_num_threads() == 1


# ---------------------------------------------------------------------- planted errors


@pytest.mark.parametrize(
    ("part", "field", "change"),
    [
        ("accuracy", "test", lambda v: v + 1 / 540),  # one sequence
        ("accuracy", "validation", lambda v: v - 0.01),
        ("accuracy", "train", lambda v: 1.0),
        ("counts", "input_to_hidden", lambda v: v - 1),
        ("counts", "hidden_to_hidden", lambda v: v + 1),
        ("counts", "bias", lambda v: v // 2),
        ("counts", "lstm_total", lambda v: v // 10),
        ("counts", "head", lambda v: 0),
        ("counts", "model_total", lambda v: v - 1),
        ("cost", "bytes", lambda v: v - 4),
        ("cost", "macs", lambda v: v // 2),
        ("cost", "dense_macs", lambda v: v * 2),
        ("cost", "peak_activation_bytes", lambda v: v - 1),
        ("ratio", "lstm_total", lambda v: v * 2),
        ("ratio", "model_total", lambda v: v + 0.01),
        ("kept", "inputs", lambda v: v - 1),
        ("kept", "hidden", lambda v: [v[0] - 1]),
        ("shape", "steps", lambda v: v + 1),
        ("provenance", "split_digest", lambda v: "0" * 64),
        ("provenance", "inputs_digest", lambda v: "0" * 64),
    ],
)
def test_a_planted_error_is_named_with_what_was_measured(of_one, part, field, change):
    own = of_one("vib_lstm")
    right = getattr(getattr(alter(place(own, "vib_lstm")), part), field)
    wrong = change(right)
    alter(place(own, "vib_lstm"), part, **{field: wrong})
    found = fields(verify(own), "vib_lstm")
    name = f"{part}.{field}"
    assert name in found
    shown = [text.replace(",", "").strip("[]") for text in found[name]]
    if not isinstance(right, str):
        assert [float(text) for text in shown] == [float(np.ravel(wrong)[0]), float(np.ravel(right)[0])]
    related = {"shape.steps": {"cost.macs", "cost.peak_activation_bytes"}}.get(name, set())
    assert set(found) <= {name} | related


def test_a_consistent_lie_is_found_too(of_one):
    """Counts, bytes and ratios that agree with each other, and an accuracy that agrees with its confusion."""
    own = of_one("dense")
    record = read_record(place(own, "dense") / "record.json")
    counts = record.counts.model_copy(
        update={k: getattr(record.counts, k) - 96 for k in ("input_to_hidden", "lstm_total", "model_total")}
    )
    ratio = {k: round(getattr(record.baseline.counts, k) / getattr(counts, k), 4)
             for k in RECURRENT}  # fmt: skip
    confusion = [[sum(row) if i == j else 0 for j in range(10)] for i, row in enumerate(record.confusion)]
    stored = {k: v.model_copy(update={"test": 1.0}) for k, v in record.cost.stored_as.items()}
    alter(
        place(own, "dense"),
        counts=counts,
        ratio=record.ratio.model_copy(update=ratio),
        confusion=confusion,
        accuracy=record.accuracy.model_copy(update={"test": 1.0}),
        cost=record.cost.model_copy(update={"stored_as": stored, "bytes": record.cost.bytes - 4 * 96}),
    )
    found = fields(verify(own), "dense")
    assert {"counts.input_to_hidden", "counts.lstm_total", "counts.model_total", "ratio.lstm_total", "confusion",
            "accuracy.test", "cost.bytes", "cost.stored_as.int8.test"} <= set(found)  # fmt: skip
    assert "cost.macs" not in found and "accuracy.train" not in found


def test_one_cell_of_the_confusion_shows_which(of_one):
    own = of_one("tt_lstm")
    record = read_record(place(own, "tt_lstm") / "record.json")
    confusion = [list(row) for row in record.confusion]
    confusion[3][4] += 1
    confusion[3][3 if confusion[3][3] else int(np.argmax(confusion[3]))] -= 1
    alter(place(own, "tt_lstm"), confusion=confusion)
    recorded, measured = fields(verify(own), "tt_lstm")["confusion"]
    assert f"[3][4] {confusion[3][4]}" in recorded and f"[3][4] {confusion[3][4] - 1}" in measured


def test_predictions_that_are_not_the_models_are_found(of_one):
    own = of_one("dense")
    record = read_record(place(own, "dense") / "record.json")
    labels, predicted = unpacked(record.predictions, record.confusion)
    first = int(np.argmax(predicted != labels))
    same = int(np.argmax((labels == labels[first]) & (predicted == labels)))
    predicted[[first, same]] = predicted[[same, first]]  # the confusion matrix stays as it is
    alter(place(own, "dense"), predictions=packed(labels, predicted))
    assert fields(verify(own), "dense") == {"predictions": ("the class of each test sequence", "2 of them differ")}
    predicted[same] = (labels[same] + 1) % 10
    alter(place(own, "dense"), predictions=packed(labels, predicted))
    without_models(own)
    (found,) = fields(verify(own), "dense").items()
    assert found == (
        "predictions",
        (f"{len(labels)} test sequences", "the predictions do not add up to the confusion matrix"),
    )


def test_an_altered_model_is_found(of_one):
    own = of_one("dense")
    path = place(own, "dense") / "model.safetensors"
    spec, state = read_spec(path), load_file(path)
    name = next(name for name in state if "weight" in name)
    state[name] = torch.zeros_like(state[name])
    save_file(state, path, metadata={"spec": json.dumps(spec)})
    found = fields(verify(own), "dense")
    assert "model_digest" in found and "accuracy.test" in found and "counts.lstm_total" not in found


@pytest.mark.parametrize("content", [b"", b"no model", b"\xff" * 64])
def test_a_damaged_model_is_a_problem_of_its_run_alone(own, content):
    (place(own, "dense") / "model.safetensors").write_bytes(content)
    found = verify(own)
    assert set(fields(found, "dense")) == {"model.safetensors"} and found.scored == 4


def test_a_model_that_does_not_fit_its_spec(of_one):
    own = of_one("dense")
    path = place(own, "dense") / "model.safetensors"
    spec, state = read_spec(path), load_file(path)
    save_file(state, path, metadata={"spec": json.dumps(spec | {"class": "os"})})
    assert set(fields(verify(own), "dense")) == {"model.safetensors"}


@pytest.mark.parametrize(
    ("name", "part", "changed", "named"),
    [
        ("dense", "counts", {"lstm_total": 7}, "counts.lstm_total"),
        ("dense", "counts", {"head": 0}, "counts.model_total"),
        ("tt_lstm", "counts", {"bias": 1}, "counts.bias"),
        ("dense", "accuracy", {"test": 0.5}, "accuracy.test"),
        ("dense", "accuracy", {"train": 1.5}, "accuracy.train"),
        ("vib_lstm", "ratio", {"lstm_total": 900.0}, "ratio.lstm_total"),
        ("vib_lstm", "cost", {"bytes": 100}, "cost.bytes"),
        ("vib_lstm", "cost", {"bytes": 10**6}, "cost.bytes"),
        ("vib_lstm", "cost", {"macs": 1}, "cost.macs"),
        ("dense", "kept", {"inputs": 99}, "kept.inputs"),
        ("dense", None, {"test_size": 1}, "test_size"),
        ("dense", None, {"class_names": ["a", "b"]}, "confusion"),
        ("dense", None, {"training": {"epochs": 30}}, "stages (epochs in all)"),
        ("dense", None, {"training": {"steps": 30}}, "stages (steps in all)"),
    ],
)
def test_without_its_model_a_record_still_has_to_agree_with_itself(own, name, part, changed, named):
    without_models(own)
    alter(place(own, name), part, **changed)
    assert named in fields(verify(own), name)


def test_without_its_model_a_dense_count_has_to_follow_the_formula(own):
    """All sums and ratios agree with the planted count; 4h(d + h + 2) does not. A tensor map may be any size."""
    without_models(own)
    for name, wrong in (("dense", True), ("tt_lstm", False)):
        record = read_record(place(own, name) / "record.json")
        counts = record.counts.model_copy(
            update={k: getattr(record.counts, k) - 8 for k in ("input_to_hidden", "lstm_total", "model_total")}
        )
        ratio = {k: round(getattr(record.baseline.counts, k) / getattr(counts, k), 4)
                 for k in RECURRENT}  # fmt: skip
        alter(place(own, name), counts=counts, ratio=record.ratio.model_copy(update=ratio))
        assert ("counts.input_to_hidden" in {p.field for p in verify(own).problems}) == wrong
        shutil.rmtree(place(own, name))


def test_a_wrong_baseline_follows_from_the_formula(own):
    without_models(own)
    record = read_record(place(own, "dense") / "record.json")
    counts = record.baseline.counts.model_copy(update={"lstm_total": 10**6})
    alter(place(own, "dense"), baseline=record.baseline.model_copy(update={"counts": counts}))
    assert "baseline.counts.lstm_total" in fields(verify(own), "dense")


# ---------------------------------------------------------------------- another machine, another time


def test_another_machine_may_be_one_sequence_off_and_that_is_noted(of_one):
    own = of_one("dense")
    record = read_record(place(own, "dense") / "record.json")
    confusion = np.array(record.confusion)
    confusion[0, 0] -= 1
    confusion[0, 1] += 1
    elsewhere = record.provenance.model_copy(update={"machine": "abacus"})
    accuracy = record.accuracy.model_copy(update={"test": float(np.trace(confusion)) / record.test_size})
    alter(place(own, "dense"), confusion=confusion.tolist(), accuracy=accuracy, provenance=elsewhere)
    found = verify(own)
    assert found.problems == [] and any("one sequence" in note for note in found.notes)
    confusion[1, 1] -= 1
    confusion[1, 2] += 1
    accuracy = record.accuracy.model_copy(update={"test": float(np.trace(confusion)) / record.test_size})
    alter(place(own, "dense"), confusion=confusion.tolist(), accuracy=accuracy)
    assert {"confusion", "accuracy.test"} <= set(fields(verify(own), "dense"))


def test_a_method_that_is_gone_is_said_and_is_no_error_of_the_record(own):
    alter(place(own, "dense"), method="dense_of_old")
    found = verify(own)
    assert found.problems == [] and found.measured == 4
    (reason,) = found.not_measured
    assert "'dense_of_old' is not there" in reason and found.not_measured[reason] == 1


def test_data_that_are_gone_leave_the_sizes_to_measure(own):
    record = read_record(place(own, "dense") / "record.json")
    gone = {"name": "digits", "source": "file", "options": {"path": "/no/such/file.npz"}}
    alter(place(own, "dense"), task_spec=gone, counts=record.counts.model_copy(update={"head": 5}))
    found = verify(own)
    assert "counts.head" in fields(found, "dense") and found.scored == 4
    (reason,) = found.not_measured
    assert "/no/such/file.npz" in reason


def test_a_damaged_record_is_a_problem_and_the_others_go_on(own):
    path = place(own, "dense") / "record.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    found = verify(own)
    assert found.records == 4 and found.scored == 4
    reason = "content does not match its digest (altered or damaged)"
    assert fields(found, "dense") == {"record.json": ("a valid record", reason)}


# ---------------------------------------------------------------------- the command and the page


def test_the_command_names_each_problem_in_a_line_and_still_builds_the_page(own, capsys):
    assert main(["report", str(own), "--verify"]) == 0
    assert "no problems" in capsys.readouterr().out
    alter(place(own, "dense"), "counts", lstm_total=12)
    alter(place(own, "vib_lstm"), "accuracy", test=0.999)
    assert main(["report", str(own), "--verify"]) == 1
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("runs/digits/dense/x/seed-0: counts.lstm_total: recorded 12, measured ")
    assert lines[1].startswith("runs/digits/vib_lstm/x/seed-0: accuracy.test: recorded 0.999, measured 0.")
    assert lines[2].endswith("2 problems") and lines[3].endswith("report.html") and len(lines) == 4 and err == ""
    page = (own / "report.html").read_text()
    assert 'id="verified"' in page and "2 problems" in page and "counts.lstm_total" in page
    assert main(["report", str(own)]) == 0  # a page that is built again still says so
    assert "2 problems" in (own / "report.html").read_text()


def test_the_page_says_when_records_have_changed_since(own):
    verify(own)
    assert verified(own).sound and "5 records checked" in verified(own).line
    before = records_digest(own)
    alter(place(own, "dense"), notes=["changed"])
    assert records_digest(own) != before and not verified(own).sound
    assert verified(own).line.startswith("Records have changed since")
    (own / "verification.json").write_text("{")
    assert "cannot be read" in verified(own).line
    (own / "verification.json").unlink()
    assert verified(own) is None


def test_made_up_records_do_not_pass(tmp_path):
    """Synthetic accuracies are drawn apart from their confusions: the check has something to find."""
    make(tmp_path, tasks=("digits",), methods=("dense",), seeds=2)
    assert {p.field for p in verify(tmp_path).problems} == {"accuracy.test"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--verify"], "no such folder"),
        ([".", "--verify"], "no records in it, and no plan.json"),
        (["own", "--verify", "--sample", "0"], "--sample 0"),
        (["own", "--sample", "3"], "goes with --verify"),
        (["own", "--verify", "--plugins", "gone.py"], "does not exist"),
    ],
)
def test_wrong_input_is_refused_in_one_line(own, tmp_path, complaint, arguments, words):
    (tmp_path / "empty").mkdir()
    folder = {"own": own, ".": tmp_path / "empty"}.get(arguments[0], tmp_path / arguments[0])
    assert words in complaint("report", folder, *arguments[1:])


def test_published_networks_still_measure_what_their_records_say(tmp_path):
    """Ninety networks of nine methods, trained by an earlier version of the code."""
    published = Path(__file__).resolve().parents[1] / "results/reference/tuned/runs/digits"
    shutil.copytree(published, tmp_path / "runs/digits")
    outcome = verify(tmp_path, keep=False)
    assert outcome.measured == 90 and outcome.without_model == 10 and not outcome.problems
