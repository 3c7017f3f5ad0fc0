"""Training and runs: equal budgets, an untouched test part, failures as records, the same bits again."""

from __future__ import annotations

import copy
import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from csv_files import read_csv
from hypothesis import given
from hypothesis import strategies as st
from method_files import method_file

from squeezebench.data.task import Task, load_task
from squeezebench.engine import provenance
from squeezebench.engine import run as engine
from squeezebench.engine import start as starts
from squeezebench.engine.measurement.files import load_model
from squeezebench.engine.run import execute
from squeezebench.engine.training import evaluation, loop
from squeezebench.engine.training.evaluation import accuracy, predict
from squeezebench.engine.training.loop import Trainer, describe, divide_length
from squeezebench.method import RecurrentSettings, Stage, dense_classifier
from squeezebench.method.discovery import MethodFile, find_methods
from squeezebench.nn.kernels import native
from squeezebench.schema.record import RECORD_NAME, read_record, write_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings

BEFORE = """import sys
import torch
from squeezebench.method import Stage
from squeezebench.nn import select_units"""


def noisy(path, signal: float) -> TaskSpec:
    """70 noisy sequences of two classes, with lengths."""
    rng = np.random.default_rng(0)
    y = np.arange(70) % 2
    x = rng.normal(size=(70, 5, 4)) + signal * y[:, None, None] * np.linspace(-1, 1, 4)
    np.savez(path, x=x.astype("f4"), y=y, length=rng.integers(2, 6, 70))
    return TaskSpec(name="noisy", source="file", options={"path": str(path)})


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> TaskSpec:
    """What most runs here learn."""
    return noisy(tmp_path_factory.mktemp("data") / "noisy.npz", signal=0.7)


@pytest.fixture
def run(task, tmp_path):
    """Execute one run: a method by name, or one made of `body`; starts are shared within a test."""

    def do(method="dense", settings=None, seed=0, body=None, folder=None, protocol="sound", data=task, **training):
        file = find_methods().get(method)
        if body is not None:
            file = MethodFile(method, tmp_path / f"{method}.py")
            file.path.write_text(method_file(before=BEFORE, more=body))
        spec = RunSpec(
            experiment="test",
            task=data,
            method=method,
            settings={"hidden": 6} | (settings or {}) if method != "pooled_linear" else {},
            seed=seed,
            training=TrainingSettings(**({"epochs": 6, "batch_size": 16, "learning_rate": 5e-3} | training)),
            model=RecurrentSettings(hidden=6),
            protocol=protocol,
        )
        return execute(spec, file, tmp_path / (folder or f"{method}-{seed}"), tmp_path / "starts")

    return do


# ---------------------------------------------------------------------- epochs and steps


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(1, 200))
def test_epochs_are_divided_by_share_and_none_is_lost(shares, epochs):
    stages = [Stage(str(k), share) for k, share in enumerate(shares)]
    if epochs < len(stages):
        with pytest.raises(ValueError, match=f"^{epochs} epochs .* give at least one to each"):
            divide_length(stages, epochs, "epochs")
        return
    counts = divide_length(stages, epochs, "epochs")
    assert sum(counts) == epochs and min(counts) >= 1
    for share, count in zip(shares, counts, strict=True):
        exact = share / sum(shares) * epochs
        assert abs(count - exact) <= max(1.0, len(stages)), (counts, exact)


@pytest.mark.parametrize(
    ("shares", "epochs", "expected"),
    [([1.0], 7, [7]), ([0.6, 0.4], 10, [6, 4]), ([0.5, 0.5], 3, [2, 1]), ([99, 1], 3, [2, 1])],
)  # fmt: skip
def test_examples_of_divided_epochs(shares, epochs, expected):
    assert divide_length([Stage("s", share) for share in shares], epochs, "epochs") == expected


TRAIN = 39  # 70 sequences less 30 % for test, less 20 % of the rest for validation
PASS = math.ceil(TRAIN / 16)  # gradient steps


@pytest.mark.parametrize("method", ["dense", "vib_lstm"])
def test_steps_that_fill_whole_epochs_train_as_those_epochs(run, tmp_path, method):
    """10 epochs are 3 of dense pretraining, 4 and 3; 10 times their steps are divided as evenly."""
    epochs = run(method, epochs=10)
    steps = run(
        method,
        epochs=None,
        steps=10 * PASS,
        settings={"compress_share": 4 / 7} if method == "vib_lstm" else {},
        folder="steps",
    )
    assert steps.model_digest == epochs.model_digest and steps.history_digest == epochs.history_digest
    assert [stage.steps for stage in steps.stages] == [stage.steps for stage in epochs.stages]
    assert steps.training == {name: v for name, v in epochs.training.items() if name != "epochs"} | {"steps": 30}


def test_a_stage_may_end_inside_a_pass_over_the_data(run, tmp_path):
    """Of 20 steps 6 train the start, 8 (of 14) are under masks and 6 fine-tune: 2 and 2/3 passes, then 2."""
    record = run("vib_lstm", epochs=None, steps=20)
    assert [(stage.steps, stage.epochs) for stage in record.stages] == [(6, 2), (8, 3), (6, 2)]
    rows = read_csv(tmp_path / "vib_lstm-0" / "history.csv")
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "3"), ("1", "6"), ("2", "8"), ("0", "3"), ("1", "6")]


def test_many_passes_in_steps_are_scored_a_hundred_times_and_at_the_end(run, tmp_path, events, monkeypatch):
    """Each epoch of a budget in epochs has a row; 2.5 times as many passes as rows have one in two, and the last."""
    assert loop.MOST_ROWS == 100
    monkeypatch.setattr(loop, "MOST_ROWS", 20)
    record = run("dense", {"hidden": 2}, epochs=None, steps=51 * PASS - 1)
    assert record.stages[0].epochs == 51 == events.count(("epoch",))
    rows = read_csv(tmp_path / "dense-0" / "history.csv")
    assert [int(row["epoch"]) for row in rows] == [*range(1, 51, 2), 50] and len(rows) < 2 * 20
    assert int(rows[-1]["step"]) == 51 * PASS - 1


def test_every_method_takes_the_same_number_of_gradient_steps(run):
    found = {}
    for method in find_methods():
        if "sequence" not in engine.load(find_methods()[method]).kinds:
            continue
        record = run(method, {"ratio": 2} if method == "small_dense" else None)
        if record.status == "skipped":
            continue
        assert record.status == "ok", f"{method}: {record.reason}"
        found[method] = (sum(stage.epochs for stage in record.stages), sum(stage.steps for stage in record.stages))
    assert set(found.values()) == {(6, 6 * PASS)}, found
    assert {"dense", "small_dense", "pooled_linear", "vib_lstm", "iss", "magnitude", "random_units"} <= set(found)


def test_too_few_epochs_for_the_stages_is_a_failed_record_that_says_so(run):
    record = run("vib_lstm", epochs=2)
    assert record.status == "failed" and "each of the 2 stages needs 1; give at least 3" in record.reason


# ---------------------------------------------------------------------- the test part


@pytest.fixture
def events(monkeypatch):
    """What happens in order: ("read", part, sequences) and ("epoch",)."""
    found = []
    batch, labels, epoch = Task.batch, Task.labels, Trainer._epoch

    def spy_batch(self, part, positions, generator=None):
        found.append(("read", part, len(positions)))
        return batch(self, part, positions, generator)

    def spy_labels(self, part):
        found.append(("labels", part))
        return labels(self, part)

    def spy_epoch(self, *arguments):
        found.append(("epoch",))
        return epoch(self, *arguments)

    monkeypatch.setattr(Task, "batch", spy_batch)
    monkeypatch.setattr(Task, "labels", spy_labels)
    monkeypatch.setattr(Trainer, "_epoch", spy_epoch)
    return found


@pytest.mark.parametrize("select", ["final", "validation"])
@pytest.mark.parametrize("method", ["dense", "vib_lstm", "magnitude"])
def test_the_test_part_is_read_once_for_each_stored_precision_when_all_training_is_over(
    run, task, events, method, select
):
    record = run(method, select=select)
    assert record.status == "ok" and set(record.cost.stored_as) == {"float32", "float16", "int8"}
    last_epoch = max(k for k, event in enumerate(events) if event == ("epoch",))
    touched = [k for k, event in enumerate(events) if "test" in event]
    assert min(touched) > last_epoch
    size, times = load_task(task).size("test"), 3 + (record.before_fine_tuning is not None)
    assert sum(event[2] for event in events if event[:2] == ("read", "test")) == times * size


def test_as_released_reads_the_test_part_and_says_what_that_flatters(run, events, tmp_path):
    """On pure noise the best of 20 epochs looks better than the last one."""
    noise = noisy(tmp_path / "noise.npz", signal=0.0)
    hot = {"epochs": 20, "learning_rate": 0.05, "schedule": "constant"}
    record = run("dense", data=noise, protocol="as_released", **hot)
    epochs = [k for k, event in enumerate(events) if event == ("epoch",)]
    assert any(event[:2] == ("read", "test") for event in events[epochs[0] : epochs[-1]])
    assert record.protocol == "as_released"
    assert record.accuracy.test > record.accuracy.test_final_epoch
    assert run("dense", data=noise, folder="sound", epochs=1).accuracy.test_final_epoch is None


def test_as_released_scores_the_small_module_of_a_method_that_prunes_at_its_end(run):
    body = "def end_stage(self, model, stage):\n        return select_units(model, None, [torch.arange(2)])"
    sound, released = (run("prunes", body=body, protocol=p, folder=p) for p in ("sound", "as_released"))
    assert sound.kept.hidden == released.kept.hidden == [2]


def test_the_record_has_the_accuracy_of_what_the_last_removal_left(run, task):
    """A method that removes at the end of its first and second of three stages, all but one unit the second time."""
    body = (
        "def stages(self):\n        return [Stage(name, 1) for name in 'abc']\n\n"
        + " " * 4
        + hook(
            "end_stage(self, model, stage)|if stage.name == 'c': return model|"
            "small = select_units(model, None, [torch.arange(1 if stage.name == 'b' else 4)])|"
            "if stage.name == 'b': small.head.weight.data.zero_().T[0, 0] = small.head.bias.data.zero_()[1] = -1|"
            "return small"
        )
    )
    record = run("cuts", body=body)
    assert record.status == "ok", record.reason
    found = record.before_fine_tuning
    data = load_task(task)
    zeros = {part: float((data.labels(part) == 0).mean()) for part in ("validation", "test")}
    assert {part: getattr(found, part) for part in zeros} == zeros and found.train is None
    assert run("dense").before_fine_tuning is None


def test_select_validation_keeps_the_best_epoch_of_the_last_stage(run, tmp_path):
    record = run("dense", select="validation", epochs=12, learning_rate=0.05, schedule="constant")
    rows = (tmp_path / "dense-0" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("validation_accuracy")
    found = [float(row.split(",")[column]) for row in rows[1:]]
    assert record.accuracy.validation == pytest.approx(max(found)) and max(found) > found[-1]


# ---------------------------------------------------------------------- failures are records


def hook(text: str) -> str:
    """A hook of the class, one line of it a string of `text` before each bar."""
    first, *lines = text.split("|")
    return "\n        ".join([f"def {first}:", *lines])


NAN = "torch.nn.init.constant_(model.head.weight, float('nan'))"
FAILURES = {  # kind -> (what the method does, how the reason begins)
    "penalty becomes NaN": (
        "penalty(self, model)|return model.head.weight.sum() * float('nan')",
        "Diverged: the gradient became nan in stage train, epoch 0",
    ),
    "weights become NaN": (f"after_step(self, model)|{NAN}", "Diverged: the loss became nan in stage train, epoch 0"),
    "NaN in the last step": (f"after_step(self, model)|if self.clock.step == self.clock.steps - 1: {NAN}", "Diverged"),
    "compact gives NaN": (f"compact(self, model)|{NAN}|return model", "Diverged"),
    "raises": ("penalty(self, model)|raise KeyError('beta')", "KeyError: 'beta'"),
    "exits": ("penalty(self, model)|sys.exit(3)", "the method called sys.exit(3)"),
    "out of memory": ("penalty(self, model)|raise MemoryError('of 9 GB')", "out of memory: of 9 GB"),
    "out of GPU memory": (
        "penalty(self, model)|raise torch.OutOfMemoryError('CUDA out of memory. Tried')",
        "out of memory: CUDA out of memory",
    ),
    "many lines": ("penalty(self, model)|raise ValueError('one\\n\\n  two')", "ValueError: one two"),
    "logits of other classes": (
        "build(self, task)|wide = dense_classifier(task, self.settings)|wide.head = torch.nn.Linear(6, 5)|return wide",
        "logits have shape (2, 5), not (2, 2): one for each sequence and class",
    ),
    "no stages": ("stages(self)|return []", "ValueError"),
    "no module from build": ("build(self, task)|pass", "TypeError: build() gives NoneType; return the module"),
    "no module": ("compact(self, model)|return None", "TypeError: compact() gives NoneType; return the module"),
    "no module of a stage": ("end_stage(self, model, stage)|pass", "TypeError: end_stage() gives NoneType; return"),
    "nothing to rebuild it from": ("compact(self, model)|return torch.nn.Linear(4, 2)", ""),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_a_record_with_its_reason(run, tmp_path, kind):
    text, reason = FAILURES[kind]
    record = run("wrong", body=hook(text), clip=5.0 if "penalty" in kind else 0.0)
    assert record.status == "failed"
    assert record.reason.startswith(reason) and len(record.reason.splitlines()) == 1
    assert read_record(tmp_path / "wrong-0" / RECORD_NAME) == record
    assert record.accuracy.test is None and record.counts is None
    assert not (tmp_path / "wrong-0" / "model.safetensors").exists()
    assert "Traceback" in (tmp_path / "wrong-0" / "log.txt").read_text()


def test_a_skipped_run_is_a_record_with_the_methods_words(run):
    record = run("picky", body="def skip(self, task):\n        return f'has {task.inputs} inputs'")
    assert (record.status, record.reason) == ("skipped", "has 4 inputs")


def test_an_interrupt_passes_through_and_leaves_no_record(run, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run("stopped", body=hook("penalty(self, model)|raise KeyboardInterrupt"), folder="one")
    assert not (tmp_path / "one" / RECORD_NAME).exists()
    assert run("goes_on", body="pass", folder="one").status == "ok"


# ---------------------------------------------------------------------- again


def numbers(record) -> dict:
    """What must repeat: all but times, latencies and the folder's name."""
    content = copy.deepcopy(record.model_dump())
    for stage in content["stages"]:
        del stage["seconds"], stage["core_seconds"], stage["shared"]
    del content["seconds"], content["provenance"]["finished"]
    if content["cost"]:
        for name in [name for name in content["cost"] if "latency" in name or name == "fastest_dense_runtime"]:
            del content["cost"][name]
    return content


@pytest.mark.parametrize("method", ["vib_lstm", "magnitude"])  # all of them: contract/test_methods.py
def test_the_same_seed_gives_the_same_record_and_the_same_file(run, tmp_path, method):
    one, again, other = run(method), run(method, folder="again"), run(method, seed=1)
    assert numbers(one) == numbers(again)
    weights = [(tmp_path / place / "model.safetensors").read_bytes() for place in (f"{method}-0", "again")]
    assert weights[0] == weights[1]
    assert weights[0] != (tmp_path / f"{method}-1" / "model.safetensors").read_bytes()
    assert numbers(one) != numbers(other)


def test_what_is_scored_is_what_is_saved(run, task, tmp_path):
    record = run("vib_lstm")
    model = load_model(tmp_path / "vib_lstm-0" / "model.safetensors", engine.load(find_methods()["vib_lstm"]).restore)
    found = {
        part: accuracy(model, load_task(task), part, torch.device("cpu")) for part in ("train", "validation", "test")
    }
    assert found == {part: getattr(record.accuracy, part) for part in found}
    assert sum(map(sum, record.confusion)) == record.test_size == load_task(task).size("test")
    right = sum(record.confusion[k][k] for k in range(2))
    assert right / record.test_size == pytest.approx(record.accuracy.test)


def test_wide_inputs_are_scored_in_small_batches_and_the_logits_differ_by_rounding_alone(task, monkeypatch):
    torch.manual_seed(0)
    loaded, sizes, logits = load_task(task), [], []
    model = dense_classifier(describe(loaded), RecurrentSettings(hidden=6))
    model.register_forward_hook(lambda _, given, y: sizes.append(len(given[0])) or logits.append(y))
    predictions = []
    for most in (evaluation.EVALUATION_BYTES, 3 * 4 * 5 * 4, 1):  # bytes; a sequence has 5 steps of 4 float32 numbers
        monkeypatch.setattr(evaluation, "EVALUATION_BYTES", most)
        predictions.append(predict(model, loaded, "train", torch.device("cpu")))
    n = loaded.size("train")
    assert sizes[0] == n and set(sizes[1:-n]) == {3, n % 3} - {0} and sizes[-n:] == [1] * n
    whole, *others = (part.softmax(-1) for part in torch.cat(logits).split(n))
    for other, predicted in zip(others, predictions[1:], strict=True):
        torch.testing.assert_close(other, whole, rtol=1e-5, atol=1e-6)
        clear = (whole[:, 0] - whole[:, 1]).abs().numpy() > 1e-5
        assert clear.any() and (predicted == predictions[0])[clear].all()


def test_a_valid_record_is_kept_and_a_damaged_one_is_made_again(run, tmp_path, events):
    first = run("dense")
    path = tmp_path / "dense-0" / RECORD_NAME
    content, count = path.read_bytes(), events.count(("epoch",))
    assert run("dense") == first and path.read_bytes() == content and events.count(("epoch",)) == count
    path.write_bytes(content[: len(content) // 2])
    assert numbers(run("dense")) == numbers(first) and events.count(("epoch",)) == 2 * count


def test_a_failure_is_kept_until_the_engine_changes(run, tmp_path, events, monkeypatch):
    first = run("dense")
    failed = first.model_copy(update={"status": "failed", "reason": "an error of the engine"})
    write_record(tmp_path / "dense-0", failed)
    assert run("dense").reason == failed.reason
    monkeypatch.setattr(provenance, "engine_digest", lambda: "e" * 64)
    assert run("dense").status == "ok"
    count = events.count(("epoch",))
    monkeypatch.setattr(provenance, "engine_digest", lambda: "f" * 64)
    assert run("dense").status == "ok" and events.count(("epoch",)) == count  # what was finished stays


def test_a_record_of_another_run_in_the_same_folder_is_not_taken_for_this_one(run):
    found = [run("dense", folder="same")]
    for changed in ({"seed": 1}, {"settings": {"hidden": 5}}, {"epochs": 7}, {"protocol": "as_released"}):
        found.append(run("dense", folder="same", **changed))
    assert len({record.provenance.inputs_digest for record in found}) == 5


def test_a_start_that_the_kernel_had_a_part_in_is_not_that_of_a_run_without_it():
    spec = RunSpec(task=TaskSpec(name="digits", source="digits"), method="dense", settings={})
    with native.switched(False):
        without = starts.start_digest(spec, RecurrentSettings(), 3)
    assert native.enabled() and starts.start_digest(spec, RecurrentSettings(), 3) != without


def test_what_decides_a_run_is_the_content_of_files_and_not_their_place():
    def spec(place: str, fingerprint: str = "contents:a", weights: str = "0" * 64, **options: Any) -> RunSpec:
        task = TaskSpec(name="mine", source="file", options={"path": place, **options})
        settings = {"start": {"file": place, "sha256": weights}}
        return RunSpec(task=task, fingerprint=fingerprint, method="dense", settings=settings)

    def digest(*given: str, **more: Any) -> str:
        return spec(*given, **more).digest_with("m")

    assert digest("here") == digest("there")
    others = [digest("here", "contents:b"), digest("here", weights="1" * 64), digest("here", labels=3)]
    assert len({digest("here"), *others}) == 4
    assert digest("here", "") != digest("there", "")  # nothing but the place tells which data they are
    own, of_schema_3 = spec("here"), "92718aafcb556cb0121ef1e79aae7e0c9398cc68851cf338396ae78d75bd3024"
    assert own.made(digest("there"), "m") and own.made(of_schema_3, "m")
    assert not own.made(of_schema_3, "another method") and not spec("there").made(of_schema_3, "m")


def test_an_edited_method_file_makes_its_run_anew(run, tmp_path, events):
    first = run("mine", body="pass")
    count = events.count(("epoch",))
    again = run("mine", body="None")
    assert first.provenance.method_digest != again.provenance.method_digest
    assert events.count(("epoch",)) == 2 * count


# ---------------------------------------------------------------------- the dense pretraining


@pytest.fixture
def trainings(monkeypatch):
    """How many dense networks were pretrained."""
    found, train = [], starts._train

    def spy(*arguments):
        found.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(starts, "_train", spy)
    return found


def test_methods_share_one_dense_start(run, trainings, tmp_path):
    records = [run(method, folder=method) for method in ("iss", "magnitude", "random_units")]
    assert len(trainings) == 1 and len(list((tmp_path / "starts").glob("*.safetensors"))) == 1
    assert len({record.provenance.start_digest for record in records}) == 1
    assert all(record.stages[0].name == "dense pretraining" and record.stages[0].shared for record in records)
    for record in records:
        own = sum(stage.seconds for stage in record.stages if not stage.shared)
        assert record.seconds.train == pytest.approx(own, abs=0.01)


def test_a_dense_start_is_let_go_once_its_weights_are_taken_over(run, monkeypatch):
    modules, alive, dense_start, stage = [], [], engine.dense_start, Trainer._stage

    def spied(*arguments):
        start = dense_start(*arguments)
        modules.append(weakref.ref(start.model))
        return start

    def looking(trainer, model, running):
        alive.extend(module() is not None for module in modules)  # none yet while the start itself is trained
        return stage(trainer, model, running)

    monkeypatch.setattr(engine, "dense_start", spied)
    monkeypatch.setattr(Trainer, "_stage", looking)
    assert run("iss").status == "ok"
    assert alive and not any(alive)


def test_another_seed_width_or_cell_has_a_start_of_its_own(run, trainings):
    run("iss")
    for changed in ({"seed": 1}, {"settings": {"hidden": 5}}, {"settings": {"cell": "gru"}}, {"epochs": 12}):
        before = len(trainings)
        run("iss", folder=str(changed), **changed)
        assert len(trainings) == before + 1, changed


def test_a_run_gives_the_same_bits_whether_its_start_was_found_or_trained_now(run, trainings, tmp_path):
    trained, found = run("random_units"), run("random_units", folder="again")
    assert len(trainings) == 1 and numbers(trained) == numbers(found)


def test_a_damaged_start_is_trained_again(run, trainings, tmp_path):
    before = run("iss")
    (path,) = (tmp_path / "starts").glob("*.safetensors")
    content = path.read_bytes()
    bit = content[:-3] + bytes([content[-3] ^ 16]) + content[-2:]  # safetensors has no checksum of its own
    for number, damaged in enumerate((content[:-9], b"", bit), 2):
        path.write_bytes(damaged)
        after = run("iss", folder=f"again-{number}")
        assert len(trainings) == number
        assert numbers(after) == numbers(before) and path.read_bytes()[-64:] == content[-64:]
    path.write_bytes(content.replace(b"dense pretraining", b"dense pretrained!"))  # its words do not matter
    run("iss", folder="words")
    assert len(trainings) == 4


def test_a_start_is_what_training_the_dense_model_gives(run, task, tmp_path):
    run("iss")  # a start of 2 of the 6 epochs
    (path,) = (tmp_path / "starts").glob("*.safetensors")
    loaded = load_task(task)
    info = describe(loaded)
    stored = dense_classifier(info, RecurrentSettings(hidden=6))
    stored.load_state_dict(starts.load(path.read_bytes()))
    training = TrainingSettings(epochs=6, batch_size=16, learning_rate=5e-3)
    method = starts.DenseStart(RecurrentSettings(hidden=6))
    expected = Trainer(method, loaded, training, 0).run(None, 2)
    for (name, one), other in zip(stored.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
