"""`squeezebench export`: the compact module of a run as a standard recurrent network that other programs read.

The export reads numbers only (model.safetensors and its spec) and no code of the run's method. It runs what it has
written once and compares the result with the module: in float32 both must compute the same; in int8 it is another
model, which is scored on the test part of the run's task.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.engine.measurement.files import read_spec
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.record import MODEL_NAME, NORMALISATION_NAME, RECORD_NAME, Record, read_record
from squeezebench.tools.export.about import affine_of, describe, extra_inputs, needed, random_sequences, rounding
from squeezebench.tools.export.formats import Format, Wanted, Written, write
from squeezebench.tools.export.scored import Answer, Scored, compare, score
from squeezebench.tools.export.standard import Standard, standard
from squeezebench.tools.recorded import model_of, read_model, read_recorded, record_at
from squeezebench.tools.verify.remeasure import Tasks, task_of

Precision = Literal["float32", "int8"]
ENDING = {"onnx": ".onnx", "torch": ".pt", "safetensors": ".standard.safetensors", "c": ".c"}
TOLERANCE = 1e-5  # of a logit, relative to the largest where that is above 1
STEPS = 9  # of random sequences


@dataclass(frozen=True)
class Exported:
    """What was written; gap: the largest difference of a logit to the module that was scored.

    In float32 `gap` is of random input, relative where logits are above 1; in int8 it is of the test part, where that
    is there, and `test` is the accuracy of what was written. It is None if this machine cannot run what was written.
    """

    path: Path
    bytes: int
    gap: float | None
    input: str  # what the file expects, in words
    lines: list[str]  # of Python that use it without squeezebench
    test: float | None = None  # int8 only, as are the next two
    float32_test: float | None = None  # of the module, as recorded
    not_scored: str | None = None  # why `test` is None
    notes: list[str] = field(default_factory=list)


def read_run(place: Path) -> tuple[Record, RecurrentClassifier]:
    """The record and the compact module of a run's folder, or of its record.json. Raises InputError."""
    path = record_at(place)
    record = read_record(path)
    return record, read_module(model_of(path, record))


def read_module(path: Path) -> RecurrentClassifier:
    """A recurrent classifier from its file. Raises InputError if it is none."""
    spec = read_spec(path)
    if spec.get("class") != "RecurrentClassifier":
        raise InputError(
            f"{path}: holds a {spec.get('class')}, not a recurrent classifier of squeezebench; export writes no other"
        )
    return read_model(path, RecurrentClassifier.from_spec)


def export(
    place: Path,
    kind: Format,
    out: Path | None = None,
    lengths: bool | None = None,
    precision: Precision = "float32",
    normalise: bool = True,
    stateful: bool = False,
) -> Exported:
    """Write the run at `place` as `kind` to `out` (default: beside its record).

    lengths: whether the ONNX model takes a second input `length`; None: as the record says the task has them.
    precision: int8 is for ONNX (see quantised.py) and C (weights only). normalise: what is written reads raw data and
    normalises them by the statistics of the training part; False: it reads data that are normalised already. stateful:
    the ONNX model takes and answers the states of its layers. Raises InputError if the module has no such form, if
    what was written in float32 does not compute the same, or if nothing says how to normalise.
    """
    _check(kind, lengths, precision, stateful)
    record, model = read_run(place)
    out = _out(place, out, f"model{'.stateful' * stateful}{'.int8' * (precision == 'int8')}{ENDING[kind]}")
    shape = record.shape
    form = standard(model, shape.inputs if shape else record.kept.of_inputs)
    affine, reason = affine_of(place, record, form.inputs)
    form = replace(form, normalisation=needed(affine, place, reason)) if normalise else form
    lengths = bool(shape and shape.has_lengths) if lengths is None else lengths
    lengths = lengths and kind == "onnx" and not stateful
    about = describe(record, form, affine, "time" if kind == "c" else "batch, time")
    about["input"] += "; ".join(["", *extra_inputs(form, lengths, stateful)])
    with tempfile.TemporaryDirectory() as scratch:
        written = write(Wanted(kind, form, about, out, lengths, precision == "int8", stateful, Path(scratch)))
        done = Exported(out, len(written.content), None, about["input"], written.lines,
                        notes=form.notes + written.notes + rounding(form))  # fmt: skip
        if precision == "int8":
            scored = _scored(place, record, model, form, written)
            done = replace(done, gap=scored.difference, test=scored.test, not_scored=scored.not_scored,
                           float32_test=record.accuracy.test)  # fmt: skip
        elif written.answer is not None:
            done = _checked(replace(done, gap=difference(model, written.answer, form, lengths or kind == "c")), kind)
    write_atomically(out, written.content)
    return done


def _checked(done: Exported, kind: Format) -> Exported:
    if not done.gap <= TOLERANCE:
        raise InputError(
            f"{done.path}: the {kind} form differs from the module by {done.gap:.2g}, more than {TOLERANCE:g}"
        )
    return done


def _check(kind: Format, lengths: bool | None, precision: Precision, stateful: bool) -> None:
    if precision == "int8" and kind not in ("onnx", "c"):
        raise InputError(f"--precision int8 is for --format onnx and c, not {kind}")
    if stateful and kind != "onnx":
        also = "; the C file always keeps its states in a struct" * (kind == "c")
        raise InputError(f"--stateful is for --format onnx, not {kind}{also}")
    if stateful and lengths:
        raise InputError("--stateful and --lengths exclude each other: give a stateful model valid steps only")


def _out(place: Path, given: Path | None, name: str) -> Path:
    """Where the export goes: beside the record, if no place is given."""
    folder = place if place.is_dir() else place.parent
    out = given or folder / name
    if out.resolve() in {(folder / own).resolve() for own in (MODEL_NAME, NORMALISATION_NAME, RECORD_NAME)}:
        raise InputError(f"--out {out}: is the run's own file; give another name")
    return out


def _scored(place: Path, record: Record, model: RecurrentClassifier, form: Standard, written: Written) -> Scored:
    """A file in int8 on the test part of the run's task; on random sequences if that is not there."""
    if written.answer is None:
        return Scored(None, None, 0, written.not_run)
    try:
        task = task_of(read_recorded(place), Tasks())
    except InputError as error:
        return compare(written.answer, model, form, record.shape.steps if record.shape else STEPS, str(error))
    return score(written.answer, model, task, form)


@torch.no_grad()
def difference(model: RecurrentClassifier, answer: Answer, form: Standard, lengths: bool, batch: int = 7) -> float:
    """Largest difference of a logit between the module and `answer`, on random sequences of random length."""
    generator = torch.Generator().manual_seed(0)
    x, raw = random_sequences(form, batch, STEPS)
    length = torch.randint(1, STEPS + 1, (batch,), generator=generator) if lengths else None
    expected = model.eval()(x, length).numpy()
    answers = answer(raw.numpy(), None if length is None else length.numpy())
    if expected.shape != answers.shape:
        raise InputError(f"the exported form gives logits {answers.shape}, the module {expected.shape}")
    return float(np.abs(expected - answers).max() / max(1.0, np.abs(expected).max()))
