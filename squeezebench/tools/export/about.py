"""What an exported file expects and answers: how raw data are normalised, names of classes, its metadata."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from squeezebench.base.errors import InputError
from squeezebench.data.normalise import Affine
from squeezebench.engine.measurement.normalisation import read_normalisation
from squeezebench.schema.record import Record
from squeezebench.tools.export.standard import Standard
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.verify.remeasure import Tasks, task_of

LARGE = 1e4  # means in standard deviations, above which float32 loses too many digits of raw data


def affine_of(place: Path, record: Record, inputs: int) -> tuple[Affine | None, str]:
    """How the run's data were normalised: as it is kept beside the record, or computed again from the data.

    None with the reason if neither is possible.
    """
    folder = place if place.is_dir() else place.parent
    if (kept := read_normalisation(folder, record.normalisation, inputs)) is not None:
        return kept, ""
    try:
        affine = task_of(read_recorded(place), Tasks()).affine
    except InputError as error:
        return None, str(error)
    return (affine, "") if len(affine.factor) == inputs else (None, "the data have another number of features")


def needed(affine: Affine | None, place: Path, reason: str) -> Affine:
    """Raises InputError if it is not known how the data are normalised."""
    if affine is None:
        raise InputError(
            f"{place}: does not say how its data are normalised (made by an older version?), and they cannot be read "
            f"again: {reason}. --without-normalisation writes the bare network, which reads normalised data"
        )
    return affine


def describe(record: Record, form: Standard, affine: Affine | None, axes: str) -> dict[str, str]:
    """The metadata of an exported file. `classes` and `normalisation` are JSON; raw * factor - shift is normalised.

    axes: of x, in words, before the features.
    """
    spec = record.task_spec or {}
    rule = record.normalisation.rule if record.normalisation else spec.get("normalise", "unknown")
    numbers = {} if affine is None else {name: _numbers(getattr(affine, name)) for name in ("factor", "shift")}
    return {
        "task": record.task,
        "method": record.method,
        "seed": str(record.seed),
        "inputs_digest": record.provenance.inputs_digest,
        "classes": json.dumps(record.class_names),
        "normalisation": json.dumps({"rule": rule, "in_model": form.normalisation is not None, **numbers}),
        "input": _words(record, form, rule, axes),
    }


def _numbers(values: np.ndarray) -> list[float] | float:
    """A number that is the same for all features once."""
    return float(values[0]) if (values == values[0]).all() else values.tolist()


def _words(record: Record, form: Standard, rule: str, axes: str) -> str:
    spec = record.task_spec or {}
    numbers = f"raw numbers of {record.task}, which the file normalises ({rule})"
    if form.normalisation is None:
        numbers = f"numbers of {record.task} normalised by its training part ({rule}): raw * factor - shift"
    words = [f"x ({axes}, {form.inputs}) float32: {numbers}"]
    if frames := spec.get("frames"):
        words.append(f"{frames} steps of each sequence, the middle ones of {frames} equal parts")
    return "; ".join(words)


def extra_inputs(form: Standard, has_lengths: bool, stateful: bool) -> list[str]:
    """What an ONNX model reads beside x, in words."""
    words = ["length (batch,) int64: the valid steps of each sequence"] * has_lengths
    if stateful:
        states = [
            f"{state}_{number} (batch, {layer.hidden})"
            for number, layer in enumerate(form.layers)
            for state in form.cell.states
        ]
        words.append(f"{', '.join(states)} float32: the outputs ..._next of the call before, zeros at first")
    return words


def rounding(form: Standard) -> list[str]:
    """What float32 cannot hold of raw data."""
    if form.normalisation is None or (most := float(np.abs(form.normalisation.shift).max())) < LARGE:
        return []
    number = int(np.abs(form.normalisation.shift).argmax())
    return [
        f"feature {number} varies by 1/{most:,.0f} of its mean, of which float32 keeps few digits: normalise raw data "
        "in float64 and export with --without-normalisation"
    ]


def random_sequences(form: Standard, batch: int, steps: int) -> tuple[Tensor, Tensor]:
    """(what the network reads, what the file is given), both (batch, steps, inputs)."""
    x = torch.randn(batch, steps, form.inputs, generator=torch.Generator().manual_seed(0))
    if form.normalisation is None:
        return x, x
    factor, shift = (torch.from_numpy(np.array(v)) for v in (form.normalisation.factor, form.normalisation.shift))
    raw = torch.where(factor == 0, 0.0, (x + shift) / torch.where(factor == 0, 1.0, factor))
    return raw * factor - shift, raw
