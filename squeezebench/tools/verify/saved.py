"""`squeezebench report FOLDER --verify`: records held against themselves, and against their saved models.

Every ok record has to agree with itself (consistency.py). Where its model.safetensors is still there, the model is
read back and measured again (remeasure.py). What was found goes to verification.json, which the report shows.
"""

from __future__ import annotations

import json
import logging
import random
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from squeezebench.base.errors import InputError, printable
from squeezebench.base.files import write_atomically
from squeezebench.engine import provenance
from squeezebench.method.discovery import MethodFile, find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.differences import Difference
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.record import RECORD_NAME, RecordError
from squeezebench.schema.verification import VERIFICATION, records_digest
from squeezebench.tools.counting import construct
from squeezebench.tools.recorded import Recorded, plan_in, read_recorded
from squeezebench.tools.verify.consistency import inconsistencies, standard_counts
from squeezebench.tools.verify.remeasure import BY_RESULTS, BY_SIZES, Tasks, inputs, read_model, results, sizes

MODEL = "model.safetensors"
SAMPLE_SEED = 0
NARROW = 64

Methods = dict[str, MethodFile]


@dataclass(frozen=True)
class Problem:
    """One field of one run that is not what it should be."""

    run: str  # path of its folder, below the experiment's
    field: str
    recorded: str
    measured: str


@dataclass
class Verification:
    """What was verified, and what was wrong."""

    folder: Path
    records: int = 0  # ok records found
    measured: int = 0  # of them: measured again from their models
    scored: int = 0  # of those: on their data
    without_model: int = 0
    sample: int | None = None
    problems: list[Problem] = field(default_factory=list)
    not_measured: dict[str, int] = field(default_factory=dict)  # reason -> runs whose model could not be measured
    notes: list[str] = field(default_factory=list)


def verify(
    folder: Path, sample: int | None = None, plugins: list[str | Path] = (), progress: bool = False
) -> Verification:
    """Verify every record below `folder/runs` and write `folder/verification.json`.

    sample: how many models are measured again, drawn at random; None: all. Raises InputError where there are no
    records; a damaged record is a problem of its own, and the others go on.
    """
    if sample is not None and sample < 1:
        raise InputError(f"--sample {sample}: give at least 1")
    paths = sorted((folder / "runs").rglob(RECORD_NAME))
    if not paths:
        raise InputError(f"{folder}: no record below runs/, nothing to verify")
    plan = plan_in(folder)
    methods = find_methods(plugins)
    found = Verification(folder, sample=sample)
    ok: list[Recorded] = []
    for path in paths:
        try:
            recorded = read_recorded(path, plan, plugins)
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            found.problems.append(Problem(_place(folder, path), RECORD_NAME, "a valid record", reason))
        else:
            ok += [recorded] if recorded.record.status == "ok" else []
    found.records = len(ok)
    chosen = [one for one in ok if (one.folder / MODEL).is_file()]
    found.without_model = len(ok) - len(chosen)
    if sample is not None and sample < len(chosen):
        chosen = random.Random(SAMPLE_SEED).sample(chosen, sample)
    again = {one.path for one in chosen}
    built: dict[tuple, Any] = {}
    tasks = Tasks()
    ok.sort(key=lambda one: (one.record.task, one.record.seed, str(one.path)))
    with _quiet():
        for one in tqdm(ok, "verify", disable=not progress, leave=False, file=sys.stderr):
            measured, wrong = _measured(one, found, tasks, methods) if one.path in again else ((), [])
            wrong += [gap for gap in inconsistencies(one.record) if not gap.what.startswith(measured)]
            wrong += [] if measured else _constructed(one, built, methods)
            wrong += _altered_history(one)
            found.problems += _problems(_place(folder, one.path), wrong)
    _write(found)
    return found


def _place(folder: Path, path: Path) -> str:
    return path.resolve().parent.relative_to(folder.resolve()).as_posix()


def _problems(run: str, wrong: list[Difference]) -> Iterator[Problem]:
    """One line a field."""
    for one in {difference.what: difference for difference in wrong}.values():
        yield Problem(run, one.what, *_shown(one))


def _shown(one: Difference) -> tuple[str, str]:
    """Both values as text; of a confusion only the cells that differ."""
    if one.what == "confusion" and isinstance(one.recorded, list) and isinstance(one.found, list):
        cells = [
            (f"[{i}][{j}] {a}", f"[{i}][{j}] {b}")
            for i, (row, other) in enumerate(zip(one.recorded, one.found, strict=False))
            for j, (a, b) in enumerate(zip(row, other, strict=False))
            if a != b
        ][:3]
        return ", ".join(a for a, _ in cells), ", ".join(b for _, b in cells)
    return _text(one.recorded), _text(one.found)


def _text(value: object) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if len(text) <= 120 else f"{text[:120]}…"


def _measured(
    one: Recorded, found: Verification, tasks: Tasks, methods: Methods
) -> tuple[tuple[str, ...], list[Difference]]:
    """(the fields that were measured, what is wrong); what cannot be measured is counted with its reason, and is no
    problem of the record."""
    path = one.folder / MODEL
    try:
        method = one.method(methods)
    except InputError as error:
        _count(found, str(error).removeprefix(f"{one.path}: "))
        return (), []
    try:
        model = read_model(path, method)
    except InputError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if _same_code(one, method):
            return (), [Difference(MODEL, "the module that was scored", reason)]
        _count(found, f"{reason} (made by another version of the engine or the method)")
        return (), []
    try:
        wrong = list(sizes(one, model, path))
    except Exception as error:  # the record may claim a shape that the module cannot read
        return (), [_unread(error)]
    found.measured += 1
    try:
        spec = one.spec()
        task = tasks.of(spec)
    except InputError as error:
        _count(found, f"not scored on data: {str(error).removeprefix(f'{one.path}: ')}")
        return BY_SIZES, wrong
    if _same_code(one, method):  # else settings may have come or gone
        wrong += inputs(one, spec)
    if method.digest != one.record.provenance.method_digest:
        found.notes.append(f"{_place(found.folder, one.path)}: the method's file has changed since")
    notes: list[str] = []
    try:
        wrong += results(one, spec, model, task, notes)
        found.scored += 1
    except Exception as error:  # a module that was altered may fail in its forward pass in any way
        wrong.append(_unread(error))
        return BY_SIZES, wrong
    found.notes += [f"{_place(found.folder, one.path)}: {note}" for note in notes]
    return BY_RESULTS, wrong


def _altered_history(one: Recorded) -> list[Difference]:
    """history.csv holds nothing that could be measured again; it is as it was written, or not there."""
    path, recorded = one.folder / "history.csv", one.record.history_digest
    if recorded is None or not path.is_file():
        return []
    found = sha256(path.read_bytes()).hexdigest()
    return [] if found == recorded else [Difference(path.name, recorded, found)]


def _unread(error: Exception) -> Difference:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return Difference(MODEL, "a module that reads the task", reason)


def _same_code(one: Recorded, method: MethodFile) -> bool:
    origin = one.record.provenance
    return origin.engine_digest == provenance.engine_digest() and origin.method_digest == method.digest


def _count(found: Verification, reason: str) -> None:
    found.not_measured[reason] = found.not_measured.get(reason, 0) + 1


def _constructed(one: Recorded, built: dict[tuple, Any], methods: Methods) -> list[Difference]:
    """Without a model: where the method's compact layers are plain matrices, 4h(d + h + 2) of what was kept."""
    record = one.record
    if record.kept.hidden is None or record.kept.of_inputs is None:
        return []
    key = (record.method, json.dumps(record.settings, sort_keys=True), record.kept.of_inputs)
    if key not in built:
        built[key] = _is_standard(one, methods)
    return list(standard_counts(record)) if built[key] else []


def _is_standard(one: Recorded, methods: Methods) -> bool:
    """Whether the method with these settings ends in layers of plain matrices; False where it cannot be built.

    Kinds of maps hardly ever depend on widths: a narrow build answers in milliseconds, else the real widths do.
    """
    record = one.record
    steps, classes = (record.shape.steps if record.shape else 8), max(2, len(record.class_names))
    for width, hidden in ((min(NARROW, record.kept.of_inputs), NARROW), (record.kept.of_inputs, None)):
        settings = record.settings
        if hidden and isinstance(settings.get("hidden"), int):
            settings = settings | {"hidden": min(hidden, settings["hidden"])}
        info = TaskInfo(record.task, "sequence", width, steps, classes, False, 1000)
        try:
            method = load(one.method(methods))
            compact = construct(method(settings_of(method, settings, str(one.path))), info)
        except Exception:  # the method is gone, has other settings now, or needs other widths or training: no claim
            continue
        if not isinstance(compact, RecurrentClassifier):
            return False
        return all(isinstance(m, DenseMap) for layer in compact.layers for m in (layer.input_map, layer.hidden_map))
    return False


class _quiet:
    """Torch's own random state and the engine's warnings are the caller's: both are as before afterwards."""

    def __enter__(self):
        self.state, self.log = torch.get_rng_state(), logging.getLogger("squeezebench")
        self.level = self.log.level
        self.log.setLevel(logging.ERROR)

    def __exit__(self, *_):
        torch.set_rng_state(self.state)
        self.log.setLevel(self.level)


def _write(found: Verification) -> None:
    content = asdict(found)
    del content["folder"]
    content |= {
        "schema_version": 1,
        "records_digest": records_digest(found.folder),
        "machine": provenance.machine(),
        "engine_digest": provenance.engine_digest(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_atomically(found.folder / VERIFICATION, json.dumps(content, indent=1, sort_keys=True).encode() + b"\n")


def as_text(found: Verification) -> str:
    """One line for each problem, and what was done."""
    lines = [f"{p.run}: {p.field}: recorded {p.recorded}, measured {p.measured}" for p in found.problems]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"not measured ({number} runs): {reason}" for reason, number in found.not_measured.items()]
    number = len(found.problems)
    lines.append(
        f"{found.records:,} records checked for consistency, {found.measured:,} measured again from their models "
        f"({found.scored:,} of these on their data), {found.without_model:,} without a model: "
        f"{number or 'no'} problem{'' if number == 1 else 's'}"
    )
    return "\n".join(map(printable, lines))
