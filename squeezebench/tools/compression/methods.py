"""The benchmark's methods on a network of the user's."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from squeezebench.base.errors import InputError
from squeezebench.method.base import Method
from squeezebench.method.discovery import find_methods, load, pick
from squeezebench.method.settings import settings_of
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.models import RecurrentSettings, TaskInfo
from squeezebench.tools.compression.wrapped import Wrapped, settled
from squeezebench.tools.counting import construct


class DenseTraining(Method):
    """Trains the network as it is, from the weights that it has."""

    name = "dense training"

    def __init__(self, settings: Any, network: Wrapped):
        super().__init__(settings)
        self._network = network

    def build(self, task: TaskInfo) -> nn.Module:
        return settled(copy.deepcopy(self._network))


def method_for(name: str, settings: dict[str, Any], info: TaskInfo, plugins: Iterable[str | Path]) -> Method:
    """The method with its settings. Raises InputError if it cannot compress a network of the user's.

    info: the recurrence's inputs, and the data's shapes.
    """
    method_class = load(pick(find_methods(plugins), name))
    if "sequence" not in method_class.kinds:
        raise InputError(f"method {name} is for {' and '.join(method_class.kinds)} tasks, not for sequences")
    method = method_class(settings_of(method_class, settings, "compress"))
    if reason := method.skip(info):
        raise InputError(f"method {name}: {reason}")
    if not method.start_share():
        raise InputError(f"method {name} trains a network of its own from scratch; give one that starts from yours")
    built = construct(method_class(method.settings), info)
    if not (type(built) is RecurrentClassifier and all(map(_is_standard, built.layers))):
        raise InputError(
            f"method {name} with these settings ends in layers that are no standard {built_cell(settings)}; give one "
            "that removes units or inputs, such as vib_lstm, itpcc_lstm, iss or magnitude"
        )
    return method


def built_cell(settings: dict[str, Any]) -> str:
    """The name of the cell for messages."""
    return str(settings.get("cell", RecurrentSettings.model_fields["cell"].default)).upper()


def _is_standard(layer: nn.Module) -> bool:
    return isinstance(layer.input_map, DenseMap) and isinstance(layer.hidden_map, DenseMap) and not layer.factors


def adapted(method: Method, network: Wrapped) -> Method:
    """The same method, which builds its layers and masks into `network`."""

    class Adapted(type(method)):
        def build(self, task: TaskInfo) -> nn.Module:
            built = super().build(replace(task, inputs=network.inputs))
            if built.hidden != network.hidden:
                raise InputError(f"method {self.name} trains a network of its own; give one that starts from yours")
            model = copy.deepcopy(network)
            model.layers, model.input_mask = built.layers, built.input_mask
            return settled(model)

        def load_dense(self, model: nn.Module, dense: nn.Module) -> nn.Module:
            return settled(super().load_dense(model, dense))

        @torch.no_grad()
        def end_stage(self, model: nn.Module, stage: Any) -> nn.Module:
            return settled(super().end_stage(model, stage))

    return Adapted(method.settings)
