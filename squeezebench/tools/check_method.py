"""The contract that every method fulfils, plugins included: `squeezebench check NAME_OR_FILE`, and tests/contract.

Each check is a function. It raises AssertionError if the method breaks the contract, and says how. All checks share one
small synthetic task, on which the method is trained for a few epochs.
"""

from __future__ import annotations

import math
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.engine.hooks import Hooks
from squeezebench.engine.measurement.counts import count, uncounted
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.measurement.files import load_model, save_model
from squeezebench.engine.start import DenseStart
from squeezebench.engine.training.checkpoint import NAME as CHECKPOINT
from squeezebench.engine.training.checkpoint import Checkpoints
from squeezebench.engine.training.evaluation import wrong_shape
from squeezebench.engine.training.loop import Trainer, describe
from squeezebench.method.base import Method
from squeezebench.method.discovery import MethodFile, find_methods, load, pick
from squeezebench.schema.kind import KINDS
from squeezebench.schema.record import MODEL_NAME
from squeezebench.schema.training import TrainingSettings
from squeezebench.tools.check_hooks import draws_weights_from_the_seed, leaves_global_state, names_its_hooks
from squeezebench.tools.check_size import ends_at_the_ratio_it_is_given, recurrence_is_counted
from squeezebench.tools.counting import construct, keys_of
from squeezebench.tools.tiny_tasks import CLASSES, tiny_task

TRAINING = TrainingSettings(epochs=12, batch_size=8, learning_rate=5e-3)
START_EPOCHS = 4  # of the dense pretraining, if the method has one; they are taken from those of TRAINING
HIDDEN, WIDTH = 8, 0.04  # units of a recurrent layer; factor on the widths of a network


@dataclass
class Case:
    """One method with its settings. It is trained once, and all checks look at the result."""

    method_class: type[Method]
    settings: dict[str, Any]
    hooks: Hooks = field(default_factory=Hooks)  # what importing the file changed, and the hooks of `trained`

    def __post_init__(self) -> None:
        tasks = [tiny_task(kind) for kind in KINDS if kind in self.method_class.kinds] or [tiny_task("sequence")]
        self.task = next((task for task in tasks if self.new().skip(describe(task)) is None), tasks[0])
        self.info = describe(self.task)

    def new(self) -> Method:
        """A fresh instance of the method."""
        setting_names = self.method_class.Settings.model_fields
        given = (
            {"hidden": HIDDEN} if "hidden" in setting_names else {"width": WIDTH} if "network" in setting_names else {}
        )
        return self.hooks.guarded(self.method_class)(self.method_class.Settings(**(given | self.settings)))

    def train(self, seed: int = 0) -> tuple[Trainer, nn.Module, list]:
        """Train from the beginning: (trainer, module before it is made compact, the trace of the hooks)."""
        self.hooks.trace = trace = []
        try:
            return *self.run(Trainer(self.new(), self.task, TRAINING, seed)), trace
        finally:
            self.hooks.trace = None

    def run(self, trainer: Trainer) -> tuple[Trainer, nn.Module]:
        """Train a fresh or a resumed trainer to the end, the dense pretraining included."""
        method, start = trainer.method, None
        share = method.start_share()
        if share:
            dense = DenseStart(method.settings.shared())
            start = Trainer(dense, self.task, TRAINING, trainer.seed).run(None, START_EPOCHS)
        return trainer, trainer.run(start, TRAINING.epochs - (START_EPOCHS if share else 0))

    @cached_property
    def undisturbed(self) -> tuple[Trainer, nn.Module, list]:
        """A training that nothing interrupted."""
        return self.train()

    @cached_property
    def of_another_seed(self) -> tuple[Trainer, nn.Module, list]:
        return self.train(seed=1)

    @cached_property
    def trained(self) -> tuple[Method, nn.Module, nn.Module]:
        """(method, trained module, compact module) of that training."""
        method, model = self.undisturbed[0].method, self.undisturbed[1]
        return method, model, method.compact(model).eval()

    def batch(self) -> tuple[Tensor, Tensor | None]:
        """8 examples of the test part: x (8, T, D) and their lengths (8,), or None if all are equally long."""
        batch = self.task.batch("test", np.arange(8))
        return torch.from_numpy(batch.x), None if batch.length is None else torch.from_numpy(batch.length)


def describes_itself(case: Case) -> None:
    """The class has a title, a docstring and a source, and every setting has a description."""
    method = case.method_class
    assert method.title and method.__doc__, "give the class a docstring and a title"
    assert method.paper, "give the source in `paper`"
    for name, setting in method.Settings.model_fields.items():
        assert setting.description, f"setting {name} has no description"


def builds(case: Case) -> None:
    """`build` returns a module that maps (B, T, D) to finite logits (B, classes); a pretraining leaves time for it."""
    method = case.new()
    share = method.start_share()  # the other checks pretrain for START_EPOCHS, whatever it is
    assert 0 <= share < 1, f"start_share() gives {share:g}: give a part of the training, below 1"
    logits = method.build(case.info)(*case.batch())
    wrong = wrong_shape(logits, 8, CLASSES)
    assert not wrong, wrong
    assert torch.isfinite(logits).all(), "logits of a fresh module are not finite"


def trains(case: Case) -> None:
    """Training leaves every parameter finite."""
    _, model, _ = case.trained
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter).all(), f"{name} is not finite after training"


def penalty_is_differentiable(case: Case) -> None:
    """The penalty of each penalised stage has finite gradients."""
    method = case.new()
    model = method.build(case.info)
    for stage in method.stages():
        method.clock.stage, method.clock.step, method.clock.examples = stage.name, 1, 10
        value = method.penalty(model) if stage.penalised else 0.0
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        single = value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, int | float)
        assert single, f"penalty() gives {what} in stage {stage.name}; return one number"
        if isinstance(value, Tensor) and value.requires_grad:
            value.backward()
        number = value.item() if isinstance(value, Tensor) else value
        assert np.isfinite(number), f"penalty of stage {stage.name} is {number}"
    for name, parameter in model.named_parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), f"gradient of {name} is not finite"


def compact_is_what_was_trained(case: Case) -> None:
    """The compact module gives the same logits as the trained module in evaluation mode."""
    method, model, compact = case.trained
    with torch.no_grad():
        gap = (compact(*case.batch()) - model.eval()(*case.batch())).abs().max().item()
    says = f"logits differ by {gap:.2g}, more than {method.compact_tolerance:g}"
    assert gap <= method.compact_tolerance, f"{says}: see end_stage() and compact()"


def counts_agree(case: Case) -> None:
    """Every stored number is counted once, and the closed form, if the method has one, gives the same counts."""
    _, _, compact = case.trained
    counts = count(compact)
    parameters = sum(p.numel() for p in compact.parameters())
    assert counts.model_total >= parameters, f"{parameters} parameters, only {counts.model_total} counted"
    assert counts.lstm_total + counts.head == counts.model_total, "the parts do not sum to the total"
    if lines := uncounted(compact):
        raise AssertionError(f"{lines[0]}, a class attribute with the names of buffers that are stored numbers")
    method = case.new()
    formula, constructed = method.closed_form(case.info), count(construct(method, case.info)).model_dump()
    for key in keys_of(constructed) if formula is not None else ():
        says = f"closed form {formula[key]}" if key in formula else "not in the closed form"
        says = f"{key}: {says}, constructed {constructed[key]}: correct or override closed_form()"
        assert formula.get(key) == constructed[key], f"{says}; None if there is no formula"


def survives_saving(case: Case) -> None:
    """After it has been saved and loaded, the compact module gives the same bits."""
    method, _, compact = case.trained
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_NAME
        save_model(path, compact)
        loaded = load_model(path, method.restore)
    with torch.no_grad():
        same = torch.equal(loaded(*case.batch()), compact(*case.batch()))
    assert same, "logits changed: override restore(), or give the module a spec() and a from_spec() that agree"
    assert count(loaded) == count(compact), "counts changed: see spec() and from_spec()"


def same_seed_same_bits(case: Case) -> None:
    """Two trainings from one seed give identical parameters, and another seed gives different ones."""
    first = case.trained[1].state_dict()
    again = case.train()[1].state_dict()
    for name, value in first.items():
        assert torch.equal(value, again[name]), f"{name} differs between two runs of the same seed"
    other = case.of_another_seed[1].state_dict()
    same = all(v.shape == other[k].shape and torch.equal(v, other[k]) for k, v in first.items() if k in other)
    assert not same, "the seed has no influence"


def honours_lengths(case: Case) -> None:
    """Steps after the last valid one change the logits neither of the trained nor of the compact module.

    Images have one step and all synthetic videos are equally long, so that they have no such steps.
    """
    x, length = case.batch()
    if length is None:
        return
    noisy = x.clone()
    noisy[torch.arange(x.shape[1]) >= length[:, None]] = 7.0
    for name, model in zip(("trained", "compact"), case.trained[1:], strict=True):
        with torch.no_grad():
            gap = (model.eval()(x, length) - model(noisy, length)).abs().max().item()
        assert gap <= 1e-6, f"{name} module: padding changes the logits by {gap:.2g}"


class Interrupted(Exception):
    """A training was stopped on purpose."""


class Interrupting(Checkpoints):
    """Stops each stage of a training once, in the middle of an epoch, right after a checkpoint.

    stopped: the numbers of the stages that have been stopped, shared by all trainers of one training.
    """

    def __init__(self, path: Path, trainer: Trainer, stopped: set[int]) -> None:
        super().__init__(path, "contract", seconds=math.inf)
        self._trainer, self._stopped = trainer, stopped

    def due(self) -> bool:
        clock, size = self._trainer.method.clock, self._trainer.task.size("train")
        batches = -(-size // self._trainer.settings.batch_size)
        middle = clock.steps // 2 // batches * batches + batches // 2
        return clock.step == middle and len(self._trainer.stages) not in self._stopped

    def write(self, *parts: Any) -> None:
        super().write(*parts)
        self._stopped.add(len(self._trainer.stages))
        raise Interrupted

    def give_up(self, reason: str) -> None:
        raise AssertionError(f"training cannot be interrupted: {reason}")

    def reject(self, reason: str) -> None:
        raise AssertionError(f"the state of an interrupted training cannot be resumed: {reason}")


KEEP = "what changes in training belongs in the module's parameters and buffers or in attributes of the method"


def resumes(case: Case) -> None:
    """A training that is interrupted in every stage and resumed by a new trainer gives the same bits."""
    stopped: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        while True:
            trainer = Trainer(case.new(), case.task, TRAINING, 0)
            trainer.checkpoints = Interrupting(Path(folder) / CHECKPOINT, trainer, stopped)
            try:
                _, model = case.run(trainer)
                break
            except Interrupted:
                continue
    assert trainer.resumed == len(stopped) == len(trainer.stages), "a stage was not interrupted and resumed"
    whole, first, _ = case.undisturbed
    for name, value in first.state_dict().items():
        same = name in (state := model.state_dict()) and torch.equal(value, state[name])
        assert same, f"after an interruption {name} is another: {KEEP}"
    assert repr(trainer.history.rows) == repr(whole.history.rows), f"after an interruption history differs: {KEEP}"
    assert trainer.method.notes == whole.method.notes, f"after an interruption the notes differ: {KEEP}"
    compact = trainer.method.compact(model).state_dict()
    assert model_digest(compact) == model_digest(case.trained[2].state_dict()), f"compact differs after one: {KEEP}"


CHECKS: tuple[Callable[[Case], None], ...] = (
    describes_itself,
    builds,
    names_its_hooks,
    draws_weights_from_the_seed,
    penalty_is_differentiable,
    trains,
    leaves_global_state,
    compact_is_what_was_trained,
    counts_agree,
    recurrence_is_counted,
    ends_at_the_ratio_it_is_given,
    survives_saving,
    same_seed_same_bits,
    resumes,
    honours_lengths,
)


def case_of(name_or_file: str, plugins: list[str | Path] = (), settings: dict[str, Any] | None = None) -> Case:
    """Return the case of a method that is given by its name or its file. Raises InputError if it cannot be loaded."""
    path = Path(name_or_file)
    known = find_methods(plugins)
    if path.suffix == ".py":
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        same = [file for file in known.values() if file.path == path.resolve()]
        file = same[0] if same else MethodFile(path.stem, path.resolve())
    elif path.exists() and name_or_file not in known:
        raise InputError(f"{path}: is no .py file; give the file of one method, or a method's name")
    else:
        file = pick(known, name_or_file)
    hooks = Hooks()
    with hooks.watching("importing its file"):
        method_class = load(file)
    try:
        return Case(method_class, settings or {}, hooks)
    except ValidationError as error:
        raise InputError(f"{file.where}: Settings: {first_problem(error)}; the checks need a default") from None


def _place(error: Exception, case: Case) -> str:
    """Where in the method's file an error arose; empty if it arose in what its hooks had returned."""
    file = sys.modules[case.method_class.__module__].__file__
    inside = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f" ({Path(file).name}, line {inside[-1].lineno}, in {inside[-1].name})" if inside else ""


def check_method(name_or_file: str, plugins: list[str | Path] = ()) -> Iterator[tuple[str, str | None]]:
    """Run the checks one after the other and yield (check, None or the problem), up to the first problem.

    Later checks would fail of the same cause. If the method skips the task, a single pair says so.
    """
    case = case_of(name_or_file, plugins)
    if reason := case.new().skip(case.info):
        yield f"skips the contract's task ({reason})", None
        return
    for check in CHECKS:
        title = check.__name__.replace("_", " ")
        problem = None
        try:
            check(case)
        except AssertionError as error:
            problem = str(error)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}{_place(error, case)}"
        yield title, problem
        if problem is not None:
            return
