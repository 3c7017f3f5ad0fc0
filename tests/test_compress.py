"""`squeezebench.compress`, `results` and `load`: networks of users' in, networks of standard layers out."""

from __future__ import annotations

import copy
import random

import numpy as np
import pandas as pd
import pytest
import torch
from refusals import refusal_of
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import squeezebench
from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.data.task import load_task
from squeezebench.engine.training.loop import Trainer
from squeezebench.schema.record import read_record
from squeezebench.schema.task import TaskSpec
from squeezebench.tools.compression import _network

D, T, CLASSES, H = 12, 6, 3, 16
QUICK = {"steps": 120, "batch_size": 16, "learning_rate": 0.01}


def arrays(size: int, seed: int, lengths: bool = False):
    rng = np.random.default_rng(seed)
    y = np.arange(size) % CLASSES
    drift = np.zeros((CLASSES, D))
    drift[:, :CLASSES] = np.eye(CLASSES)  # the other inputs carry nothing
    x = drift[y][:, None] * np.linspace(0, 2, T)[:, None] + 0.3 * rng.normal(size=(size, T, D))
    part = x.astype(np.float32), y
    return (*part, rng.integers(3, T + 1, size)) if lengths else part


TRAIN, VALIDATION, TEST = arrays(96, 0), arrays(30, 1), arrays(30, 2)


class Last(nn.Module):
    """The last output of a batch-first recurrence."""

    def __init__(self, kind=nn.LSTM, **more):
        super().__init__()
        self.rnn = kind(D, H, batch_first=True, **more)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class TimeFirst(nn.Module):
    """Reads (T, B, D), starts from zeros that it makes itself, and takes the last h of two layers."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(D, H, num_layers=2, dropout=0.1)
        self.head = nn.Linear(H, CLASSES)

    def forward(self, x):
        zeros = x.new_zeros(self.rnn.num_layers, x.shape[1], self.rnn.hidden_size)
        _, (h, _) = self.rnn(x, (zeros, zeros))
        return self.head(h[-1])


class OwnStates(nn.Module):
    """Gives zero states of its own width, as tutorials write it: a narrower torch.nn.LSTM would refuse them."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.rnn, self.head = kind(D, H, batch_first=True), nn.Linear(H, CLASSES)

    def forward(self, x):
        zeros = torch.zeros(1, x.size(0), H)
        states = (zeros, torch.zeros_like(zeros)) if isinstance(self.rnn, nn.LSTM) else zeros
        return self.head(self.rnn(x, states)[0][:, -1])


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(D, H, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Linear(H, CLASSES))

    def forward(self, x, length):
        packed = pack_padded_sequence(x, length, batch_first=True, enforce_sorted=False)
        states, h = self.rnn(packed)
        mean = pad_packed_sequence(states, batch_first=True)[0].sum(1) / length[:, None]
        return self.head(h[-1] + 0.1 * mean)


class Between(nn.Module):
    """A convolution before the recurrence, and after it a norm that needs all states and two linear layers."""

    def __init__(self):
        super().__init__()
        self.before = nn.Conv1d(D, 10, 1)
        self.rnn = nn.LSTM(10, H, bias=False)
        self.after = nn.Sequential(nn.LayerNorm(H), nn.Linear(H, 8), nn.ReLU(), nn.Linear(8, CLASSES))

    def forward(self, x):
        features = self.before(x.transpose(1, 2)).permute(2, 0, 1)
        return self.after(self.rnn(features)[0].mean(0))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, D)
        self.body = Last()

    def forward(self, x):
        return self.body(self.embedding(x))


def cut(model, train=TRAIN, validation=VALIDATION, ratio=4, **more):
    more = {"training": QUICK, "progress": False} | more
    return squeezebench.compress(model, train, validation, ratio=ratio, **more)


def by_hand(network: nn.Module, x, *length) -> np.ndarray:
    with torch.no_grad():
        return network(torch.as_tensor(x), *map(torch.as_tensor, length)).argmax(1).numpy()


def recurrent(network: nn.Module) -> int:
    return sum(p.numel() for m in network.modules() if isinstance(m, nn.RNNBase) for p in m.parameters())


NETWORKS = {
    "LSTM": Last,
    "GRU": lambda: Last(nn.GRU),
    "two layers": lambda: Last(num_layers=2),
    "no biases": lambda: Last(bias=False),
    "time first, two layers, last h": TimeFirst,
    "convolution before, norm after": Between,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_smaller_in_standard_layers_and_classifies_as_reported(name):
    model = NETWORKS[name]()
    before = copy.deepcopy(model.state_dict())
    small, result = cut(model, test=TEST)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert type(small) is type(model)
    assert recurrent(model) == result.dense.counts.lstm_total >= 4 * recurrent(small) > 0
    assert recurrent(small) == result.compact.counts.lstm_total
    assert sum(p.numel() for p in small.parameters()) == result.compact.counts.model_total
    leaves = {type(m).__module__ for m in small.modules() if not list(m.children())}
    assert all(module.startswith("torch.nn.") for module in leaves)
    first = name != "time first, two layers, last h"
    for part, (x, y) in {"train": TRAIN, "validation": VALIDATION, "test": TEST}.items():
        share = (by_hand(small, x if first else x.swapaxes(0, 1)) == y).mean()
        assert share == pytest.approx(result.compact.accuracy[part], abs=0.5 / len(y)) and share > 0.8
    if name == "no biases":
        assert not [n for n, _ in small.rnn.named_parameters() if "bias" in n]
    if name == "convolution before, norm after":  # a norm reads all states: they keep their width, with zeros
        assert small.after[0].normalized_shape == (H,)


def test_packed_sequences_and_tokens_are_read_as_the_network_reads_them():
    train, validation = arrays(96, 0, lengths=True), arrays(30, 1, lengths=True)
    small, result = cut(Packed(), train, validation, method="iss")
    x, y, length = validation
    share = (by_hand(small, x, length) == y).mean()
    assert share == pytest.approx(result.compact.accuracy["validation"], abs=0.5 / len(y)) and share > 0.8

    rng = np.random.default_rng(0)
    y = np.arange(60) % CLASSES
    tokens = np.where(rng.random((60, T)) < 0.5, y[:, None], rng.integers(3, 20, (60, T)))
    small, result = cut(Tokens(), (tokens, y), (tokens, y))
    assert (by_hand(small, tokens) == y).mean() == pytest.approx(result.compact.accuracy["validation"])
    assert small.embedding.weight.shape == (20, D) and result.kept.of_inputs == D


@pytest.mark.parametrize(("method", "settings"), [
    ("itpcc_lstm", {}), ("iss", {}), ("magnitude", {"structure": "unit"}), ("random_units", {}),
])  # fmt: skip
def test_every_method_that_ends_in_plain_layers(method, settings):
    small, result = cut(Last(), method=method, **settings)
    assert 4 <= result.ratio == recurrent(Last()) / recurrent(small)
    assert small.head.in_features == result.kept.hidden[-1] < H


@pytest.mark.parametrize("method", ["random_units", "iss"])  # neither removes inputs
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_zero_states_that_the_network_makes_in_its_first_width_are_accepted(method, kind):
    small, result = cut(OwnStates(kind), method=method, training=QUICK | {"steps": 40})
    assert (by_hand(small, VALIDATION[0]) == VALIDATION[1]).mean() == result.compact.accuracy["validation"]
    assert small.rnn.layers[0].hidden_size == result.kept.hidden[0] < H


def test_arrays_alone_give_a_network_that_reads_raw_data():
    train, validation, test = ((100 * x + 7, y) for x, y in (TRAIN, VALIDATION, TEST))
    small, result = cut(None, train, validation, hidden=8, layers=2, test=test)
    assert result.kept.of_hidden == [8, 8] and result.given is None
    assert (by_hand(small, test[0]) == test[1]).mean() == result.compact.accuracy["test"] > 0.8


def test_a_trained_network_is_not_trained_again_first():
    model = Last()
    _, result = cut(model, trained=True, training=QUICK | {"steps": 40})
    alone = (by_hand(model.eval(), VALIDATION[0]) == VALIDATION[1]).mean()
    assert result.dense.accuracy["validation"] == pytest.approx(alone) and result.steps == 40
    assert "dense: as it was given; compact: 40 steps more" in repr(result)
    _, result = cut(model, training=QUICK | {"steps": 40})
    assert result.given["validation"] == pytest.approx(alone) and result.steps == 40


def test_the_dense_network_of_the_comparison_has_had_as_many_steps(monkeypatch):
    """Of a method that removes nothing the two columns are of one training, and equal."""
    lengths, run = [], Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda self, start, length: lengths.append(length) or run(self, start, length))
    _, result = cut(Last(), method="random_units", ratio=1, training=QUICK | {"steps": 40})
    first, method, dense = lengths
    assert first + method == first + dense == 40 and result.dense.accuracy == result.compact.accuracy
    assert f"dense and compact: 40 steps each, the first {first} in common" in repr(result)


def test_the_same_seed_gives_the_same_bits_and_the_caller_keeps_their_generators():
    torch.manual_seed(5)
    random.seed(5)
    model, threads = Last(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    states = torch.get_rng_state(), random.getstate()
    first, second = (cut(model, training=QUICK | {"steps": 20})[0].state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    assert torch.are_deterministic_algorithms_enabled() == deterministic and torch.get_num_threads() == threads


def test_the_result_prints_as_a_table_in_a_terminal_and_in_a_notebook(capsys):
    _, result = cut(Last(), training=QUICK | {"steps": 20}, progress=True)
    lines = repr(result).splitlines()
    assert lines[0] == f"vib_lstm: {result.ratio:.1f}x fewer recurrent parameters"
    sizes = f"{recurrent(Last()):,} {result.compact.counts.lstm_total:,} {result.ratio:.1f}x"
    assert " ".join(lines[2].split()) == f"recurrent parameters {sizes}"
    assert sum("latency, batch" in line for line in lines) == 2 and any(line.startswith("kept: ") for line in lines)
    assert any("could not have converged" in line for line in lines)  # 20 steps
    html = result._repr_html_()
    assert html.count("<tr>") == 1 + len(result.rows()) and "recurrent parameters" in html
    assert "fine-tune" in capsys.readouterr().err  # the progress bar


class Cell(Last):
    def forward(self, x):
        return self.head(self.rnn(x)[1][1][-1])


class Steps(Last):
    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Started(Last):
    def forward(self, x):
        return self.head(self.rnn(x, (torch.ones(1, len(x), H), torch.zeros(1, len(x), H)))[0][:, -1])


class OneLogit(Last):
    def forward(self, x):
        return super().forward(x)[:, :1]


class Softmax(Last):
    def forward(self, x):
        return super().forward(x).softmax(1)


X, Y = TRAIN
NARROW = X[:, :, :5], Y
FLAT = X[:, 0], Y
LEAST = "vib_lstm: cannot reach 100000x on own: the inputs and units of the smallest network that it can leave hold "
REFUSED = {
    "bidirectional": ({"model": Last(bidirectional=True)}, "rnn is bidirectional, which is not supported yet"),
    "projected": ({"model": Last(proj_size=4)}, "rnn has proj_size 4, which is not supported yet"),
    "plain RNN": ({"model": Last(nn.RNN)}, "rnn is an nn.RNN; compress() is for nn.LSTM and nn.GRU"),
    "none": ({"model": nn.Linear(D, 3)}, "needs exactly one nn.LSTM or nn.GRU"),
    "bare": ({"model": nn.LSTM(D, H)}, "is a bare nn.LSTM; give the classifier around it"),
    "no module": ({"model": Last}, "model: is a type; give a torch.nn.Module"),
    "cell state": ({"model": Cell()}, "Cell uses rnn in a way that cannot be followed"),
    "initial states": ({"model": Started()}, "starts its recurrence from states that are not zero"),
    "every step": ({"model": Steps()}, "it must give logits (3, classes)"),
    "other inputs": ({"model": Last(), "train": NARROW, "validation": NARROW}, "model: model(x) fails on 3 sequences"),
    "an axis less": ({"model": Last(), "train": FLAT}, "x has shape (96, 12) in train and (30, 6, 12) in validation"),
    "lengths": ({"model": Last(), "train": (*TRAIN, np.full(96, T))}, "validation: give lengths in every part"),
    "a label too many": ({"model": Last(), "train": (X, Y + 1)}, "train: y[2] is 3, outside the 3 classes"),
    "labels": ({"model": Last(), "train": (X, Y[:5])}, "train: y has shape (5,)"),
    "regression": ({"model": Last(), "train": (X, Y + 0.5)}, "is for one class per sequence, not for regression"),
    "a label each step": ({"model": Last(), "train": (X, np.zeros((96, T), int))}, "not for labels of each step"),
    "one logit": ({"model": OneLogit()}, "A binary classifier needs two outputs, one for each class"),
    "no training part": ({"model": Last(), "train": None}, "train: is None; give (x, y)"),
    "nothing": ({"model": Last(), "train": (X[:0], Y[:0])}, "train: x has shape (0, 6, 12), which holds nothing"),
    "too short": ({"model": Last(), "training": {"steps": 1}}, "training: steps = 1 is too short: the dense"),
    "one array": ({"model": Last(), "validation": X}, "validation: is a ndarray; give (x, y) or (x, y, length)"),
    "not finite": ({"model": Last(), "train": (np.full_like(X, np.nan), Y)}, "train: x[0, 0, 0] is nan"),
    "method": ({"model": Last(), "method": "vib_lsm"}, "unknown method 'vib_lsm'; did you mean vib_lstm"),
    "its own network": ({"model": Last(), "method": "small_dense"}, "trains a network of its own from scratch"),
    "student": ({"model": Last(), "method": "distillation"}, "trains a network of its own"),
    "tensors": ({"model": Last(), "method": "low_rank"}, "ends in layers that are no standard LSTM"),
    "images": ({"model": Last(), "method": "vibnet"}, "method vibnet is for image"),
    "setting": ({"model": Last(), "bta": 3}, "compress: vib_lstm has no setting 'bta'; did you mean beta"),
    "size": ({"model": Last(), "hidden": 3}, "hidden = 3: is for arrays without a model"),
    "ratio": ({"model": Last(), "ratio": 0.5}, "ratio = 0.5"),
    "out of reach": ({"model": Last(), "ratio": 1e5}, LEAST),
    "one sequence": ({"model": Last(), "train": FLAT, "validation": FLAT}, "takes for one sequence; give x as (N"),
    "seeds": ({"model": Last(), "seed": [1, 1]}, "seed [1, 1]: give 0 or a larger whole number"),
    "training": ({"model": Last(), "training": {"step": 3}}, "training: unknown key 'step'; did you mean steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compressed_is_one_clear_line(name):
    given, says = REFUSED[name]
    assert says in refusal_of(cut, **({"model": None} | given))


def test_probabilities_in_place_of_logits_are_warned_of_before_anything_is_trained():
    with pytest.warns(UserWarning, match="look like probabilities"), pytest.raises(InputError, match="too short"):
        cut(Softmax(), training={"steps": 1})


def test_a_compiled_network_is_compressed_as_what_was_compiled():
    nested = Tokens()
    nested.body = torch.compile(nested.body)
    for model, kind in ((torch.compile(Last()), Last), (nested, Tokens)):
        network, place = _network(model, {}, {})
        assert type(network) is kind and place in ("rnn", "body.rnn")


def test_a_task_of_the_benchmark_as_arrays():
    parts = squeezebench.arrays("digits")
    task = load_task(TaskSpec(name="digits", source="digits"), 0)
    assert list(parts) == ["train", "validation", "test"]
    for name, (x, y) in parts.items():
        assert len(x) == task.size(name) and np.array_equal(y, task.labels(name))
    assert abs(parts["train"][0].mean()) < 1e-4
    assert len(squeezebench.arrays("spoken_digits")["test"]) == 3  # with lengths


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "one"
    call = ["run", "--task", "digits", "--method", "magnitude", "--set", "hidden=8", "--train", "epochs=3"]
    assert main([*call, "--out", str(folder)]) == 0
    return folder


def test_results_are_one_row_a_run(finished):
    table = squeezebench.results(finished)
    record = read_record(finished / "record.json")
    assert isinstance(table, pd.DataFrame) and len(table) == 1
    row = table.iloc[0]
    assert (row["method"], row["task"], row["status"]) == ("magnitude", "digits", "ok")
    assert row["test"] == record.accuracy.test and row["ratio"] == pytest.approx(record.ratio.lstm_total, rel=1e-3)
    assert not [name for name in table if table[name].map(lambda cell: isinstance(cell, dict | list)).any()]
    with pytest.raises(InputError, match="no such folder of results, or no records in it"):
        squeezebench.results(finished / "nowhere")


def test_a_loaded_network_reads_raw_data_and_scores_as_recorded(finished):
    record = read_record(finished / "record.json")
    task = load_task(TaskSpec.model_validate(record.task_spec), record.seed)
    batch = task.raw("test", np.arange(task.size("test")))
    network = squeezebench.load(finished)
    assert (by_hand(network, batch.x) == batch.y).mean() == pytest.approx(record.accuracy.test)
    assert network.classes == record.class_names
    normalised = task.batch("test", np.arange(task.size("test")))
    bare = squeezebench.load(finished / "record.json", normalise=False)
    assert (by_hand(bare, normalised.x) == batch.y).mean() == pytest.approx(record.accuracy.test)
    with pytest.raises(InputError, match="nowhere"):
        squeezebench.load(finished / "nowhere")
    with pytest.raises(InputError, match=r"is the folder of an experiment; give that of one run, such as .*/one$"):
        squeezebench.load(finished.parent)
