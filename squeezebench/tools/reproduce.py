"""`squeezebench reproduce`: a run made again from its record, and whether the same came out."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from squeezebench.base.errors import InputError, printable
from squeezebench.data.task import load_task
from squeezebench.engine.run import execute
from squeezebench.method.discovery import find_methods, load
from squeezebench.method.settings import settings_of
from squeezebench.schema.differences import Difference
from squeezebench.schema.metrics import METRICS
from squeezebench.schema.record import HISTORY_NAME, RECORD_NAME, Record
from squeezebench.tools.recorded import Recorded, as_recorded, environment_differences, other_data, read_recorded
from squeezebench.tools.verify.comparison import differences, in_words, sequences_moved

STARTS = "starts"


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
    if data := other_data(spec):
        environment.append(Difference("data files", spec.fingerprint, data))
    return Reproduction(record, again, results, environment, compared, missing)


def _results(recorded: Recorded, again: Record, folder: Path) -> tuple[list[Difference], list[str], list[str]]:
    """(what differs, what was compared, what is no longer there to compare)."""
    first, missing = recorded.record, []
    measured = {
        metric.path: metric.value(again)
        for metric in METRICS
        if metric.compared != "ignored"
        and metric.unit != "digest"
        and (metric.path == "reason" or metric.value(first) is not None)
    }
    compared, changed = list(measured), list(differences(first, measured))
    if first.status != "ok":
        return changed, compared, missing
    if first.model_digest is None:
        missing.append("the bits of the compact model")
    else:
        compared.append("model")
        if first.model_digest != again.model_digest:
            changed.append(Difference("model", first.model_digest, again.model_digest))
    if (recorded.folder / HISTORY_NAME).is_file():
        compared.append("history")
        changed += _histories(recorded.folder / HISTORY_NAME, folder / HISTORY_NAME)
    else:
        missing.append("the history of its training")
    return changed, compared, missing


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
    """The rows; none if there is no such file, or it is none that a run left."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (csv.Error, ValueError):
        return []


def as_json(outcome: Reproduction) -> dict[str, Any]:
    """The outcome for programs."""
    first = outcome.first
    return {
        "matched": outcome.matched,
        **{name: getattr(first, name) for name in ("task", "method", "settings", "seed")},
        "threads": first.provenance.threads,
        "status": outcome.again.status,
        "compared": outcome.compared,
        "not_compared": outcome.missing,
        "results": [_line(difference) for difference in outcome.results],
        "environment": [_line(difference) for difference in outcome.environment],
    }


def _line(difference: Difference) -> dict[str, Any]:
    return {"what": difference.what, "recorded": difference.recorded, "repeated": difference.measured}


def as_text(outcome: Reproduction) -> str:
    """The outcome for people: one line if it matched, else a list of what differs."""
    first = outcome.first
    setting_names = "".join(f" {name}={value}" for name, value in first.varied.items())
    threads = f"{first.provenance.threads} thread" + "s" * (first.provenance.threads != 1)
    run = f"{first.task} {first.method}{setting_names} seed {first.seed}, {threads}"
    if outcome.matched:
        whole = "to the bit" if "model" in outcome.compared else "in all that was recorded"
        lines = [f"{run}: reproduced {whole}{'' if first.status == 'ok' else f' ({first.status}: {first.reason})'}"]
    else:
        lines = [f"{run}: not reproduced"]
        lines += [f"  {_change(difference)}{_gap(difference)}" for difference in outcome.results]
    if outcome.missing:
        lines.append(f"not compared, because no longer there: {', '.join(outcome.missing)}")
    if outcome.environment:
        lines.append("what differs in the environment:")
        lines += [f"  {_change(difference)}" for difference in outcome.environment]
    elif not outcome.matched:
        lines.append("nothing differs in what the record says of its environment")
    return "\n".join(map(printable, lines))


def _change(difference: Difference) -> str:
    return f"{difference.what}: {' -> '.join(in_words(difference))}"


def _gap(difference: Difference) -> str:
    """By how much two numbers differ, or two confusion matrices."""
    recorded, repeated = difference.recorded, difference.measured
    if isinstance(recorded, list):
        moved = sequences_moved(recorded, repeated, 0) if difference.what == "confusion" else None
        return "" if moved is None else f" ({moved} of {int(np.sum(recorded))} sequences in another cell)"
    try:
        return f" ({float(repeated) - float(recorded):+.3g})"
    except (TypeError, ValueError):
        return ""
