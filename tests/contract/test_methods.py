"""The contract: every method that is found, in every variant of its settings, keeps every check of it.

And each check is worth something: a method made wrong on purpose fails it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
from method_files import method_file
from torch import nn

from squeezebench.cli.main import main
from squeezebench.engine.measurement.counts import count
from squeezebench.engine.measurement.macs import macs
from squeezebench.method import Method, RecurrentSettings, dense_classifier, dense_closed_form
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.target import TargetSettings
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.tools.check_method import (
    CHECKS,
    Case,
    case_of,
    check_method,
    leaves_global_state,
    resumes,
    same_seed_same_bits,
)

SHARED = {  # of every method that has these settings
    "segments_bn two layers gru": {"front": "segments_bn", "layers": 2, "cell": "gru"},
    "one unit": {"hidden": 1},
    "gru": {"cell": "gru"},
    "min_gru": {"cell": "min_gru"},
    "two layers": {"layers": 2},
    "segments": {"front": "segments"},
    "dropout": {"input_dropout": 0.2, "dropout": 0.3},
}
# Always run with these methods only. Each of the first is part of the first of SHARED; dropout changes the training
# alone; the others meet the same code in every method that has no masks or groups of its own.
SHOWN_BY = {
    **dict.fromkeys(("gru", "two layers", "segments"), ()),
    "dropout": ("vib_lstm",),
    **dict.fromkeys(
        ("segments_bn two layers gru", "one unit", "min_gru"),
        ("dense", "vib_lstm", "itpcc_lstm", "iss", "magnitude", "tt_lstm"),
    ),
}
RARE = {  # variants whose parts are all part of others that always run
    "vib_lstm": (
        "vectors gru",
        "vectors two layers",
        "hard vectors",
        "group lasso vectors",
        "ratio",
        "prunes segments",
    ),
    "itpcc_lstm": ("ratio", "residual prunes"),
    "iss": ("element", "ratio"),
    "magnitude": ("inputs segments", "element", "element gru", "element segments", "element keeps all", "ratio"),
    "random_units": ("inputs", "inputs segments"),
    "small_network": ("vgg",),
    "dense_network": ("vgg",),
}
OWN = {
    "vib_lstm": {
        "vectors": {"finalise": "vectors"},
        "vectors gru": {"finalise": "vectors", "cell": "gru"},
        "vectors min_gru": {"finalise": "vectors", "cell": "min_gru"},
        "vectors two layers": {"finalise": "vectors", "layers": 2},
        "first_batch": {"noise": "first_batch"},
        "hard": {"evaluate_with": "hard"},
        "hard vectors": {"evaluate_with": "hard", "finalise": "vectors"},
        "group lasso": {"group_lasso": 0.05, "group_threshold": 8.0},
        "group lasso vectors": {"group_lasso": 0.05, "group_threshold": 8.0, "finalise": "vectors"},
        "features only": {"mask_gates": False},
        "gates only": {"mask_features": False},
        "no masks": {"mask_features": False, "mask_gates": False},
        "scratch": {"start": "scratch"},
        "prunes": {"beta": 30.0, "ramp": 0.0, "mask_learning_rate": 0.25},
        "prunes segments": {"beta": 30.0, "ramp": 0.0, "mask_learning_rate": 0.25, "front": "segments"},
        "prunes vectors two layers": {
            "beta": 30.0,
            "ramp": 0.0,
            "mask_learning_rate": 0.25,
            "finalise": "vectors",
            "layers": 2,
        },
        "eq15": {"scale": "eq15"},
        "released": {"scale": "released", "mask_weight_decay": 5e-4},
        "ratio": {"ratio": 3},
        "ratio two layers": {"ratio": 3, "layers": 2},
        "ratio group lasso": {"ratio": 3, "group_lasso": 0.05},
    },
    "itpcc_lstm": {
        "ratio": {"ratio": 3},
        "ratio residual": {"ratio": 3, "residual": True, "layers": 2},
        "units only": {"mask_features": False},
        "prunes": {"gamma": 10.0, "mask_learning_rate": 0.25},
        "residual prunes": {"residual": True, "layers": 2, "gamma": 10.0, "mask_learning_rate": 0.25},
        "residual gru scratch": {"residual": True, "layers": 3, "cell": "gru", "start": "scratch"},
    },
    "iss": {
        "element": {"definition": "element", "threshold": 0.05},
        "element two layers": {"definition": "element", "threshold": 0.05, "layers": 2},
        "subgradient": {"step": "subgradient", "sgd_learning_rate": 0.1},
        "ratio": {"ratio": 3},
        "ratio two layers": {"ratio": 3, "layers": 2},
        "prunes": {"strength": 30.0, "threshold": 9.0},
    },
    "magnitude": {
        "inputs": {"keep_inputs": 0.5},
        "inputs segments": {"keep_inputs": 0.5, "front": "segments"},
        "element": {"structure": "element"},
        "element gru": {"structure": "element", "cell": "gru"},
        "element min_gru": {"structure": "element", "cell": "min_gru"},
        "element two layers": {"structure": "element", "layers": 2},
        "element segments": {"structure": "element", "front": "segments"},
        "keeps all": {"keep": 1.0},
        "element keeps all": {"structure": "element", "keep": 1.0},
        "ratio": {"ratio": 3},
        "ratio element": {"ratio": 3, "structure": "element"},
    },
    "distillation": {"width": {"width": 3}, "labels only": {"weight": 0.0}},
    "lottery_ticket": {
        "ratio": {"ratio": 3},
        "rounds": {"ratio": 3, "rounds": 2, "rewind_steps": 2, "keep_inputs": 0.5, "layers": 2},
    },
    "low_rank": {"ratio": {"ratio": 3}},
    "tt_lstm": {"ratio": {"ratio": 1.2}},
    "fdht_lstm": {"ratio": {"ratio": 2}},
    "random_units": {
        "ratio": {"ratio": 3},
        "inputs": {"keep_inputs": 0.5},
        "inputs segments": {"keep_inputs": 0.5, "front": "segments"},
    },
    "skip_sideways": {
        "narrow": {"units": "vgg_3", "width": 2, "span": 2},
        "backpropagation": {"rule": "backpropagation", "shortcuts": "sum", "span": 2, "layers": 2, "patches": 2},
    },
    "small_dense": {"width": {"width": 3}},
    "small_network": {
        "narrower": {"narrower": 0.5, "width": 0.1},
        "vgg": {"network": "vgg_8", "width": 0.2, "ratio": 3},
        "video": {"network": "vgg_8", "width": 0.2, "recurrent": 6, "ratio": 3},
    },
    "dense_network": {"vgg": {"network": "vgg_8", "width": 0.2}, "video": {"width": 0.1, "recurrent": 6}},
    "itpcc": {
        "prunes": {"network": "resnet_20", "width": 0.2, "gamma": 30.0, "mask_learning_rate": 0.9},
        "prunes video": {"width": 0.1, "recurrent": 8, "ratio": 3},
        "statistics": {
            "network": "vgg_8",
            "width": 0.2,
            "statistics": True,
            "mask_optimiser": "sgd",
            "mask_learning_rate": 0.01,
        },
        "retrain": {"width": 0.1, "ratio": 3, "retrain": True},
    },
    "group_lasso_network": {
        "prunes": {"ratio": 4, "width": 0.1},
        "prunes vgg": {"network": "vgg_8", "width": 0.2, "strength": 3.0, "start": "scratch"},
    },
    "l0_network": {
        "prunes": {"ratio": 4, "width": 0.1},
        "prunes vgg": {
            "network": "vgg_8",
            "width": 0.2,
            "strength": 0.1,
            "mask_learning_rate": 0.5,
            "start": "scratch",
        },
    },
    "variational_dropout_weights": {"vgg": {"network": "vgg_8", "width": 0.2, "start": "scratch"}},
    "variational_dropout_network": {"prunes": {"strength": 10.0, "mask_learning_rate": 0.5, "width": 0.1}},
    "magnitude_network": {"pixels": {"keep_inputs": 0.4, "width": 0.1}, "vgg": {"network": "vgg_8", "width": 0.2}},
    "random_network": {"pixels": {"keep_inputs": 0.4, "width": 0.1}},
    "vibnet": {
        "prunes": {"beta": 30.0, "mask_learning_rate": 0.25, "width": 0.1},
        "prunes in pieces": {"ratio": 4, "width": 0.1, "pieces": 2},
        "limits": {"limit_weights": 30, "limit_neurons": 70, "pieces": 2, "every": 2, "width": 0.1},
        "limits weigh": {"limit_macs": 100, "weighting": "limits", "every": 2, "width": 0.1},
        "scratch": {"start": "scratch"},
        "settles not": {"settle_share": 0},
        "decay": {"weight_decay": 0.2},
        "vgg": {"network": "vgg_8", "width": 0.2, "limit_weights": 40, "every": 2, "pieces": 2},
        "resnet": {"network": "resnet_20", "width": 0.2, "limit_weights": 60, "every": 2, "pieces": 2},
    },
}


TRAINS_AGAIN = (leaves_global_state, same_seed_same_bits, resumes)  # four trainings; the others share one
AGAIN = {  # instead of the defaults: variants with more stages, noise or state
    "vib_lstm": ("first_batch", "prunes vectors two layers", "ratio group lasso"),
    "itpcc_lstm": ("ratio residual",),
    "iss": ("prunes",),
    "lottery_ticket": ("rounds",),
    "magnitude": ("element two layers",),
    "skip_sideways": ("narrow",),
    "itpcc": ("prunes video", "statistics"),
    "group_lasso_network": ("prunes",),
    "l0_network": ("prunes",),
    "vibnet": ("limits weigh", "prunes in pieces"),
}
# Trained as tt_lstm is, with other cores; or as another control is, with other widths.
AS_ANOTHER = ("bt_lstm", "fdht_lstm", "ht_lstm", "low_rank", "tr_lstm", "random_network", "random_units", "small_dense",
              "small_network")  # fmt: skip


def variants() -> Iterator[tuple[str, str, dict]]:
    """(method, label, settings) of every variant of every method that is found."""
    for name, file in find_methods().items():
        setting_names = set(load(file).Settings.model_fields)
        shared = {label: given for label, given in SHARED.items() if set(given) <= setting_names}
        for label, given in ({"defaults": {}} | shared | OWN.get(name, {})).items():
            yield name, label, given


def cases(always: Callable[[str, str], bool]) -> list:
    """(method, its settings as JSON) for parametrize; the ids are for readers. Only `-m long` runs the others."""
    return [
        pytest.param(
            name,
            json.dumps(given),
            id=f"{name}-{label}".replace(" ", "_"),
            marks=() if always(name, label) else pytest.mark.long,
        )
        for name, label, given in variants()
    ]


@cache
def case(name: str, settings: str) -> Case:
    """Trained once for all checks."""
    return Case(load(find_methods()[name]), json.loads(settings))


def check_all(name: str, settings: str, checks: Iterable[Callable[[Case], None]]) -> None:
    subject = case(name, settings)
    if reason := subject.new().skip(subject.info):
        pytest.skip(reason)
    for check in checks:
        check(subject)


@pytest.mark.parametrize(
    ("name", "settings"),
    cases(lambda name, label: name in SHOWN_BY.get(label, (name,)) and label not in RARE.get(name, ())),
)
def test_every_variant_of_a_method_keeps_the_contract(name, settings):
    check_all(name, settings, [check for check in CHECKS if check not in TRAINS_AGAIN])


@pytest.mark.parametrize(
    ("name", "settings"),
    cases(lambda name, label: label in AGAIN.get(name, () if name in AS_ANOTHER else ("defaults",))),
)
def test_training_a_second_time_or_after_an_interruption_gives_the_same_bits(name, settings):
    check_all(name, settings, TRAINS_AGAIN)


def test_the_variants_named_here_exist():
    assert set(OWN) <= set(find_methods())
    known = {(name, label) for name, label, _ in variants()}
    assert {(name, label) for named in (AGAIN, RARE) for name, labels in named.items() for label in labels} <= known


def test_the_variants_that_should_prune_do():
    """Otherwise their checks of the compact module would look at nothing."""
    for name in ("vib_lstm", "iss", "itpcc_lstm"):
        compact = case(name, json.dumps(OWN[name]["prunes"])).trained[2]
        assert compact.hidden[0] < 8, name
    for variant in ("prunes", "prunes video"):
        one = case("itpcc", json.dumps(OWN["itpcc"][variant]))
        method, _, compact = one.trained
        assert count(compact).weights < count(dense_classifier(one.info, method.settings)).weights, variant
    assert compact.hidden[0] < 8 and compact.recurrent.inputs < 10
    for name in ("group_lasso_network", "l0_network", "variational_dropout_network"):
        for variant in [variant for variant in OWN[name] if variant.startswith("prunes")]:
            one = case(name, json.dumps(OWN[name][variant]))
            dense = dense_classifier(one.info, one.method_class.Settings(**OWN[name][variant]).shared())
            assert 0 < count(one.trained[2]).weights < count(dense).weights, (name, variant)
    for variant in ("prunes", "prunes in pieces", "limits", "limits weigh", "vgg", "resnet"):
        one = case("vibnet", json.dumps(OWN["vibnet"][variant]))
        method, _, compact = one.trained
        found, dense = count(compact), count(dense_classifier(one.info, method.settings))
        assert found.weights < dense.weights, variant
        shares = {"limit_weights": found.weights / dense.weights, "limit_neurons": found.neurons / dense.neurons}
        for limit, share in shares.items():
            assert 100 * share <= (getattr(method.settings, limit) or 100), (variant, limit)
        assert macs(compact, one.info.inputs, 1) <= (method.settings.limit_macs or math.inf), variant


# ---------------------------------------------------------------------- methods made wrong on purpose


class Good(Method):
    """A dense classifier: nothing wrong with it."""

    name = "good"
    title = "good"
    paper = "synthetic"

    def build(self, task):
        return dense_classifier(task, self.settings)


class CompactIsAnother(Good):
    """Scores another module than the one it trained."""

    def compact(self, model):
        other = RecurrentClassifier.from_spec(model.spec())
        other.load_state_dict(model.state_dict())
        nn.init.zeros_(other.head.weight)
        return other


class LastStepWhateverTheLength(RecurrentClassifier):
    def forward(self, x, length=None):
        return super().forward(x)


class IgnoresLengths(Good):
    """Classifies the last step, padding or not."""

    def build(self, task):
        model = super().build(task)
        model.__class__ = LastStepWhateverTheLength
        return model

    @classmethod
    def restore(cls, spec):
        return LastStepWhateverTheLength.from_spec(spec)


class Unseeded(Good):
    """Draws from a generator that nobody seeds."""

    def build(self, task):
        model = super().build(task)
        with torch.no_grad():
            model.head.weight.add_(float(np.random.default_rng().normal()))
        return model


class SeedIsIgnored(Good):
    """Learns nothing from anything."""

    def build(self, task):
        model = super().build(task)
        for parameter in model.parameters():
            nn.init.constant_(parameter, 0.1)
        return model

    def parameter_groups(self, model):
        return [{"params": list(model.parameters()), "lr": 0.0}]


class LeavesNaN(Good):
    """A parameter that the loss does not see becomes NaN."""

    def build(self, task):
        model = super().build(task)
        model.extra = nn.Parameter(torch.zeros(1))
        return model

    def after_step(self, model):
        nn.init.constant_(model.extra, float("nan"))


class RootOfZero(Good):
    """The gradient of a square root at 0 is infinite."""

    def build(self, task):
        model = super().build(task)
        nn.init.zeros_(model.head.weight)
        return model

    def penalty(self, model):
        return model.head.weight.square().sum().sqrt()


class WrongFormula(Good):
    """Counts one bias vector."""

    def closed_form(self, task):
        counts = dense_closed_form(task, self.settings)
        half = counts["bias"] // 2
        return counts | {"bias": half, "lstm_total": counts["lstm_total"] - half}


class WithATensor(RecurrentClassifier):
    """A classifier with a bias that is neither parameter nor buffer."""

    aside = torch.zeros(1)

    def forward(self, x, length=None):
        return super().forward(x, length) + self.aside


class NotSavedFully(Good):
    """A part of the module is not in its state."""

    def compact(self, model):
        other = WithATensor.from_spec(model.spec())
        other.load_state_dict(model.state_dict())
        other.aside = model.head.bias.detach() * 1.0
        with torch.no_grad():
            other.head.bias.zero_()
        return other

    @classmethod
    def restore(cls, spec):
        return WithATensor.from_spec(spec)


class InABuffer(RecurrentClassifier):
    """The weights of the head are a buffer, which no rule counts."""

    def __init__(self, *parts, **more):
        super().__init__(*parts, **more)
        weight = self.head.weight.detach().clone()
        del self.head.weight
        self.head.register_buffer("weight", weight)


class HidesParameters(Good):
    """Weights that are stored and used, but not counted."""

    def compact(self, model):
        other = self.restore(model.spec())
        other.load_state_dict(model.state_dict())
        return other

    @classmethod
    def restore(cls, spec):
        return InABuffer.from_spec(spec)


class OwnLoop(nn.Module):
    """A recurrence that is a loop over torch's cell, as many are."""

    def __init__(self, inputs, hidden, classes):
        super().__init__()
        self.widths = inputs, hidden, classes
        self.cell, self.head = self.cell_of(inputs, hidden), nn.Linear(hidden, classes)

    def cell_of(self, inputs, hidden):
        return nn.GRUCell(inputs, hidden)

    def forward(self, x, length=None):
        state = x.new_zeros(len(x), self.widths[1])
        for step in range(x.shape[1]):
            valid = torch.ones(len(x)) if length is None else step < length
            state = torch.where(valid[:, None] > 0, self.cell(x[:, step], state), state)
        return self.head(state)

    def spec(self):
        return {"class": type(self).__name__, "widths": list(self.widths)}

    @classmethod
    def from_spec(cls, spec):
        return cls(*spec["widths"])


class GatesByHand(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.gates = nn.Linear(inputs + hidden, 2 * hidden)

    def forward(self, x, state):
        update, new = self.gates(torch.cat([x, state], 1)).chunk(2, 1)
        return torch.lerp(state, new.tanh(), update.sigmoid())


class OwnGates(OwnLoop):
    """A recurrence that is written by hand: no rule takes it for one."""

    def cell_of(self, inputs, hidden):
        return GatesByHand(inputs, hidden)


class WrongShape(Good):
    """One class too many."""

    def build(self, task):
        model = super().build(task)
        model.head = nn.Linear(model.hidden[-1], task.classes + 1)
        return model


COUNTED = [0]


class KeepsAGlobal(Good):
    """Counts its steps where nobody looks."""

    def build(self, task):
        COUNTED[0] = 0
        return super().build(task)

    def after_step(self, model):
        COUNTED[0] += 1
        with torch.no_grad():
            model.head.bias.add_(1e-3 * COUNTED[0])


class Mean:
    value = 1.0


class KeepsAnObject(Good):
    """Keeps a mean in a class of its own."""

    def build(self, task):
        self.mean = Mean()
        return super().build(task)

    def after_step(self, model):
        self.mean.value *= 0.9
        with torch.no_grad():
            model.head.bias.add_(1e-3 * self.mean.value)


class NotesStepsInItsHistory(Good):
    """Only the history shows what it forgets."""

    def build(self, task):
        COUNTED[0] = 0
        return super().build(task)

    def observe(self, model):
        COUNTED[0] += 1
        return {"asked": COUNTED[0]}


class SeedsInBuild(Good):
    """Starts every seed from equal weights, and leaves no trace: fork_rng puts the generator back."""

    def build(self, task):
        with torch.random.fork_rng():
            torch.manual_seed(42)
            return super().build(task)


class SeedsAndDraws(Good):
    """Seeds NumPy's generator and draws from it, so that its state is no fresh one."""

    def end_stage(self, model, stage):
        np.random.seed(1)
        np.random.normal(size=2000)
        return super().end_stage(model, stage)


class NamelessSetting(Good):
    """A setting without a description."""

    class Settings(RecurrentSettings):
        strength: float = 1.0


class IgnoresRatio(Good):
    """Has a ratio, and removes nothing."""

    class Settings(TargetSettings, RecurrentSettings):
        pass


class BuildsNothing(Method):
    """Forgets build."""

    name = title = paper = "no build"


def made(name: str, **changed) -> type[Method]:
    """Good, but for some of its attributes, which may be hooks."""
    return type(name, (Good,), {"__doc__": "A method.", "__module__": __name__} | changed)


NoDocstring, NoSource = made("NoDocstring", __doc__=None), made("NoSource", paper="")
Diverges = made("Diverges", penalty=lambda self, model: model.head.weight.sum() * math.nan)
PenaltyOfSeveralNumbers = made("PenaltyOfSeveralNumbers", penalty=lambda self, model: model.head.weight.abs())
MisspellsAHook = made("MisspellsAHook", penalties=lambda self, model: model.head.weight.square().sum())
PretrainsAllTheTime = made("PretrainsAllTheTime", start_share=lambda self: 1.0)
TakesAllCores = made("TakesAllCores", after_step=lambda self, model: torch.set_num_threads(3))
# Nothing wrong: a cell counts as the layer that it is a step of. Gates that are written by hand count as the head.
LoopsOverACell, RecurrenceInTheHead = (
    made(name, build=lambda self, task, kind=kind: kind(task.inputs, self.settings.hidden, task.classes))
    for name, kind in (("LoopsOverACell", OwnLoop), ("RecurrenceInTheHead", OwnGates))
)

WRONG = {  # class -> (the check that must fail, what it must say)
    CompactIsAnother: ("compact_is_what_was_trained", "logits differ"),
    IgnoresLengths: ("honours_lengths", "padding changes the logits"),
    Unseeded: ("same_seed_same_bits", "differs between two runs of the same seed"),
    SeedIsIgnored: ("same_seed_same_bits", "the seed has no influence"),
    Diverges: ("trains", "Diverged: "),
    LeavesNaN: ("trains", "extra is not finite"),
    MisspellsAHook: ("names_its_hooks", "penalties() is no hook, did you mean penalty()?"),
    PenaltyOfSeveralNumbers: ("penalty_is_differentiable", "gives shape (3, 8) in stage train; return one number"),
    RootOfZero: ("penalty_is_differentiable", "gradient of head.weight is not finite"),
    WrongFormula: ("counts_agree", "closed form"),
    NotSavedFully: ("survives_saving", "logits changed"),
    SeedsInBuild: ("draws_weights_from_the_seed", "build() gives the same layers.0"),
    TakesAllCores: ("leaves_global_state", "after_step() changes torch's number of threads from 1 to 3"),
    SeedsAndDraws: ("leaves_global_state", "end_stage() seeds NumPy's generator: the engine seeds"),
    KeepsAGlobal: ("resumes", "is another: what changes in training belongs in"),
    KeepsAnObject: ("resumes", "cannot be interrupted: good: self.mean holds a Mean: keep plain values and tensors"),
    NotesStepsInItsHistory: ("resumes", "after an interruption history differs"),
    HidesParameters: ("counts_agree", "nobody counts; see counted_buffers, a class attribute with"),
    RecurrenceInTheHead: ("recurrence_is_counted", "no layer is counted as recurrent"),
    WrongShape: ("builds", "logits have shape"),
    PretrainsAllTheTime: ("builds", "start_share() gives 1: give a part of the training, below 1"),
    NoDocstring: ("describes_itself", "docstring"),
    NoSource: ("describes_itself", "paper"),
    NamelessSetting: ("describes_itself", "setting strength"),
    IgnoresRatio: ("ends_at_the_ratio_it_is_given", "ratio = 2 gives"),
    BuildsNothing: ("builds", "does not define build"),
}

CANNOT_GO_ON = (Diverges, LeavesNaN, PenaltyOfSeveralNumbers, RootOfZero, WrongShape, BuildsNothing)  # to other checks


def problems(method: type[Method], checks: Iterable[Callable[[Case], None]] = CHECKS) -> dict[str, str]:
    """The checks that `method` fails, with what they say."""
    says, subject = {}, Case(method, {})
    for check in checks:
        try:
            check(subject)
        except Exception as error:
            says[check.__name__] = f"{type(error).__name__}: {error}"
    return says


@pytest.mark.parametrize("method", [Good, LoopsOverACell])
def test_a_method_with_nothing_wrong_passes(method):
    assert problems(method) == {}


@pytest.mark.parametrize(("cell", "layer"), [(nn.LSTMCell, nn.LSTM), (nn.GRUCell, nn.GRU)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_cell_counts_as_the_layer_that_it_is_a_step_of(cell, layer, bias):
    counts = count(nn.Sequential(cell(12, 8, bias), nn.Linear(8, 3)))
    gates = {nn.LSTMCell: 4, nn.GRUCell: 3}[cell]
    assert (counts.input_to_hidden, counts.hidden_to_hidden) == (gates * 8 * 12, gates * 8 * 8)
    assert (counts.bias, counts.head) == (gates * 8 * 2 * bias, 27)
    assert counts == count(nn.Sequential(layer(12, 8, bias=bias), nn.Linear(8, 3)))


@pytest.mark.parametrize("method", WRONG, ids=lambda method: method.__name__)
def test_a_wrong_method_fails_its_check(method):
    check, words = WRONG[method]
    again = {check.__name__ for check in TRAINS_AGAIN}
    found = problems(method, [other for other in CHECKS if check in again or other not in TRAINS_AGAIN])
    if method is Unseeded:  # what is never the same twice is not the same after an interruption either
        assert "resumes" in found and found.pop("resumes")
    assert check in found and words in found[check], found
    if method not in CANNOT_GO_ON:
        assert set(found) == {check}, found


def test_every_check_is_seen_to_fail():
    assert {check for check, _ in WRONG.values()} == {check.__name__ for check in CHECKS}


def test_check_method_stops_at_the_first_problem_and_says_which_hook_to_override(tmp_path):
    path = tmp_path / "broken_formula.py"
    path.write_text(method_file(more="def closed_form(self, task):\n        return {'lstm_total': 3}"))
    found = dict(check_method(str(path)))
    assert list(found) == [check.__name__.replace("_", " ") for check in CHECKS][: len(found)]
    name, problem = found.popitem()
    assert name == "counts agree" and "override closed_form(); None if there is no formula" in problem
    assert problem.startswith("input_to_hidden: not in the closed form, constructed ")
    assert set(found.values()) == {None}


def test_an_error_in_a_hook_names_the_line_of_the_methods_file(tmp_path):
    path = tmp_path / "misses_gates.py"
    path.write_text(method_file(more="def penalty(self, model):\n        return model.gates.sum()"))
    line = path.read_text().splitlines().index("        return model.gates.sum()") + 1
    *_, (name, problem) = check_method(str(path))
    assert name == "penalty is differentiable" and problem.startswith("AttributeError: ")
    assert problem.endswith(f" (misses_gates.py, line {line}, in penalty)")


def test_a_plugin_that_seeds_is_refused_by_hook_and_state(tmp_path, capsys):
    path = tmp_path / "bad_seed.py"
    before = "import random\nimport numpy as np\nimport torch\ntorch.set_num_threads(2)"
    path.write_text(method_file(before=before, first="torch.manual_seed(42); np.random.seed(42); random.seed(42)"))
    subject = case_of(str(path))
    with pytest.raises(AssertionError) as error:
        leaves_global_state(subject)
    for generator in ("torch's", "NumPy's", "Python's"):
        assert f"build() seeds {generator} generator" in str(error.value)
    assert "importing its file changes torch's number of threads from 1 to 2" in str(error.value)
    assert main(["check", str(path)]) == 1
    out = capsys.readouterr().out
    assert "FAIL draws weights from the seed: build() gives the same " in out
    assert "; build() seeds torch's generator; build() seeds NumPy's generator; build() seeds Python's" in out
    assert out.splitlines()[-1].startswith("FAIL")  # nothing follows from the same cause
    assert torch.get_num_threads() == 1


def test_a_method_that_skips_the_contracts_task_says_so(tmp_path):
    path = tmp_path / "for_video.py"
    path.write_text(
        "from squeezebench.method import Method\n\n\n"
        'class ForVideo(Method):\n    """For video."""\n\n    title = paper = "v"\n    kinds = ("video",)\n\n'
        '    def skip(self, task):\n        return f"no {task.kind} today"\n'
    )
    assert list(check_method(str(path))) == [("skips the contract's task (no video today)", None)]
