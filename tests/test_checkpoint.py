"""Checkpoints of training: a run that was interrupted goes on to the same bits, and none costs a run its result."""

from __future__ import annotations

import copy
import hashlib
import os
import pickle
import resource
import signal
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from interrupted import checkpoints, command, noisy, results

from squeezebench.engine import provenance
from squeezebench.engine.run import execute
from squeezebench.engine.training import checkpoint, loop
from squeezebench.engine.training.checkpoint import NAME, SECONDS, Checkpoints
from squeezebench.engine.training.state import Part
from squeezebench.engine.unfinished import NAME as MARK
from squeezebench.method import RecurrentSettings
from squeezebench.method.discovery import MethodFile, find_methods
from squeezebench.schema.record import RECORD_NAME, read_record
from squeezebench.schema.run import RunSpec
from squeezebench.schema.task import TaskSpec
from squeezebench.schema.training import TrainingSettings

STEPS = 3  # batches of 16 in the training part of 39 sequences
OTHER_RULE = '''"""A method with a learning rule and state of its own, in every form that a checkpoint keeps."""

import random
from collections import deque

import numpy as np
import torch

from squeezebench.method import Method, Stage, dense_classifier
from squeezebench.nn import RecurrentClassifier, select_units


class Memory:
    """Keeps a mean in a way of its own."""

    def __init__(self):
        self.mean = 1.0

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state):
        self.mean = state["mean"]


class Counting(RecurrentClassifier):
    """Counts its passes beside its parameters, and draws noise whether it trains or not."""

    passes = 0

    def forward(self, x, length=None):
        noise = torch.rand(())
        if self.head.training:
            self.passes += 1
            noise = noise * self.passes
        return super().forward(x + 0.01 * noise, length)


class Other(Method):
    """Gradients pile up over steps; noise, rates and signs come from what the method keeps."""

    title = paper = "synthetic"

    def start_share(self):
        return 0.2

    def stages(self):
        return [Stage("one", 0.5), Stage("two", 0.5)]

    def build(self, task):
        self.task, self.rng, self.memory = task, np.random.default_rng(7), Memory()
        self.calls, self.losses, self.seen = 0, deque(maxlen=4), {("a", 1): [0.0]}
        return dense_classifier(task, self.settings)

    def load_dense(self, model, dense):
        self.teacher = dense
        return self.hold(super().load_dense(model, dense))

    def hold(self, model):
        model.__class__ = Counting
        self.rows = model.head.weight.detach()[:2]  # a view: what is written there is written to the module
        self.bias = model.head.bias  # the parameter itself, with its gradient
        self.own = torch.optim.SGD([model.head.bias], lr=0.05, momentum=0.9)
        return model

    def parameter_groups(self, model):
        self.layers = [model.layers[0], model.head]
        return super().parameter_groups(model)

    def train_step(self, model, x, length, y, optimiser):
        loss = torch.nn.functional.cross_entropy(model(x, length), y)
        loss.backward()  # no zero_grad: the gradients of two steps are summed
        self.calls += 1
        if self.calls % 2:
            self.memory.mean = 0.9 * self.memory.mean + self.bias.grad.abs().mean().item()
            optimiser.step()
            self.own.step()
            optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            self.rows.add_(0.01 * self.memory.mean * float(self.rng.normal()))
            self.teacher.head.bias.add_(0.001 * random.random() + 0.001 * np.random.rand())
            self.layers[1].weight.mul_(1 - 0.001 * float(self.teacher.head.bias.mean()))
            model.head.weight.add_(1e-3 * float(np.mean(self.losses or [0])) * self.seen["a", 1][0])
        self.losses.append(loss.item())
        self.seen["a", 1][0] += 1.0
        if self.calls == 5:
            self.notes.append("five calls")
        return loss.item()

    def after_step(self, model):
        if self.calls % 3 == 1:
            model.head.eval()  # until the next epoch
        if self.calls == 8:
            model.layers[0].bias_ih.requires_grad_(False)

    def end_stage(self, model, stage):
        if stage.name == "two":
            return model
        drawn = model.head.bias[0] + model.layers[0].bias_hh.grad.sum() + random.random() + np.random.rand()
        units = 2 + int(1e4 * (drawn + torch.rand(())).item()) % (model.hidden[0] - 1)
        small = select_units(model, None, [torch.arange(units)])
        with torch.no_grad():
            model.head.bias.zero_()  # of the module that is left behind
        return self.hold(small)
'''


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return noisy(tmp_path_factory.mktemp("data") / "noisy.npz")


@pytest.fixture
def run(data, tmp_path):
    """Execute one run into a folder of its own, with its own dense pretraining."""

    def do(folder, method="vib_lstm", settings=None, protocol="sound", frames=None, seed=0, **training):
        file = find_methods().get(method)
        if method == "other":
            file = MethodFile("other", tmp_path / "other.py")
            file.path.write_text(OTHER_RULE)
        options = {"frames": frames, "sampling": "random"} if frames else {}
        spec = RunSpec(
            task=TaskSpec(name="noisy", source="file", options={"path": str(data)}, **options),
            method=method,
            settings={"hidden": 6} | (settings or {}),
            seed=seed,
            training=TrainingSettings(**({"epochs": 10, "batch_size": 16, "learning_rate": 5e-3} | training)),
            model=RecurrentSettings(hidden=6),
            protocol=protocol,
        )
        return execute(spec, file, tmp_path / folder, tmp_path / folder / "starts")

    return do


@contextmanager
def stopping(monkeypatch, after: int):
    """Training is interrupted after that many steps (of the dense pretraining and the stages together)."""
    steps = iter(range(1, after + 1))
    write = Checkpoints.write

    def due(self):
        return next(steps, None) == after

    def stop(self, *parts):
        write(self, *parts)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", due)
        patch.setattr(Checkpoints, "write", stop)
        yield


def interrupt(run, monkeypatch, after: int, *arguments, **more) -> None:
    with stopping(monkeypatch, after), pytest.raises(KeyboardInterrupt):
        run(*arguments, **more)


def test_what_a_process_left_that_died_after_its_record_was_written_goes(run, tmp_path):
    made = run("r", "dense", epochs=1)
    for name in (NAME, MARK):
        (tmp_path / "r" / name).write_bytes(b"")
    assert run("r", "dense", epochs=1) == made
    assert not (tmp_path / "r" / NAME).exists() and not (tmp_path / "r" / MARK).exists()


# ---------------------------------------------------------------------- the same bits

KINDS = {
    "vib_lstm": {"settings": {"beta": 30.0, "ramp": 0.0, "mask_learning_rate": 0.25}},
    "best validation epoch": {"select": "validation", "learning_rate": 0.05, "schedule": "constant"},
    "best test epoch": {"protocol": "as_released", "learning_rate": 0.05},
    "random frames": {"frames": 5},
    "SGD": {"optimiser": "sgd", "schedule": "thirds", "learning_rate": 0.05, "nesterov": True},
    "steps that end inside a pass": {"epochs": None, "steps": 10 * STEPS, "settings": {"compress_share": 0.5}},
    "bfloat16": {"precision": "bfloat16", "weight_decay": 0.01},
    "dropout and batch norm": {"settings": {"dropout": 0.3, "front": "segments"}},
    "magnitude": {"method": "magnitude", "settings": {"every": 4}},
    "another learning rule": {"method": "other", "settings": {"hidden": 30}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_interrupted_run_goes_on_to_the_same_bits(run, tmp_path, monkeypatch, kind):
    """Interrupted inside the dense pretraining (where there is one) and twice in each stage, in and between epochs."""
    whole = run("whole", **KINDS[kind])
    assert whole.status == "ok", whole.reason
    total = sum(stage.steps for stage in whole.stages)
    assert total == 10 * STEPS
    stops, done = (2, 12, 16, total - 1), 0
    for at in stops:
        interrupt(run, monkeypatch, at - done, "again", **KINDS[kind])
        assert len(checkpoints(tmp_path / "again")) == 1
        done = at
    record = run("again", **KINDS[kind])
    assert read_record(tmp_path / "again" / RECORD_NAME) == record
    assert results(tmp_path / "again") == results(tmp_path / "whole")
    shared = sum(stage.steps for stage in whole.stages if stage.shared)
    assert record.provenance.resumed == sum(at > shared for at in stops) >= 3
    assert whole.provenance.resumed == 0
    assert not checkpoints(tmp_path / "again")


def test_a_signal_in_the_validation_of_an_epoch_does_not_wait_for_its_end(run, tmp_path, monkeypatch):
    """Not even where a module draws at random whenever it is called."""
    run("whole", "other")
    validations, measure = iter(range(1, 100)), loop.accuracy

    def disturbed(model, task, part, *more):
        found = measure(model, task, part, *more)
        if next(validations) == 4:
            signal.raise_signal(signal.SIGINT)
        return found

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "accuracy", disturbed)
        run("again", "other")
    assert checkpoints(tmp_path / "again")
    assert run("again", "other").provenance.resumed == 1
    assert results(tmp_path / "again") == results(tmp_path / "whole")


@pytest.mark.long
def test_every_step_of_a_run_can_be_the_one_after_which_it_is_interrupted(run, tmp_path, monkeypatch):
    run("whole", "vib_lstm", epochs=4)
    for after in range(1, 4 * STEPS + 1):
        folder = f"after-{after}"
        interrupt(run, monkeypatch, after, folder, "vib_lstm", epochs=4)
        run(folder, "vib_lstm", epochs=4)
        assert results(tmp_path / folder) == results(tmp_path / "whole"), folder


def test_seconds_count_all_processes_and_the_record_names_all_machines(run, tmp_path, monkeypatch):
    interrupt(run, monkeypatch, 20, "one", "dense")
    content = checkpoint.load(tmp_path / "one" / NAME)
    content["present"]["seconds"] += 1000.0
    checkpoint.save(tmp_path / "one" / NAME, content)
    here = provenance.machine()
    monkeypatch.setattr(provenance, "machine", lambda: "another one")
    record = run("one", "dense")
    assert record.stages[0].seconds > 1000 and record.seconds.train > 1000 and record.seconds.total > 1000
    assert record.provenance.machine == f"{here} then another one"
    run("whole", "dense")
    assert results(tmp_path / "one") == results(tmp_path / "whole")


# ---------------------------------------------------------------------- what is not used


@pytest.fixture
def left(run, tmp_path, monkeypatch):
    """A checkpoint that an interrupted run left, and what the run gives."""
    run("whole", "dense")
    interrupt(run, monkeypatch, 14, "one", "dense")
    return tmp_path / "one" / NAME, results(tmp_path / "whole")


def damaged(content: bytes):
    """The file cut off, and with one bit of it flipped, at places all over it."""
    for part in (0, 7, 8, 200, len(content) // 2, len(content) - 1):
        yield f"cut at {part}", content[:part]
    rng = np.random.default_rng(0)
    for place in [0, 3, 8, 9, *rng.integers(10, len(content), 60).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        yield f"bit of byte {place}", bytes(flipped)
    yield "nothing of the kind", b"pickled?" * 100


def test_a_damaged_checkpoint_is_told_and_training_starts_again(left, run, tmp_path, caplog):
    path, whole = left
    content = path.read_bytes()
    one = Checkpoints(path, "x")
    for what, broken in damaged(content):
        path.write_bytes(broken)
        caplog.clear()
        assert one.read() is None, what
        assert "not a whole checkpoint" in caplog.text and len(caplog.records) == 1, what
    path.write_bytes(broken)
    record = run("one", "dense")
    assert "not a whole checkpoint" in (tmp_path / "one" / "log.txt").read_text()
    assert record.provenance.resumed == 0 and results(tmp_path / "one") == whole


class Touch:
    """Runs a command when an ordinary reader of pickles meets it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("write", [torch.save, lambda value, file: file.write_bytes(pickle.dumps(value, 2))])
def test_a_checkpoint_that_somebody_made_up_runs_nothing(tmp_path, caplog, write):
    """Its digest is right; the reader knows tensors and plain data only."""
    path, made = tmp_path / NAME, tmp_path / "made"
    write({"identity": "x", "stages": Touch(made)}, path)
    content = path.read_bytes()
    path.write_bytes(hashlib.sha256(content).digest() + content)
    assert Checkpoints(path, "x").read() is None
    assert "not a whole checkpoint" in caplog.text and not made.exists()


@pytest.mark.parametrize("other", ["seed", "engine", "library"])
def test_a_checkpoint_of_another_run_engine_or_thread_count_is_not_used(left, run, tmp_path, monkeypatch, other):
    more = {}
    if other == "seed":
        more = {"seed": 1}
    if other == "engine":
        monkeypatch.setattr(provenance, "engine_digest", lambda: "0" * 64)
    if other == "library":
        monkeypatch.setattr(provenance, "packages", lambda *_: {"torch": "3.0"})
    record = run("one", "dense", **more)
    assert record.status == "ok" and record.provenance.resumed == 0
    assert "of another run, engine or thread count" in (tmp_path / "one" / "log.txt").read_text()


def test_threads_belong_to_the_identity_of_a_training(tmp_path):
    found = set()
    for threads in (1, 2, 1):
        torch.set_num_threads(threads)
        found.add(Checkpoints(tmp_path / NAME, "x").identity)
    assert len(found) == 2


def test_content_that_does_not_fit_the_run_is_told_and_training_starts_again(left, run, tmp_path):
    """With a right digest, as whoever writes a file can write one."""
    path, whole = left
    content = checkpoint.load(path)
    changes = {
        "no stage": lambda c: c.pop("present"),
        "a method's function": lambda c: c["present"]["snapshot"]["method"].update(penalty="x"),
        "too many stages": lambda c: c.update(finished=[c["present"]["snapshot"]] * 3),
        "no such tensor": lambda c: c["present"]["snapshot"]["values"].pop("head.bias"),
        "of another shape": lambda c: c["present"]["snapshot"]["values"].update({"head.bias": torch.zeros(99)}),
        "a word for a number": lambda c: c.update(resumed="x"),
        "unknown kind": lambda c: c.update(history=Part("pickle", "x")),
        "steps of a clock": lambda c: c["present"]["snapshot"]["clock"].update(hour=3),
    }
    for what, change in changes.items():
        altered = copy.deepcopy(content)
        change(altered)
        checkpoint.save(path, altered)
        (tmp_path / "one" / RECORD_NAME).unlink(missing_ok=True)
        record = run("one", "dense")
        assert record.status == "ok" and record.provenance.resumed == 0, what
        assert "does not fit the run" in (tmp_path / "one" / "log.txt").read_text(), what
        assert results(tmp_path / "one") == whole, what


# ---------------------------------------------------------------------- what it costs, and who may not pay


def test_a_short_run_writes_none_and_a_finished_one_leaves_none(run, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(Checkpoints, "write", lambda *a: found.append(a))
    assert run("short").status == "ok" and not found
    for name in (NAME, f".{NAME}.abcdefgh"):  # of a process that was killed between its record and this
        (tmp_path / "short" / name).write_bytes(b"left")
    run("short")
    assert sorted(path.name for path in (tmp_path / "short").iterdir()) == [
        "history.csv", "log.txt", "model.safetensors", "normalisation.safetensors", "record.json", "starts",
    ]  # fmt: skip


def test_none_is_written_where_that_is_asked_for(run, monkeypatch, tmp_path):
    monkeypatch.setenv(SECONDS, "0")
    monkeypatch.setattr(Checkpoints, "due", lambda self: pytest.fail("asked"))
    assert run("without").status == "ok"


@pytest.mark.parametrize("value", ["often", "-1", "nan", "inf"])
def test_a_wrong_interval_is_one_line_and_no_failed_run(run, tmp_path, monkeypatch, complaint, value, data):
    monkeypatch.setenv(SECONDS, "300")  # what the command sets is taken back after the test
    said = complaint(*command(tmp_path / "one", f"file:{data}", "dense", f"--checkpoint-seconds={value}"))
    assert f"{SECONDS}={value}" in said and not (tmp_path / "one").exists()


def test_a_full_disk_does_not_end_the_run(run, tmp_path, monkeypatch):
    """No file may grow past a size that the record fits and the checkpoint does not."""
    whole = run("whole", "vib_lstm", {"hidden": 40}, epochs=20)
    largest = max(path.stat().st_size for path in (tmp_path / "whole").rglob("*") if path.is_file())
    monkeypatch.setenv(SECONDS, "1e-9")
    monkeypatch.setattr(checkpoint, "MOST_COST", 1.0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100, before[1]))
    try:
        record = run("full", "vib_lstm", {"hidden": 40}, epochs=20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert whole.status == record.status == "ok", record.reason
    assert results(tmp_path / "full") == results(tmp_path / "whole")
    words = (tmp_path / "full" / "log.txt").read_text()
    assert words.count("cannot be written") == 2, words  # once for the dense pretraining, once for the run
    assert not [*(tmp_path / "full").rglob(".*"), *checkpoints(tmp_path / "full")]


def test_a_method_with_state_that_is_no_data_runs_without_checkpoints(run, tmp_path, monkeypatch):
    monkeypatch.setenv(SECONDS, "1e-9")
    global OTHER_RULE
    text = OTHER_RULE.replace("def state_dict", "def nothing")
    monkeypatch.setitem(globals(), "OTHER_RULE", text)
    assert run("one", "other").status == "ok"
    words = (tmp_path / "one" / "log.txt").read_text().splitlines()
    found = [line for line in words if "no checkpoint is written" in line]
    assert len(found) == 1 and "self.memory holds a Memory" in found[0]


def test_signals_are_the_callers_again_after_training_and_other_threads_train_too(run, tmp_path):
    before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
    found = []
    thread = threading.Thread(target=lambda: found.append(run("thread", "dense")))
    thread.start()
    thread.join()
    run("main", "dense")
    assert results(tmp_path / "thread") == results(tmp_path / "main")
    assert [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)] == before


def test_where_writing_is_slow_it_is_done_less_often(tmp_path, monkeypatch):
    one = Checkpoints(tmp_path / NAME, "x", seconds=10.0)
    clock = iter([100.0, 103.0])
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    one.write({"t": torch.zeros(3)})
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: 103.0 + 59.0)
    assert not one.due()
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: 103.0 + 61.0)
    assert one.due()
