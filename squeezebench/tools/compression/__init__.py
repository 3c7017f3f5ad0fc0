"""`squeezebench.compress`: a user's own recurrent network, or one that is built for their arrays, made smaller.

The methods, the training loop and the counting rules are those of the benchmark. What comes back is the user's module
in standard layers.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.data.task import PARTS, Task
from squeezebench.engine.measurement.counts import count, kept_of
from squeezebench.engine.measurement.latency import Variant, timings
from squeezebench.engine.training.evaluation import accuracy, tensors
from squeezebench.engine.training.loop import Trainer, describe, seed_everything
from squeezebench.engine.training.snapshot import generators, set_generators
from squeezebench.method.base import Method
from squeezebench.schema.experiment import validated
from squeezebench.schema.training import TrainingSettings, overlaid
from squeezebench.tools.compression.data import Call, Called, Part, parts_of, task_of
from squeezebench.tools.compression.methods import DenseTraining, adapted, method_for
from squeezebench.tools.compression.network import (
    ROWS,
    answers,
    call_of,
    default_network,
    dense_settings,
    evaluating,
    same,
    surrounded,
)
from squeezebench.tools.compression.result import Compressed, Side
from squeezebench.tools.compression.standard import standard_network
from squeezebench.tools.compression.wrapped import Wrapped, recurrent_of

__all__ = ["Compressed", "compress"]
TRAINING = {"steps": 1500, "learning_rate": 3e-3}  # what a user does not say
SECONDS = 0.3  # of latency for each batch size, both networks together
CPU = torch.device("cpu")
COMPILED = "_orig_mod"  # where torch.compile keeps the module that it was given


def compress(
    model: nn.Module | None,
    train: Any,
    validation: Any,
    method: str = "vib_lstm",
    ratio: float | None = 10,
    *,
    test: Any = None,
    trained: bool = False,
    training: dict[str, Any] | None = None,
    seed: int = 0,
    threads: int = 1,
    progress: bool | None = None,
    plugins: Iterable[str | Path] = (),
    **settings: Any,
) -> tuple[nn.Module, Compressed]:
    """Compress the LSTM or GRU of a classifier; return the smaller classifier, and what it is beside the dense one.

    model: a module with one nn.LSTM or nn.GRU (any number of layers, batch_first or not, with or without biases), which
        gives logits (B, classes). It is called as model(x), or as model(x, length) if the data have lengths, and it is
        not changed. None: a classifier of `hidden` units and `layers` layers, which normalises its input.
    train, validation, test: (x, y) or (x, y, length), arrays or tensors: sequences (N, T, ...), class numbers (N,),
        valid steps (N,). Nothing is chosen on test, which is optional.
    method, settings: a method of `squeezebench methods` that starts from a dense network and ends in plain layers, and
        its settings. ratio: how many times fewer parameters the recurrent layers end with.
    trained: the model is trained, and is compared as it is; else the method's share of the steps trains it first, and
        the dense network of the comparison then goes on to as many steps as the compact one.
    training: what an experiment's `training:` may say; default: 1500 steps of 32 sequences, learning rate 0.003.
    threads: of PyTorch; the bits of the result depend on it. progress: a bar; None: if stderr is a terminal.

    The result prints as a table. Raises InputError, in one line, if the model, the data or the settings do not fit.
    """
    started = time.perf_counter()
    options = validated(TrainingSettings, overlaid(TRAINING, training or {}), "training")
    parts = parts_of(train=train, validation=validation, test=test)
    asked = settings if ratio is None else settings | {"ratio": ratio}
    with _own_state(seed, threads):
        run = _prepared(model, parts, method, asked, plugins, options, seed, progress)
        before = None if model is None or trained else _shares(Called(run.network, run.call), run.task)
        return run.result(trained, before, started)


@contextmanager
def _own_state(seed: int, threads: int) -> Iterator[None]:
    """The caller's generators, threads, and whether their PyTorch is deterministic, are afterwards as before."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed {seed}: give 0 or a larger whole number")
    if threads < 1:
        raise InputError(f"threads {threads}: give at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    state, deterministic = generators(), torch.get_deterministic_debug_mode()
    seed_everything(seed)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        set_generators(state)
        torch.set_deterministic_debug_mode(deterministic)


def _network(model: nn.Module | None, parts: dict[str, Part], settings: dict[str, Any]) -> tuple[nn.Module, str]:
    """The network to compress, a copy, and the place of its recurrence."""
    if model is None:
        network = default_network(parts["train"], settings)
    elif isinstance(model, nn.Module):
        network = _uncompiled(copy.deepcopy(getattr(model, COMPILED, model))).float().cpu()
    else:
        raise InputError(f"model: is a {type(model).__name__}; give a torch.nn.Module, or None for arrays alone")
    return network, recurrent_of(network)[0]


def _uncompiled(network: nn.Module) -> nn.Module:
    """The network without what torch.compile wraps around its modules, which would go on to run the dense code."""
    for place, module in reversed(list(network.named_modules())):  # the inner ones first
        if isinstance(inner := getattr(module, COMPILED, None), nn.Module):
            network.set_submodule(place, inner)
    return network


def _prepared(model, parts, method, asked, plugins, options, seed, progress) -> _Run:
    """All that can be wrong with the model, the data and the settings is found here, before anything is trained."""
    network, place = _network(model, parts, asked)
    call, classes = call_of(network, place, parts["train"])
    task = task_of(parts, classes)
    dense = surrounded(network, call, place, task)
    told = dense_settings(model, dense, asked)
    chosen = method_for(method, told, replace(describe(task), inputs=dense.inputs), plugins)
    return _Run(network, call, dense, adapted(chosen, dense), task, options, seed, progress)


@dataclass
class _Run:
    """One compression: the dense training, if there is one, and the method's own."""

    network: nn.Module  # as it was given
    call: Call
    dense: Wrapped
    method: Method
    task: Task
    settings: TrainingSettings
    seed: int
    progress: bool | None
    steps: int = 0  # of the compact network, the dense training from which it starts included
    shared_steps: int = 0  # of that dense training

    def result(self, trained: bool, before: dict[str, float] | None, started: float) -> tuple[nn.Module, Compressed]:
        """Train and measure. before: accuracies of the network as it was given."""
        self.refuse_too_short(trained)
        start, small = self.train(trained)
        x, lengths = _first_rows(self.task)
        networks = [standard_network(module, x, lengths) for module in (start, small)]
        _check_same(small, Called(networks[1], self.call), x, lengths)
        dense, compact = _sides([Called(module, self.call) for module in networks], self.task)
        return networks[1], Compressed(
            method=self.method.name,
            ratio=dense.counts.lstm_total / compact.counts.lstm_total,
            dense=dense,
            compact=compact,
            kept=kept_of(small, self.dense),
            given=before,
            settings=self.method.settings.model_dump(mode="json"),
            steps=self.steps,
            shared_steps=self.shared_steps,
            seconds=time.perf_counter() - started,
            notes=list(self.method.notes),
        )

    def refuse_too_short(self, trained: bool) -> None:
        """Raise InputError if the training leaves a stage without a step."""
        share = 0.0 if trained else self.method.start_share()
        if reason := self.settings.too_short(share, len(self.method.stages())):
            raise InputError(f"training: {reason}")

    def train(self, trained: bool) -> tuple[nn.Module, nn.Module]:
        """(the dense network, the compact one). If the dense one was not trained, it has as many steps as the compact
        one: those from which the method starts, and as many more as the method takes."""
        length, start = self.settings.length, self.dense
        if not trained:
            first = self.settings.pretraining(self.method.start_share())
            start, self.shared_steps = self._stages(DenseTraining(self.method.settings, self.dense), None, first)
            length -= first
        small, steps = self._stages(self.method, copy.deepcopy(start), length)
        self.steps = self.shared_steps + steps
        small = self.method.compact(small).cpu().eval()
        if not trained:
            start, _ = self._stages(DenseTraining(self.method.settings, start), None, length)
        return start, small

    def _stages(self, method: Method, start: nn.Module | None, length: int) -> tuple[nn.Module, int]:
        """The trained network and its gradient steps."""
        progress = sys.stderr.isatty() if self.progress is None else self.progress
        trainer = Trainer(method, self.task, self.settings, self.seed, progress)
        model = trainer.run(start, length).cpu().eval()
        return model, sum(stage.steps for stage in trainer.stages)


def _first_rows(task: Task) -> tuple[torch.Tensor, torch.Tensor | None]:
    """x (B, T, D) and length (B,) of a few sequences of the training part."""
    x, length, _ = tensors(task.batch("train", np.arange(min(ROWS, task.size("train")))), CPU)
    return x, length


def _check_same(trained: nn.Module, network: nn.Module, x: torch.Tensor, length: torch.Tensor | None) -> None:
    """Raises ValueError if the standard layers do not compute what was trained."""
    if not same(answers(network, x, length), answers(trained, x, length)):
        raise ValueError(
            "the network in standard layers differs from the trained one; this is an error of squeezebench"
        )


def _shares(network: nn.Module, task: Task) -> dict[str, float]:
    """Accuracy on each part that has sequences."""
    with evaluating(network):
        return {part: accuracy(network, task, part, CPU) for part in PARTS if task.size(part)}


def _sides(networks: list[Called], task: Task) -> list[Side]:
    """The dense and the compact network, measured."""

    def variant(network: Called) -> Variant:
        def make(x: torch.Tensor):
            rows = np.arange(len(x)) % task.size("train")  # data, not noise: x may be tokens
            x, length, _ = tensors(task.batch("train", rows), CPU)
            return lambda: network(x, length)

        return Variant(make)

    times = timings({str(k): variant(network.eval()) for k, network in enumerate(networks)}, 1, 1, seconds=SECONDS)
    return [
        Side(
            counts=count(network),
            bytes=sum(value.numel() * value.element_size() for value in network.state_dict().values()),
            accuracy=_shares(network, task),
            latency_ms={batch: timing.median for batch, timing in times[str(k)].items()},
        )
        for k, network in enumerate(networks)
    ]
