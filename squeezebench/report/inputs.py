"""Which records count: those whose inputs are the plan's; without a plan, those whose inputs most runs share.

A run group is a mean over seeds, so that its runs may differ in the seed alone. What decides a run's result besides the
seed is its inputs: the protocol, the training, the data and how they are read, the dense model, the method's file and
its settings. `squeezebench job` makes a run again if its inputs are no longer the plan's; until then the report lists
the old record and reads nothing from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from squeezebench.base.digests import digest_of
from squeezebench.schema.models import AnyModel
from squeezebench.schema.record import Record
from squeezebench.schema.start import without_place
from squeezebench.schema.task import TaskSpec, without_places
from squeezebench.schema.training import TrainingSettings
from squeezebench.schema.tuning_result import TuningError, read_result


class Inputs(dict[str, Any]):
    """Name -> value: `training epochs` -> 40. Runs that differ in their seed alone share one: it is never changed."""

    @cached_property
    def digest(self) -> str:
        return digest_of(self)

    @cached_property
    def shared(self) -> Inputs:
        """What all runs of a task share: everything but the method and its settings."""
        of_method = ("method file", "digest rule")
        return Inputs({k: v for k, v in self.items() if k not in of_method and not k.startswith("setting ")})


MOST_NAMED = 3  # differences that a reason names
_KINDS = {"training": TypeAdapter(TrainingSettings), "task": TypeAdapter(TaskSpec), "model": TypeAdapter(AnyModel)}
# Digests say nothing to a reader.
_WORDS = {"method file": "another version of the method's file", "task fingerprint": "other data files",
          "digest rule": "digests by another rule, which cannot be compared"}  # fmt: skip


def inputs_of(record: Record) -> Inputs:
    """What decides the result of a run, besides its seed. Older records hold less."""
    origin = record.provenance
    values = {"protocol": record.protocol, "method file": origin.method_digest, "digest rule": origin.digest_rule}
    parts = {"training": record.training or None, "model": record.model, "task": record.task_spec}
    texts = tuple((part, json.dumps(content)) for part, content in parts.items() if content is not None)
    return _inputs(tuple(values.items()), texts, record.fingerprint, json.dumps(record.settings))


@lru_cache(maxsize=1024)
def _inputs(
    values: tuple[tuple[str, Any], ...], parts: tuple[tuple[str, str], ...], fingerprint: str | None, settings: str
) -> Inputs:
    inputs = Inputs(values)
    for part, text in parts:
        inputs |= _named(part, text, fingerprint) | ({"task fingerprint": fingerprint} if part == "task" else {})
    return Inputs(inputs | _settings(json.loads(settings)))


def _settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {f"setting {name}": value for name, value in without_place(settings).items()}


@lru_cache(maxsize=1024)  # thousands of runs share them
def _named(part: str, text: str, fingerprint: str | None) -> dict[str, Any]:
    """The fields of a part with the defaults of those that its version did not have, each under a name of its own."""
    content = json.loads(text)
    with suppress(ValidationError):  # of another version: it is compared as it stands
        content = _KINDS[part].dump_python(_KINDS[part].validate_python(content), mode="json")
    if part == "task":  # the first version is left out where it is written; where the data lie plays no part
        content = {"version": 1} | without_places(content, fingerprint)
    return {f"{part} {name}": value for name, value in content.items()}


def task_inputs(plan: Mapping[str, Any], folder: Path, task: str) -> dict[str, Any]:
    """What a plan says of one task: its data, the training and the dense model."""
    return _Planned(plan, folder).of_task(task)


class _Planned:
    """The inputs of a plan's runs, as far as the plan holds them; the report asks for little more than places."""

    def __init__(self, plan: Mapping[str, Any], folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.of_task = cache(self._of_task)
        self.tuned = cache(self._tuned)

    def inputs(self, run: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the result of a planned run, besides its seed."""
        values = {
            "protocol": self.plan.get("protocol"),
            "digest rule": self.plan.get("digest_rule", 1) if self.plan.get("engine_digest") else None,
            "method file": _entry(self.plan, "methods", run["method"]).get("digest"),
        }
        planned = self.of_task(run["task"]) | {name: value for name, value in values.items() if value is not None}
        settings = self.tuned(str(run["tuned"])) if run.get("tuned") else run.get("settings")
        if self.of_task(run["task"]) and isinstance(settings, Mapping):  # resolved, as in the record
            planned |= _settings(settings)
        return planned

    def _of_task(self, name: str) -> dict[str, Any]:
        entry = _entry(self.plan, "tasks", name)
        known: dict[str, Any] = {}
        for part, key in (("task", "spec"), ("training", "training"), ("model", "model")):
            if isinstance(entry.get(key), Mapping):
                known |= _named(part, json.dumps(entry[key]), entry.get("fingerprint"))
        return known | ({"task fingerprint": entry["fingerprint"]} if "fingerprint" in entry else {})

    def _tuned(self, job: str) -> Any:
        """The settings that a tuning picked; None if there is no result to rely on."""
        for tuning in self.plan.get("tunings") or []:
            if tuning.get("job") == job and (path := self.folder / tuning["path"]).is_file():
                try:
                    return read_result(path).settings
                except TuningError:
                    return None
        return None


def reasons(
    records: Mapping[str, Record], inputs: Mapping[str, Inputs], plan: Mapping[str, Any], folder: Path
) -> dict[str, str]:
    """Place of each record -> why it does not count; an empty text if it counts. inputs: by place, as `inputs_of`."""
    if plan.get("runs"):
        planned = _Planned(plan, folder)
        runs = {Path(run["path"]).as_posix(): run for run in plan.get("runs", [])}
        return {
            place: differing_inputs(inputs[place], planned.inputs(runs[place]), "plan")
            if place in runs
            else _unplanned(record.task, inputs[place], planned)
            for place, record in records.items()
        }
    return _unlike_most(records, inputs)


def _unplanned(task: str, inputs: Inputs, planned: _Planned) -> str:
    """Why a record in a place that the plan does not have is left out, with what is not that of the plan's task."""
    others = differing_inputs(inputs.shared, planned.of_task(task), "plan")
    return "no run of the plan" + (f", and {others}" if others else "")


def _unlike_most(records: Mapping[str, Record], inputs: Mapping[str, Inputs]) -> dict[str, str]:
    """Without a plan: on each task and protocol the runs that share the inputs of most runs count; among them, the runs
    of each method whose file is that of most. Of equally many, the runs that finished last."""
    outcome = dict.fromkeys(records, "")
    for whole in (False, True):
        alike: dict[tuple, dict[Any, list[str]]] = {}
        for place, record in records.items():
            if not outcome[place]:
                given, where = inputs[place], (record.task, record.protocol, *([record.method] if whole else []))
                kind = (given["method file"], given["digest rule"]) if whole else given.shared.digest
                alike.setdefault(where, {}).setdefault(kind, []).append(place)
        for variants in alike.values():
            leading = max(variants.values(), key=lambda places: _weight(places, records))
            for places in variants.values():
                for place in places if places is not leading else ():
                    outcome[place] = differing_inputs(inputs[place], inputs[leading[0]], "most runs", settings=False)
    return outcome


def _weight(places: Sequence[str], records: Mapping[str, Record]) -> tuple[int, str, str]:
    done = [place for place in places if records[place].status == "ok"]
    return len(done), max((records[place].provenance.finished for place in done), default=""), min(places)


def differing_inputs(inputs: Mapping[str, Any], others: Mapping[str, Any], whose: str, settings: bool = True) -> str:
    """`training epochs 1 (plan: 12)`: the inputs that are not those of the others, as far as both are known."""
    names = inputs.keys() & others.keys()
    if settings and any(name.startswith("setting ") for name in others):
        names |= {name for name in inputs.keys() ^ others.keys() if name.startswith("setting ")}
    if not settings:
        names = {name for name in names if not name.startswith("setting ")}
    differing = sorted(name for name in names if inputs.get(name) != others.get(name))
    if "digest rule" in differing:
        differing = [name for name in differing if name != "method file"]
    words = [_WORDS.get(name) or f"{name} {input_text(inputs.get(name))} ({whose}: {input_text(others.get(name))})"
             for name in differing]  # fmt: skip
    more = len(words) - MOST_NAMED
    return ", ".join(words[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def input_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _entry(plan: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    """One entry of a mapping of the plan; empty if the plan has none."""
    entries = plan.get(key)
    entry = entries.get(name) if isinstance(entries, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}
