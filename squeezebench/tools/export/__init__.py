"""`squeezebench export`: the compact module of a run as a standard recurrent network that other programs read.

The export reads numbers only (model.safetensors and its spec) and no code of the run's method. It runs what it has
written once and compares the result with the module: in float32 both must compute the same; in int8 it is another
model, which is scored on the test part of the run's task.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.engine.measurement.files import load_model, read_spec
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.record import RECORD_NAME, Record, read_record
from squeezebench.tools.export.standard import Standard, standard
from squeezebench.tools.export.weights import StandardModule, safetensors_file, torch_file
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.verify.remeasure import Tasks

Format = Literal["onnx", "torch", "safetensors"]
FORMATS: tuple[Format, ...] = get_args(Format)
Precision = Literal["float32", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
ENDING = {"onnx": ".onnx", "torch": ".pt", "safetensors": ".standard.safetensors"}
TOLERANCE = 1e-5  # of a logit, relative to the largest where that is above 1
MODEL_NAME = "model.safetensors"
STEPS = 9  # of random sequences


@dataclass(frozen=True)
class Exported:
    """What was written; gap: the largest difference of a logit to the module that was scored.

    In float32 `gap` is of random input, relative where logits are above 1; in int8 it is of the test part, where that
    is there, and `test` is the accuracy of what was written.
    """

    path: Path
    bytes: int
    gap: float
    test: float | None = None  # int8 only, as are the next two
    float32_test: float | None = None  # of the module, as recorded
    not_scored: str | None = None  # why `test` is None
    notes: list[str] = field(default_factory=list)


def read_run(place: Path) -> tuple[Record, RecurrentClassifier]:
    """The record and the compact module of a run's folder, or of its record.json. Raises InputError."""
    path = place / RECORD_NAME if place.is_dir() else place
    record = read_record(path)
    if record.status != "ok":
        raise InputError(f"{path}: the run is {record.status} ({record.reason}); there is no module to export")
    return record, read_module(path.parent / MODEL_NAME)


def read_module(path: Path) -> RecurrentClassifier:
    """A recurrent classifier from its file. Raises InputError if it is none."""
    if not path.is_file():
        raise InputError(f"{path}: not there; a run leaves it beside its record, make the run again")
    spec = read_spec(path)
    if spec.get("class") != "RecurrentClassifier":
        raise InputError(
            f"{path}: holds a {spec.get('class')}, not a recurrent classifier; there is no recurrence to export"
        )
    try:
        return load_model(path, RecurrentClassifier.from_spec)
    except InputError:
        raise
    except Exception as error:  # a spec may hold anything
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not fit this version of squeezebench ({reason}); make the run again") from None


def export(
    place: Path,
    kind: Format,
    out: Path | None = None,
    lengths: bool | None = None,
    precision: Precision = "float32",
) -> Exported:
    """Write the run at `place` as `kind` to `out` (default: beside its record).

    lengths: whether the ONNX model takes a second input `length`; None: as the record says the task has them.
    precision: int8 is for ONNX (see quantised.py). Raises InputError if the module has no such form, or where what
    was written in float32 does not compute the same.
    """
    if precision == "int8" and kind != "onnx":
        raise InputError(f"--precision int8 is for --format onnx, not {kind}: its products are ONNX Runtime's")
    record, model = read_run(place)
    folder = place if place.is_dir() else place.parent
    out = out or folder / f"model{'.int8' * (precision == 'int8')}{ENDING[kind]}"
    if out.resolve() == (folder / MODEL_NAME).resolve():
        raise InputError(f"--out {out}: is the run's own file; give another name")
    shape = record.shape
    form = standard(model, shape.inputs if shape else record.kept.of_inputs)
    if lengths is None:
        lengths = bool(shape and shape.has_lengths)
    about = _about(record)
    if precision == "int8":
        return _int8(place, record, model, form, lengths, about, out)
    if kind == "onnx":
        content, run = _onnx(form, lengths, about)
    else:
        content, run = (torch_file if kind == "torch" else safetensors_file)(form, about), _in_torch(form)
        lengths = False
    gap = difference(model, run, form.inputs, lengths)
    if gap > TOLERANCE:
        raise InputError(f"{out}: the {kind} form differs from the module by {gap:.2g}, more than {TOLERANCE:g}")
    write_atomically(out, content)
    return Exported(out, len(content), gap, notes=form.notes)


def _about(record: Record) -> dict[str, str]:
    """The metadata of the written file."""
    return {
        "task": record.task,
        "method": record.method,
        "seed": str(record.seed),
        "inputs_digest": record.provenance.inputs_digest,
        "classes": "\n".join(record.class_names),
        "input": "(batch, time, features) float32, normalised as the task's training part says",
    }


def _int8(
    place: Path, record: Record, model: RecurrentClassifier, form: Standard, lengths: bool, about: dict[str, str],
    out: Path,
) -> Exported:  # fmt: skip
    from squeezebench.tools.export.quantised import int8_model
    from squeezebench.tools.export.scored import compare, score, task_of

    content, notes = int8_model(form, lengths, about)
    try:
        task = task_of(read_recorded(place), Tasks())
    except InputError as error:
        scored = compare(content, model, form.inputs, record.shape.steps if record.shape else STEPS, str(error))
    else:
        scored = score(content, model, task)
    write_atomically(out, content)
    notes = form.notes + notes
    return Exported(out, len(content), scored.difference, scored.test, record.accuracy.test, scored.not_scored, notes)


def _onnx(form: Standard, lengths: bool, about: dict[str, str]):
    from squeezebench.tools.export.onnx_graph import onnx_model
    from squeezebench.tools.export.runtime import session

    content = onnx_model(form, lengths, about).SerializeToString()
    running = session(content)

    def run(x: torch.Tensor, length: torch.Tensor | None) -> np.ndarray:
        given = {"x": x.numpy()} | ({} if length is None else {"length": length.numpy()})
        return running.run(["logits"], given)[0]

    return content, run


def _in_torch(form: Standard):
    """The same numbers in torch.nn.LSTM or GRU, as a reader of the file would put them together."""
    module = StandardModule(form)

    def run(x: torch.Tensor, length: None) -> np.ndarray:
        return module(x).numpy()

    return run


@torch.no_grad()
def difference(
    model: RecurrentClassifier, run, inputs: int, lengths: bool, batch: int = 7, steps: int = STEPS
) -> float:
    """Largest difference of a logit between the module and `run`, on random sequences of random length."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, steps, inputs, generator=generator)
    length = torch.randint(1, steps + 1, (batch,), generator=generator) if lengths else None
    expected, given = model.eval()(x, length).numpy(), run(x, length)
    if expected.shape != given.shape:
        raise InputError(f"the exported form gives logits {given.shape}, the module {expected.shape}")
    return float(np.abs(expected - given).max() / max(1.0, np.abs(expected).max()))
