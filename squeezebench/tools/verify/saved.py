"""`squeezebench report FOLDER --verify`: records are checked against themselves and against their saved models.

Every ok record has to agree with itself (consistency.py). If its model.safetensors is still there, the model is read
back and measured again (remeasure.py). The outcome goes to verification.json, which the report shows.
"""

from __future__ import annotations

import json
import random
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import nn
from tqdm import tqdm

from squeezebench.base.contents import sha256_of
from squeezebench.base.errors import InputError, printable
from squeezebench.engine import provenance
from squeezebench.method.discovery import MethodFile, find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.schema.differences import Difference
from squeezebench.schema.models import TaskInfo
from squeezebench.schema.record import HISTORY_NAME, MODEL_NAME, RECORD_NAME, RecordError, record_files
from squeezebench.schema.stored import check_replaceable, write_json
from squeezebench.schema.verification import VERIFICATION, Problem, Verification, records_digest
from squeezebench.tools.counting import construct
from squeezebench.tools.recorded import Recorded, plan_in, quiet, read_model, read_recorded, same_arithmetic
from squeezebench.tools.verify.comparison import differences, in_words
from squeezebench.tools.verify.consistency import inconsistencies, standard_counts
from squeezebench.tools.verify.remeasure import Tasks, results, sizes

SAMPLE_SEED = 0
NARROW = 64


def verify(
    folder: Path, sample: int | None = None, plugins: list[str | Path] = (), progress: bool = False, keep: bool = True
) -> Verification:
    """Verify every record below `folder/runs` and, to `keep` the outcome, write `folder/verification.json`.

    sample: how many models are measured again, drawn at random; None: all. Raises InputError if there are no records; a
    damaged record is a problem of its own, and the others go on.
    """
    if keep:
        check_replaceable(folder / VERIFICATION)
    if sample is not None and sample < 1:
        raise InputError(f"--sample {sample}: give at least 1")
    paths = record_files(folder)
    if not paths:
        raise InputError(f"{folder}: no record below runs/ or of one run: nothing to verify")
    outcome = Verification(sample=sample)
    ok = _readable(folder, paths, plugins, outcome)
    outcome.records = len(ok)
    chosen = [recorded for recorded in ok if (recorded.folder / MODEL_NAME).is_file()]
    outcome.without_model = len(ok) - len(chosen)
    if sample is not None and sample < len(chosen):
        chosen = random.Random(SAMPLE_SEED).sample(chosen, sample)
    again = {recorded.path for recorded in chosen}
    check = _Check(folder, find_methods(plugins), outcome)
    ok.sort(key=lambda recorded: (recorded.record.task, recorded.record.seed, str(recorded.path)))
    with quiet():
        for recorded in tqdm(ok, "verify", disable=not progress, leave=False, file=sys.stderr):
            check.run(recorded, measure=recorded.path in again)
    outcome.records_digest = records_digest(folder)
    outcome.machine, outcome.engine_digest = provenance.machine(), provenance.engine_digest()
    outcome.finished = datetime.now(UTC).isoformat(timespec="seconds")
    if keep:
        write_json(folder / VERIFICATION, outcome.model_dump(mode="json"))
    return outcome


def _readable(folder: Path, paths: list[Path], plugins: list[str | Path], outcome: Verification) -> list[Recorded]:
    """The ok records; a damaged one is noted as a problem."""
    plan, ok = plan_in(folder), []
    for path in paths:
        try:
            recorded = read_recorded(path, plan, plugins)
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            problem = {"field": RECORD_NAME, "recorded": "a valid record", "measured": reason}
            outcome.problems.append(Problem(run=_place(folder, path), **problem))
        else:
            ok += [recorded] if recorded.record.status == "ok" else []
    return ok


def _place(folder: Path, path: Path) -> str:
    return path.resolve().parent.relative_to(folder.resolve()).as_posix()


@dataclass
class _Check:
    """The checks of one folder's records, which write what they find into `outcome`."""

    folder: Path
    methods: dict[str, MethodFile]
    outcome: Verification
    built: dict[tuple, bool] = field(default_factory=dict)  # settings of a method -> whether its layers are matrices
    tasks: Tasks = field(default_factory=Tasks)

    def run(self, recorded: Recorded, measure: bool) -> None:
        """Check one record; one line for each field that is wrong."""
        record = recorded.record
        measured, wrong = self._measured(recorded) if measure else (None, [])
        # Nothing has to be concluded from other fields about a value that was measured.
        wrong += [gap for gap in inconsistencies(record) if gap.what not in (measured or ())]
        if measured is None:
            wrong += standard_counts(record) if self._is_standard(recorded) else []
        wrong += _altered_history(recorded)
        for difference in {gap.what: gap for gap in wrong}.values():
            was, now = in_words(difference)
            place = _place(self.folder, recorded.path)
            self.outcome.problems.append(Problem(run=place, field=difference.what, recorded=was, measured=now))

    def _measured(self, recorded: Recorded) -> tuple[dict[str, Any] | None, list[Difference]]:
        """(path -> measured value, what is wrong).

        A model that cannot be measured is counted with the reason, and is no problem of the record.
        """
        path, record = recorded.folder / MODEL_NAME, recorded.record
        model, wrong = self._model(recorded, path)
        if model is None:
            return None, wrong
        notes: list[str] = []
        try:
            measured = sizes(record, model, path)
        except Exception as error:  # the record may claim a shape that the module cannot read
            return None, [_unread(error)]
        wrong, parts = [], {}
        self.outcome.measured += 1
        try:
            spec = recorded.spec()
            task = self.tasks.of(spec)
        except InputError as error:
            self._count(f"not scored on data: {str(error).removeprefix(f'{recorded.path}: ')}")
        else:
            if self._same_code(recorded):  # else settings may have come or gone
                given, method = record.provenance.inputs_digest, record.provenance.method_digest
                measured["provenance.inputs_digest"] = given if spec.made(given, method) else spec.digest_with(method)
            if self.methods[record.method].digest != record.provenance.method_digest:
                notes.append("the method's file has changed since")
            try:
                measured |= results(recorded, spec, model, task)
                parts = {part: task.size(part) for part in ("train", "validation", "test")}
                self.outcome.scored += 1
                self.outcome.scored_runs.append(_place(self.folder, recorded.path))
            except Exception as error:  # a module that was altered may fail in its forward pass in any way
                wrong.append(_unread(error))
        wrong += differences(record, measured, same_arithmetic(record.provenance), parts, notes)
        self.outcome.notes += [f"{_place(self.folder, recorded.path)}: {note}" for note in notes]
        return measured, wrong

    def _model(self, recorded: Recorded, path: Path) -> tuple[nn.Module | None, list[Difference]]:
        """The saved module; None with what is wrong if it cannot be read back."""
        try:
            restore = recorded.restore(self.methods)
        except InputError as error:
            self._count(str(error).removeprefix(f"{recorded.path}: "))
            return None, []
        try:
            return read_model(path, restore), []
        except InputError as error:
            reason = str(error).removeprefix(f"{path}: ")
            if self._same_code(recorded):
                return None, [Difference(MODEL_NAME, "the module that was scored", reason)]
            self._count(f"{reason} (made by another version of the engine or the method)")
            return None, []

    def _same_code(self, recorded: Recorded) -> bool:
        origin, method = recorded.record.provenance, self.methods[recorded.record.method]
        return origin.engine_digest == provenance.engine_digest() and origin.method_digest == method.digest

    def _count(self, reason: str) -> None:
        self.outcome.not_measured[reason] = self.outcome.not_measured.get(reason, 0) + 1

    def _is_standard(self, recorded: Recorded) -> bool:
        """Whether the compact layers of the record's method are plain matrices, which 4h(d + h + 2) counts."""
        record = recorded.record
        if record.kept.hidden is None or record.kept.of_inputs is None:
            return False
        key = (record.method, json.dumps(record.settings, sort_keys=True), record.kept.of_inputs)
        if key not in self.built:
            self.built[key] = _builds_matrices(recorded, self.methods)
        return self.built[key]


def _altered_history(recorded: Recorded) -> list[Difference]:
    """history.csv holds nothing that could be measured again; it is as it was written, or not there."""
    path, written = recorded.folder / HISTORY_NAME, recorded.record.history_digest
    if written is None or not path.is_file():
        return []
    return [] if (digest := sha256_of(path)) == written else [Difference(path.name, written, digest)]


def _unread(error: Exception) -> Difference:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return Difference(MODEL_NAME, "a module that reads the task", reason)


def _builds_matrices(recorded: Recorded, methods: dict[str, MethodFile]) -> bool:
    """Whether the method with these settings ends in layers of plain matrices; False if it cannot be built.

    Kinds of maps hardly ever depend on widths: a narrow build answers in milliseconds, else the real widths do.
    """
    record = recorded.record
    steps, classes = (record.shape.steps if record.shape else 8), max(2, len(record.class_names))
    for width, hidden in ((min(NARROW, record.kept.of_inputs), NARROW), (record.kept.of_inputs, None)):
        settings = record.settings
        if hidden and isinstance(settings.get("hidden"), int):
            settings = settings | {"hidden": min(hidden, settings["hidden"])}
        info = TaskInfo(record.task, "sequence", width, steps, classes, False, 1000)
        try:
            method = load(recorded.method(methods))
            compact = construct(method(settings_of(method, settings, str(recorded.path))), info)
        except Exception:  # the method is gone, has other settings now, or needs other widths or training: no claim
            continue
        if not isinstance(compact, RecurrentClassifier):
            return False
        return all(isinstance(m, DenseMap) for layer in compact.layers for m in (layer.input_map, layer.hidden_map))
    return False


def as_text(outcome: Verification) -> str:
    """One line for each problem, and what was done."""
    lines = [f"{p.run}: {p.field}: recorded {p.recorded}, measured {p.measured}" for p in outcome.problems]
    lines += [f"note: {note}" for note in outcome.notes]
    lines += [f"not measured ({number} runs): {reason}" for reason, number in outcome.not_measured.items()]
    number = len(outcome.problems)
    lines.append(
        f"{outcome.records:,} records checked for consistency, {outcome.measured:,} measured again from their models "
        f"({outcome.scored:,} of these on their data), {outcome.without_model:,} without a model: "
        f"{number or 'no'} problem{'' if number == 1 else 's'}"
    )
    return "\n".join(map(printable, lines))
