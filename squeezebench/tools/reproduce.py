"""`squeezebench reproduce`: a run made again from its record, and whether the same came out."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file

from squeezebench.base.errors import InputError, printable
from squeezebench.data.task import load_task
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.run import execute
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.pipeline.planner import fingerprint
from squeezebench.schema.differences import Difference
from squeezebench.schema.record import RECORD_NAME, Record
from squeezebench.tools.recorded import Recorded, as_recorded, environment_differences, read_recorded

MODEL, HISTORY, STARTS = "model.safetensors", "history.csv", "starts"
# What a run decides and time does not: parts of a record, dots inside. Latencies and seconds are left out.
RESULTS = (
    "status", "reason", "accuracy.train", "accuracy.validation", "accuracy.test", "accuracy.test_final_epoch",
    "test_size", "class_names", "confusion", "shape", "counts", "kept", "baseline", "ratio", "notes", "cost.bytes",
    "cost.stored_as", "cost.macs", "cost.dense_macs", "cost.peak_activation_bytes",
)  # fmt: skip


@dataclass(frozen=True)
class Reproduction:
    """A run and its repetition."""

    first: Record
    again: Record
    results: list[Difference]
    environment: list[Difference]
    compared: list[str]
    missing: list[str]  # what the record and its folder no longer hold, so that it was not compared

    @property
    def matched(self) -> bool:
        return not self.results


def reproduce(place: Path, out: Path | None = None, plugins: list[str | Path] = (), progress=False) -> Reproduction:
    """Repeat the run at `place` with a dense pretraining of its own, in `out` or in a folder that is removed again.

    Raises InputError: the record is damaged, its method, its settings or its data are no longer there.
    """
    recorded = read_recorded(place, plugins=plugins)
    record, spec, method = recorded.record, recorded.spec(), recorded.method(find_methods(plugins))
    if out is not None and ((out / RECORD_NAME).exists() or (out / STARTS).exists()):
        raise InputError(f"--out {out}: holds a run already; give an empty folder")
    if record.status != "failed":  # a failure may be of the settings or the data: the repetition shows the same
        settings_of(load(method), spec.settings, str(recorded.path))
        load_task(spec.task, spec.seed, plugins=spec.plugins)
    with tempfile.TemporaryDirectory(prefix="squeezebench-") as temporary, as_recorded(record.provenance):
        folder = out or Path(temporary)
        again = execute(spec, method, folder, folder / STARTS, progress)
        results, compared, missing = _results(recorded, again, folder)
    environment = environment_differences(record.provenance, again.provenance)
    if spec.fingerprint != (data := fingerprint(spec.task, spec.plugins)):
        environment.append(Difference("data files", spec.fingerprint, data))
    return Reproduction(record, again, results, environment, compared, missing)


def _results(recorded: Recorded, again: Record, folder: Path) -> tuple[list[Difference], list[str], list[str]]:
    first, compared, missing = recorded.record, [], []
    found = []
    for what in RESULTS:
        was, now = _part(first, what), _part(again, what)
        if was is None and what != "reason":
            continue  # an older record does not hold it, or the run failed before it was known
        compared.append(what)
        if was != now:
            found.append(Difference(what, was, now))
    stages = [[(s.name, s.epochs, s.steps, s.shared) for s in record.stages] for record in (first, again)]
    compared.append("stages")
    if stages[0] != stages[1]:
        found.append(Difference("stages", *stages))
    if first.status != "ok":
        return found, compared, missing
    digest = first.model_digest or _digest(recorded.folder / MODEL)
    if digest is None:
        missing.append("the bits of the compact model")
    else:
        compared.append("model")
        if digest != again.model_digest:
            found.append(Difference("model", digest, again.model_digest))
    if (recorded.folder / HISTORY).is_file():
        compared.append("history")
        found += _histories(recorded.folder / HISTORY, folder / HISTORY)
    else:
        missing.append("the history of its training")
    return found, compared, missing


def _part(record: Record, name: str) -> Any:
    """`accuracy.test` of the record as plain values; None for what it does not hold."""
    value: Any = record
    for step in name.split("."):
        value = getattr(value, step, None)
    if isinstance(value, dict):
        value = {key: one.model_dump() if hasattr(one, "model_dump") else one for key, one in value.items()}
    value = value.model_dump() if hasattr(value, "model_dump") else value
    return None if value in ({}, []) and name != "notes" else value


def _digest(path: Path) -> str | None:
    """Of a saved model; None where there is none that can be read."""
    try:
        return model_digest(load_file(path)) if path.is_file() else None
    except (SafetensorError, OSError, TypeError):  # TypeError: numbers of a type that no run leaves
        return None


def _histories(first: Path, again: Path) -> Iterator[Difference]:
    """Columns of history.csv that differ, with the first epoch where they do."""
    was, now = _read(first), _read(again)
    if len(was) != len(now):
        yield Difference("history: epochs", len(was), len(now))
        return
    for column in dict.fromkeys(key for row in (*was, *now) for key in row):
        pairs = [(a.get(column), b.get(column)) for a, b in zip(was, now, strict=True)]
        differing = [number for number, (a, b) in enumerate(pairs) if a != b]
        if differing:
            a, b = pairs[differing[0]]
            yield Difference(f"history: {column} from epoch {differing[0] + 1} of {len(pairs)}", a, b)


def _read(path: Path) -> list[dict[str, str]]:
    """The rows; none where there is no such file, or it is none that a run left."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (csv.Error, ValueError):
        return []


def as_json(made: Reproduction) -> dict[str, Any]:
    """The outcome for programs."""
    line = lambda one: {"what": one.what, "recorded": one.recorded, "repeated": one.found}
    return {
        "matched": made.matched,
        "task": made.first.task,
        "method": made.first.method,
        "settings": made.first.settings,
        "seed": made.first.seed,
        "threads": made.first.provenance.threads,
        "status": made.again.status,
        "compared": made.compared,
        "not_compared": made.missing,
        "results": [line(one) for one in made.results],
        "environment": [line(one) for one in made.environment],
    }


def as_text(made: Reproduction) -> str:
    """The outcome for people: one line where it matched, a list of what differs where not."""
    first = made.first
    setting_names = "".join(f" {name}={value}" for name, value in first.varied.items())
    threads = f"{first.provenance.threads} thread" + "s" * (first.provenance.threads != 1)
    run = f"{first.task} {first.method}{setting_names} seed {first.seed}, {threads}"
    if made.matched:
        whole = "to the bit" if "model" in made.compared else "in all that was recorded"
        lines = [f"{run}: reproduced {whole}{'' if first.status == 'ok' else f' ({first.status}: {first.reason})'}"]
    else:
        lines = [f"{run}: not reproduced"]
        lines += [f"  {one.what}: {_values(one)}" for one in made.results]
    if made.missing:
        lines.append(f"not compared, because no longer there: {', '.join(made.missing)}")
    if made.environment:
        lines.append("what differs in the environment:")
        lines += [f"  {one.what}: {_short(one.recorded)} -> {_short(one.found)}" for one in made.environment]
    elif not made.matched:
        lines.append("nothing differs in what the record says of its environment")
    return "\n".join(map(printable, lines))


def _values(one: Difference) -> str:
    """Recorded -> repeated, and by how much where that is a number."""
    if one.what == "confusion" and np.shape(one.recorded) == np.shape(one.found):
        moved = int(np.abs(np.array(one.recorded) - np.array(one.found)).sum()) // 2
        return f"{moved} of {int(np.sum(one.recorded))} sequences in another cell"
    if isinstance(one.recorded, dict) and isinstance(one.found, dict):
        keys = [key for key in {**one.recorded, **one.found} if one.recorded.get(key) != one.found.get(key)]
        return "; ".join(f"{key} {_short(one.recorded.get(key))} -> {_short(one.found.get(key))}" for key in keys)
    text = f"{_short(one.recorded)} -> {_short(one.found)}"
    try:
        gap = float(one.found) - float(one.recorded)
    except (TypeError, ValueError):
        return text
    return f"{text} ({gap:+.3g})"


def _short(value: Any) -> str:
    """A digest by its first digits, a long list by its first part."""
    text = str(value)
    if isinstance(value, str) and len(text) == 64:
        return text[:12]
    return text if len(text) <= 100 else f"{text[:100]}…"
