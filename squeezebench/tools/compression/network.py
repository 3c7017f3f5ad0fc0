"""The network that is compressed: how it is called, what reads its states; and the one that is built for arrays."""

from __future__ import annotations

import copy
import warnings
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.data.checks import check_dataset
from squeezebench.data.dataset import Dataset
from squeezebench.data.normalise import Affine, fit
from squeezebench.data.task import Task
from squeezebench.engine.training.evaluation import tensors
from squeezebench.nn.pruning.shrink import select_units
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.classifier import RecurrentClassifier, recurrent_classifier
from squeezebench.schema.experiment import validated
from squeezebench.schema.models import RecurrentSettings
from squeezebench.tools.compression.data import ONE_CLASS, Call, Part
from squeezebench.tools.compression.standard import torch_module
from squeezebench.tools.compression.wrapped import Wrapped, wrapped

TOLERANCE = 1e-4  # of logits, relative to the largest where that is above 1
PROBABILITIES = (
    "model: its outputs look like probabilities (none below 0, rows that sum to 1). compress() trains by the "
    "cross-entropy of logits, under which a softmax at the end trains badly: return what stands before the softmax"
)
ROWS = 8  # sequences of the training part on which networks are compared


class SequenceClassifier(nn.Module):
    """Normalisation -> LSTM or GRU -> state at the last valid step -> linear: what is built if no network is given."""

    def __init__(self, affine: Affine, dense: RecurrentClassifier):
        super().__init__()
        self.register_buffer("factor", torch.from_numpy(affine.factor.copy()))
        self.register_buffer("shift", torch.from_numpy(affine.shift.copy()))
        self.rnn, self.head = torch_module(list(dense.layers)), copy.deepcopy(dense.head)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """x (B, T, D) raw, length (B,) or None -> logits (B, classes)."""
        states, _ = self.rnn(x * self.factor - self.shift)
        last = states[:, -1] if length is None else states[torch.arange(len(x)), length - 1]
        return self.head(last)


def call_of(network: nn.Module, place: str, part: Part) -> tuple[Call, int]:
    """How `network`, whose recurrence is at `place`, is called with sequences of `part`, and how many classes it has.

    Raises InputError if it fails on a batch, or gives no logits (B, classes).
    """
    rows = slice(0, 2 if part.x.shape[1] == 3 else 3)  # so that sequences and steps are told apart
    x = torch.from_numpy(part.flat[rows].astype(np.float32))
    length = None if part.length is None else torch.from_numpy(part.length[rows])
    problems = []
    for time_first in (False, True):
        call = Call(part.x.shape[2:], part.x.dtype.kind in "biu", part.length is not None, time_first)
        try:
            sequences, logits = _asked(network, place, call, x, length)
        except InputError:
            raise
        except Exception as error:  # the user's code
            problems.append(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
            continue
        if sequences == len(x):
            return call, _classes(logits, len(x))
    given = "model(x, length)" if part.length is not None else "model(x)"
    reason = problems[0] if problems else "its recurrence sees another number of sequences"
    raise InputError(f"model: {given} fails on {len(x)} sequences of the training part: {reason}")


@torch.no_grad()
def _asked(network: nn.Module, place: str, call: Call, x: Tensor, length: Tensor | None) -> tuple[int, Any]:
    """(sequences that the recurrence is given, what the network answers)."""
    seen: list[int] = []

    def look(module: nn.RNNBase, given: tuple, named: dict) -> None:
        data = given[0] if given else named["input"]
        packed = isinstance(data, nn.utils.rnn.PackedSequence)
        if not packed and data.dim() == 2:
            says = f"its recurrence {place} is given shape {tuple(data.shape)}, which PyTorch takes for one sequence"
            raise InputError(f"model: {says}; give x as (N, T, D): sequences, steps, features")
        seen.append(int(data.batch_sizes[0]) if packed else data.shape[0 if module.batch_first else 1])

    hook = network.get_submodule(place).register_forward_pre_hook(look, with_kwargs=True)
    try:
        with evaluating(network):
            logits = call(network, x, length)
    finally:
        hook.remove()
    if len(seen) != 1:
        raise InputError(f"model: its recurrence {place} runs {len(seen)} times in a forward pass; it must run once")
    return seen[0], logits


def _classes(logits: Any, sequences: int) -> int:
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != sequences or logits.shape[1] < 2:
        what = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        right = f"it must give logits ({sequences}, classes){_instead(logits, sequences)}"
        raise InputError(f"model: gives {what} for {sequences} sequences; {right}")
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < TOLERANCE).all()):
        warnings.warn(PROBABILITIES, stacklevel=5)  # of who calls compress()
    return logits.shape[1]


def _instead(answer: Any, sequences: int) -> str:
    """What to say of a network for another kind of task."""
    if isinstance(answer, Tensor) and answer.numel() == sequences:
        return ". A binary classifier needs two outputs, one for each class, and class numbers 0 and 1 in y"
    several = isinstance(answer, Tensor) and answer.dim() > 2
    return f". {ONE_CLASS}, not for outputs at each step" if several else ""


@contextmanager
def evaluating(network: nn.Module):
    """Every module as it is for evaluation, and afterwards as it was."""
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def surrounded(network: nn.Module, call: Call, place: str, task: Task) -> Wrapped:
    """The classifier around `network`. Its head is the linear layer that alone reads the states, if there is one:
    whether it is, a trial tells in which only half of the units are left.

    Raises InputError if the network uses its recurrence in a way that cannot be followed.
    """
    x, length, _ = tensors(task.batch("train", np.arange(min(ROWS, task.size("train")))), torch.device("cpu"))
    with torch.no_grad(), evaluating(network):
        expected = call(network, x, length)
    plain = wrapped(network, call, place, None)
    if not same(answers(plain, x, length), expected):
        raise InputError(
            f"model: {type(network).__name__} uses {place} in a way that cannot be followed; it may read the states of "
            "all steps and the last h of the last layer (no other states, no weights)"
        )
    half = _half(plain)
    answer = answers(half, x, length)
    width = plain.hidden[-1]
    for name, module in network.named_modules():
        if type(module) is nn.Linear and module.in_features == width and module.bias is not None:
            narrow = wrapped(network, call, place, name)
            try:
                if same(answers(_half(narrow), x, length), answer) and same(answers(narrow, x, length), expected):
                    return narrow
            except Exception:  # the user's code asks for the first width somewhere: the states keep it
                continue
    return plain


def _half(model: Wrapped) -> Wrapped:
    """A copy with half of the last layer's units."""
    every = [torch.arange(units) for units in model.hidden]
    return select_units(model, None, [*every[:-1], every[-1][::2]])


@torch.no_grad()
def answers(model: nn.Module, x: Tensor, length: Tensor | None) -> Tensor:
    with evaluating(model):
        return model(x, length)


def same(answer: Tensor, expected: Tensor) -> bool:
    """Whether two answers are equal but for rounding."""
    largest = max(1.0, float(expected.abs().max()))
    return answer.shape == expected.shape and bool(((answer - expected).abs() <= TOLERANCE * largest).all())


def dense_settings(model: nn.Module | None, dense: Wrapped, settings: dict[str, Any]) -> dict[str, Any]:
    """The method's settings with the cell and the widths of `dense`. Raises InputError if a model is given and
    `settings` describe another one."""
    for name in sorted(settings.keys() & {*RecurrentSettings.model_fields}) if model is not None else ():
        raise InputError(f"{name} = {settings[name]!r}: is for arrays without a model; the model has its own")
    return settings | {"cell": dense.cell.name, "hidden": dense.hidden[0], "layers": len(dense.hidden)}


def default_network(part: Part, settings: dict[str, Any]) -> SequenceClassifier:
    """A dense network for arrays alone; `settings` may say its `cell`, `hidden` and `layers`."""
    if part.x.ndim != 3:
        raise InputError(f"train: x has shape {part.x.shape}; without a model it must be (N, T, D)")
    told = {name: settings[name] for name in ("cell", "hidden", "layers") if name in settings}
    shape = validated(RecurrentSettings, told, "compress")
    cell = cell_of(shape.cell)
    if cell.torch_module is None:
        raise InputError(f"cell = {shape.cell!r}: torch.nn has no {cell.title}; give lstm or gru")
    classes = max(2, int(part.y.max(initial=0)) + 1)
    data = Dataset("train", part.flat, part.y, tuple(map(str, range(classes))), part.length)
    check_dataset(data)
    dense = recurrent_classifier(part.x.shape[2], shape.hidden, classes, cell, shape.layers)
    return SequenceClassifier(fit("standard", data, np.arange(len(part.y)), None), dense)
