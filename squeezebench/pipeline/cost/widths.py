"""What training a network takes, by sequence: the widths at which a method begins, found without training or memory.

Multiply-accumulates of the matrix products; everything else of a time step is counted by the values of its gates.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from squeezebench.engine.training.evaluation import EVALUATION_BATCH
from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier
from squeezebench.nn.factorized.base import TensorMap
from squeezebench.nn.protocol import macs_of, steps_of
from squeezebench.nn.rnn.layer import RecurrentLayer
from squeezebench.pipeline.cost.throughput import Throughput
from squeezebench.schema.models import ModelSettings, RecurrentSettings, TaskInfo

REAL_AT_MOST = 100_000_000  # parameters up to which a start in real memory is made where the meta device does not do
ROWS = 256  # of an input product, batch x time; they decide how a tensor map contracts

log = logging.getLogger("squeezebench")


@dataclass(frozen=True)
class Network:
    """What training one sequence takes."""

    wide: float = 0.0  # multiply-accumulates of the input maps, one time step
    narrow: float = 0.0  # of the hidden-to-hidden maps, one time step
    head: float = 0.0  # once a sequence
    gates: int = 0  # gate values of all layers, one time step
    layers: int = 0
    steps: int = 0  # time steps of the recurrence
    inputs: int = 0
    parameters: int = 0
    convolved: float = 0.0  # multiply-accumulates of a network of convolutions, once a sequence
    activations: int = 0  # values that its convolutions give

    @property
    def macs(self) -> float:
        """Of one sequence, forward."""
        return (self.wide + self.narrow) * self.steps + self.head + self.convolved

    def seconds(self, on: Throughput, batch: int) -> float:
        """A gradient step on `batch` sequences."""
        passes = on.step * self.steps * self.layers + batch * (self._arithmetic(on) + self._moving(on))
        return on.batch + on.parameter * self.parameters + passes

    def forward_seconds(self, on: Throughput, sequences: int) -> float:
        """Evaluating `sequences`: a third of the arithmetic, in large batches; the inputs are moved all the same."""
        calls = -(-sequences // EVALUATION_BATCH)
        own = calls * (on.batch + on.step * self.steps * self.layers) + sequences * self._arithmetic(on)
        return own / 3 + sequences * self._moving(on)

    def _arithmetic(self, on: Throughput) -> float:
        products = 6 * ((self.wide * self.steps + self.head) / on.wide + self.narrow * self.steps / on.narrow)
        convolutions = 6 * self.convolved / on.convolution + on.activation * self.activations
        return products + convolutions + on.element * self.gates * self.steps

    def _moving(self, on: Throughput) -> float:
        return on.value * self.inputs * self.steps

    def bytes(self, batch: int) -> int:
        """Weights, gradients and Adam's two moments; inputs (twice: by time) and what the backward pass keeps."""
        kept = batch * (self.steps * (2 * self.inputs + 5 * self.gates) + 3 * self.activations)
        return int(4 * (4 * self.parameters + kept))


def network(method: Method, info: TaskInfo) -> Network:
    """The widths at which `method` trains.

    Built without memory (torch's meta device). A method whose `build` cannot be, or that is no network of our layers,
    counts as the dense model of its settings.
    """
    dense = partial(dense_classifier, info, _shared(method)) if method.start_share() or method.start_file() else None
    try:
        with torch.device("meta"):
            model = method.build(info)
            parameters = sum(p.numel() for p in model.parameters())
            start = dense() if dense else None
        if dense:
            try:
                model = method.load_dense(model, start)
            except Exception:  # it copies or reads numbers, and the meta device has none: any numbers will do
                if parameters <= REAL_AT_MOST:
                    model = method.load_dense(model.to_empty(device="cpu"), start.to_empty(device="cpu"))
    except (Exception, SystemExit) as error:  # a method may raise anything here; its runs will say so in full
        log.debug("%s: not built for the estimate: %s", method.name, error)
        with torch.device("meta"):
            model = dense_classifier(info, _shared(method))
    return _measured(model, info)


def dense_network(settings: ModelSettings, info: TaskInfo) -> Network:
    """The dense model of `settings`: what a dense pretraining trains."""
    with torch.device("meta"):
        return _measured(dense_classifier(info, settings), info)


def _shared(method: Method) -> ModelSettings:
    """The dense model of a method's settings; the default one where it has no such settings."""
    known = isinstance(method.settings, ModelSettings)
    return method.settings.shared() if known else RecurrentSettings()


def _measured(model: nn.Module, info: TaskInfo) -> Network:
    wide = narrow = head = 0.0
    gates = layers = 0
    inside: set[int] = set()
    for module in model.modules():
        if isinstance(module, RecurrentLayer):
            wide += _map_macs(module.input_map)
            narrow += module.hidden_map.in_features * module.hidden_map.out_features
            gates, layers = gates + module.input_map.out_features, layers + 1
            inside |= {id(part) for part in module.modules()}
        elif isinstance(module, nn.RNNBase | nn.RNNCellBase):
            sizes = {name: p.numel() for name, p in module.named_parameters()}
            wide += sum(size for name, size in sizes.items() if name.startswith("weight_ih"))
            narrow += sum(size for name, size in sizes.items() if name.startswith("weight_hh"))
            gates += sum(size for name, size in sizes.items() if name.startswith("bias_hh"))
            layers += getattr(module, "num_layers", 1)  # of a cell
        elif isinstance(module, nn.Linear) and id(module) not in inside:
            head += module.in_features * module.out_features
    steps, given = steps_of(model, info.steps), {}
    hooks = [m.register_forward_hook(partial(_note, given)) for m in model.modules() if isinstance(m, nn.Conv2d)]
    total = macs_of(model, info.steps)  # runs convolutions on one frame, unless the network has a formula
    if hooks and not given:
        model(torch.empty(1, info.steps, info.inputs, device=next(model.parameters()).device))
    for hook in hooks:
        hook.remove()
    if total is not None:
        recurrent = [m.macs(steps) for m in model.modules() if isinstance(m, RecurrentLayer)]
        if None not in recurrent:  # what runs beside the recurrent layers, a network on each frame included
            head = total - sum(recurrent)
    parameters = sum(p.numel() for p in model.parameters())
    head, convolved = (0.0, head) if given else (head, 0.0)
    activations = sum(given.values()) * info.steps
    return Network(wide, narrow, head, gates, layers, steps, info.inputs, parameters, convolved, activations)


def _note(given: dict[int, int], module: nn.Module, _: object, output: torch.Tensor) -> None:
    given[id(module)] = output[0].numel()


def _map_macs(module: nn.Module) -> float:
    """Forward multiply-accumulates for one row; a tensor map's plan counts forward and backward together."""
    if isinstance(module, TensorMap):
        return len(module.terms()) * module.plan(ROWS).cost / ROWS / 3
    return sum(p.numel() for p in module.parameters())
