"""`squeezebench.load`: the compact network of a run as a module that reads raw data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.method.discovery import find_methods
from squeezebench.tools.export.about import affine_of
from squeezebench.tools.recorded import model_of, read_model, read_recorded, record_at


class Loaded(nn.Module):
    """(B, T, D) raw data, (B,) valid steps or None -> logits (B, classes); `classes` are their names.

    `network` is the module that was scored. It reads raw * factor - shift.
    """

    def __init__(self, network: nn.Module, factor: Tensor, shift: Tensor, classes: list[str]):
        super().__init__()
        self.network, self.classes = network, classes
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        return self.network(x * self.factor - self.shift, length)


def load(record: str | Path, normalise: bool = True, plugins: Iterable[str | Path] = ()) -> Loaded:
    """The compact network of a run, for evaluation. record: the run's folder, or its record.json.

    normalise: the module normalises raw data by the statistics of the run's training part; False: it reads data that
    are normalised already. plugins: where the run's method is looked for, if it is none of squeezebench's.
    Raises InputError if the run has no network, or if nothing says how its data are normalised.
    """
    path = record_at(Path(record))
    recorded = read_recorded(path, plugins=plugins)
    told = recorded.record
    network = read_model(model_of(path, told), recorded.restore(find_methods(plugins)))
    inputs = told.shape.inputs if told.shape else told.kept.of_inputs
    factor, shift = torch.ones(inputs), torch.zeros(inputs)
    if normalise:
        affine, reason = affine_of(path, told, inputs)
        if affine is None:
            raise InputError(f"{path}: nothing says how its data are normalised ({reason}); give normalise=False")
        factor, shift = (torch.from_numpy(value.copy()) for value in (affine.factor, affine.shift))
    return Loaded(network, factor, shift, list(told.class_names)).eval()
