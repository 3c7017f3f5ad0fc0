"""`squeezebench export`: the compact module of a run as a standard recurrent network that other programs read.

The export reads numbers only (model.safetensors and its spec) and no code of the run's method. It runs what it has
written once and compares the result with the module: in float32 both must compute the same; in int8 it is another
model, which is scored on the test part of the run's task.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.engine.measurement.files import load_model, read_spec
from squeezebench.engine.measurement.normalisation import NORMALISATION_NAME
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.record import RECORD_NAME, Record, read_record
from squeezebench.tools.export.about import affine_of, describe, needed, random_sequences, rounding
from squeezebench.tools.export.snippets import onnx_lines, safetensors_lines, torch_lines
from squeezebench.tools.export.standard import Standard, standard
from squeezebench.tools.export.weights import StandardModule, safetensors_file, torch_file
from squeezebench.tools.recorded import read_recorded
from squeezebench.tools.verify.remeasure import Tasks, task_of

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
    input: str  # what the file expects, in words
    lines: list[str]  # of Python that use it without squeezebench
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
    normalise: bool = True,
) -> Exported:
    """Write the run at `place` as `kind` to `out` (default: beside its record).

    lengths: whether the ONNX model takes a second input `length`; None: as the record says the task has them.
    precision: int8 is for ONNX (see quantised.py). normalise: what is written reads raw data and normalises them by the
    statistics of the training part; False: it reads data that are normalised already. Raises InputError if the module
    has no such form, if what was written in float32 does not compute the same, or if nothing says how to normalise.
    """
    if precision == "int8" and kind != "onnx":
        raise InputError(f"--precision int8 is for --format onnx, not {kind}: its products are ONNX Runtime's")
    record, model = read_run(place)
    out = _out(place, out, f"model{'.int8' * (precision == 'int8')}{ENDING[kind]}")
    shape = record.shape
    form = standard(model, shape.inputs if shape else record.kept.of_inputs)
    affine, reason = affine_of(place, record, form.inputs)
    if normalise:
        form = replace(form, normalisation=needed(affine, place, reason))
    lengths = bool(shape and shape.has_lengths) if lengths is None else lengths
    lengths = lengths and kind == "onnx"
    about = describe(record, form, affine, lengths)
    if precision == "int8":
        return _int8(place, record, model, form, lengths, about, out)
    if kind == "onnx":
        content, run = _onnx(form, lengths, about)
        lines = onnx_lines(out, form, lengths, False)
    else:
        content, run = (torch_file if kind == "torch" else safetensors_file)(form, about), _in_torch(form)
        lines = (torch_lines if kind == "torch" else safetensors_lines)(out, form)
    gap = difference(model, run, form, lengths)
    if gap > TOLERANCE:
        raise InputError(f"{out}: the {kind} form differs from the module by {gap:.2g}, more than {TOLERANCE:g}")
    write_atomically(out, content)
    return Exported(out, len(content), gap, about["input"], lines, notes=form.notes + rounding(form))


def _out(place: Path, given: Path | None, name: str) -> Path:
    """Where the export goes: beside the record, if no place is given."""
    folder = place if place.is_dir() else place.parent
    out = given or folder / name
    if out.resolve() in {(folder / own).resolve() for own in (MODEL_NAME, NORMALISATION_NAME, RECORD_NAME)}:
        raise InputError(f"--out {out}: is the run's own file; give another name")
    return out


def _int8(
    place: Path, record: Record, model: RecurrentClassifier, form: Standard, lengths: bool, about: dict[str, str],
    out: Path,
) -> Exported:  # fmt: skip
    from squeezebench.tools.export.quantised import int8_model
    from squeezebench.tools.export.scored import compare, score

    content, notes = int8_model(form, lengths, about)
    try:
        task = task_of(read_recorded(place), Tasks())
    except InputError as error:
        scored = compare(content, model, form, record.shape.steps if record.shape else STEPS, str(error))
    else:
        scored = score(content, model, task, form)
    write_atomically(out, content)
    return Exported(
        out,
        len(content),
        scored.difference,
        about["input"],
        onnx_lines(out, form, lengths, True),
        scored.test,
        record.accuracy.test,
        scored.not_scored,
        form.notes + notes + rounding(form),
    )


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
def difference(model: RecurrentClassifier, run, form: Standard, lengths: bool, batch: int = 7) -> float:
    """Largest difference of a logit between the module and `run`, on random sequences of random length."""
    generator = torch.Generator().manual_seed(0)
    x, raw = random_sequences(form, batch, STEPS)
    length = torch.randint(1, STEPS + 1, (batch,), generator=generator) if lengths else None
    expected, answers = model.eval()(x, length).numpy(), run(raw, length)
    if expected.shape != answers.shape:
        raise InputError(f"the exported form gives logits {answers.shape}, the module {expected.shape}")
    return float(np.abs(expected - answers).max() / max(1.0, np.abs(expected).max()))
