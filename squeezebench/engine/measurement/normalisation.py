"""What the network's input is: the statistics of the training part, in a file of their own beside the record.

They are no part of the model's size, and without them a saved network cannot read raw data. A number that is the same
for all features is stored once.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from squeezebench.base.files import write_atomically
from squeezebench.base.reading import regular
from squeezebench.data.normalise import Affine
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.schema.record import NORMALISATION_NAME, Normalisation


def write_normalisation(folder: Path, rule: str, affine: Affine) -> Normalisation:
    """Write factor and shift, float32, (D,) or (1,), into `folder`. Returns what the record says of them."""
    tensors = {name: torch.from_numpy(_once(getattr(affine, name))) for name in ("factor", "shift")}
    write_atomically(folder / NORMALISATION_NAME, save(tensors))
    return Normalisation(rule=rule, digest=model_digest(tensors))


def _once(values):
    return values[:1].copy() if (values == values[0]).all() else values


def read_normalisation(folder: Path, recorded: Normalisation | None, inputs: int) -> Affine | None:
    """The numbers (D,) that a run left in `folder`; None if there are none, or others than those of its record."""
    if recorded is None:
        return None
    try:
        tensors = load(regular(folder / NORMALISATION_NAME).read_bytes())
        if model_digest(tensors) != recorded.digest:
            return None
        return Affine(*(tensors[name].expand(inputs).numpy() for name in ("factor", "shift")))
    except (OSError, SafetensorError, KeyError, RuntimeError, TypeError):
        return None
