"""Records of an experiment -> one table of runs, and one of everything that has no result to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.base.collector import without_collector
from squeezebench.base.folds import task_of_fold
from squeezebench.report.answers import Answers, groups_of, same_test_part
from squeezebench.report.inputs import Inputs, inputs_of, reasons
from squeezebench.report.names import read_plan
from squeezebench.report.sizes import sized
from squeezebench.schema.experiment import compared_at
from squeezebench.schema.inference import Inference, read_inference
from squeezebench.schema.metrics import BATCHES, COLUMNS, ENVIRONMENT
from squeezebench.schema.record import Record, RecordError, known_words, read_record, record_files
from squeezebench.schema.start import without_place

GROUP = ["task", "protocol", "method", "settings"]  # a run group is these, over seeds
PROBLEM_COLUMNS = ["kind", "task", "method", "settings", "seed", "reason", "path", "folder"]


@dataclass(frozen=True)
class Gathered:
    """All that the report knows.

    `runs` has one row for each valid record that counts (see `_row`), `left_out` one for each that does not, with the
    reason in a column of that name (see inputs.py): it is listed, and decides nothing. `problems` has one row for each
    run without a usable result: kind is failed, skipped, missing (planned, no record), damaged (a record that cannot
    be trusted), left out or duplicate (the same run found twice; counted once). Failed and skipped runs are in both.
    """

    folder: Path
    runs: pd.DataFrame
    problems: pd.DataFrame
    plan: dict[str, Any] = field(default_factory=dict)
    left_out: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def tasks(self) -> list[str]:
        """Every task that was planned or ran."""
        planned = {run["task"] for run in self.plan.get("runs", [])}
        return sorted(planned | set(self.runs["task"]))

    @cached_property
    def finished(self) -> dict[tuple[str, ...], np.ndarray]:
        """Run group (its values of GROUP) -> where in `runs` its finished ones are. To look each group up among all
        runs would make a report's time grow with their square."""
        ok = np.flatnonzero(self.runs["status"] == "ok")
        indices = self.runs.iloc[ok].groupby(GROUP, sort=False).indices
        return {group: ok[positions] for group, positions in indices.items()}

    def runs_of(self, group: Mapping[str, Any]) -> pd.DataFrame:
        """The finished runs of a run group."""
        return self.runs.iloc[self.places_of(group)]

    def places_of(self, group: Mapping[str, Any]) -> np.ndarray:
        """Where in `runs` the finished runs of a run group are."""
        return self.finished.get(tuple(group[key] for key in GROUP), np.empty(0, int))

    @cached_property
    def _correct(self) -> dict[str, Answers]:
        """Path of each run whose record holds its predictions -> which test sequences are classified correctly."""
        every = zip(*(self.runs[name] for name in ("path", "predictions", "confusion", "group_codes")), strict=True)
        answers = {}
        for path, text, confusion, codes in every:
            with suppress(ValueError):  # damaged: `report --verify` says so
                if text:
                    answers[path] = Answers.of(text, confusion or [], codes)
        return answers

    def correct(self, paths: Sequence[str]) -> Answers | None:
        """Which test sequences each run classifies correctly; None if one of the records does not hold its predictions,
        or they are not of one test part."""
        several = [self._correct.get(path) for path in paths]
        if not several or not same_test_part(several):
            return None
        return Answers(several[0].labels, np.concatenate([run.right for run in several]), groups_of(several))

    @cached_property
    def data_of(self) -> dict[str, str]:
        """Task -> the tasks of its set of data, as one name. Other splits, folds, features or steps of the same files
        are no other data."""
        read = self.runs.drop_duplicates("task").set_index("task")["shared_inputs"]
        keys, names = {}, {}
        for task in self.tasks:
            inputs = read.get(task, {})
            source, files = inputs.get("task source"), inputs.get("task fingerprint") or inputs.get("task options")
            keys[task] = canonical([source, files] if source else task_of_fold(task) or task)
            names.setdefault(keys[task], {})[task_of_fold(task) or task] = None
        return {task: ", ".join(names[key]) for task, key in keys.items()}

    def parts(self, task: str) -> list[str]:
        """The tasks of the runs of `task`: its folds, or itself."""
        return [name for name in self.tasks if task in (name, task_of_fold(name))]

    def compare_at(self, task: str) -> float:
        """The ratio at which the methods are compared on a task, fixed before anything ran: `compare_at` of the
        experiment."""
        return compared_at((self.plan.get("config") or {}).get("compare_at"), task)


@without_collector()  # nothing that is read goes again, and the collector would look through all of it again and again
def gather(folder: Path) -> Gathered:
    """Read every record of `folder`; hold it against `folder/plan.json` if there is one."""
    planned = read_plan(folder / "plan.json") if (folder / "plan.json").is_file() else {}
    by_path = {Path(run["path"]).as_posix(): run for run in planned.get("runs", [])}
    records, problems = _read(folder, by_path)
    inputs = {place: inputs_of(record) for place, record in records.items()}
    why = reasons(records, inputs, planned, folder)
    # A frame without rows still has its columns, so that nothing downstream asks whether anything ran.
    kinds = {name: type(value) for name, value in _row(_EMPTY, "", "", Inputs(), {}).items()}
    cells = [_row(record, place, why[place], inputs[place], planned) for place, record in records.items()]
    rows = pd.DataFrame(cells, columns=list(kinds))
    rows = rows.astype({name: kind for name, kind in kinds.items() if kind in (float, int, bool)})
    rows, duplicates = _without_duplicates(rows)
    counts = rows["left_out"] == ""
    runs, left_out = sized(rows[counts].reset_index(drop=True)), rows[~counts].reset_index(drop=True)
    present = {*runs["path"], *(problem["path"] for problem in problems)}
    for place, run in by_path.items():
        if place not in present:
            problems.append(_problem("missing", run, _missing(why.get(place, "")), place))
    problems += duplicates
    for run in runs[runs["status"] != "ok"].itertuples():
        problems.append(_problem(run.status, run._asdict(), run.reason, run.path))
    for run in left_out.itertuples():
        problems.append(_problem("left out", run._asdict(), run.left_out, run.path))
    return Gathered(folder, runs, pd.DataFrame(problems, columns=PROBLEM_COLUMNS), planned, left_out)


def _read(folder: Path, promised: dict[str, dict]) -> tuple[dict[str, Record], list[dict]]:
    """Every valid record by its place, and a problem for each that cannot be trusted."""
    records, problems = {}, []
    for path in record_files(folder):
        place = path.parent.relative_to(folder).as_posix()
        try:
            record = read_record(path)
            _is_the_promised_run(record, promised.get(place))
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            problems.append(_problem("damaged", promised.get(place) or _guess(place), reason, place))
        else:
            records[place] = record
    return records, problems


def _missing(other: str) -> str:
    if other:
        return f"planned; the record in its place is of other inputs: {other}"
    return "planned, but there is no record: not run yet, or stopped"


def measured_inference(gathered: Gathered) -> Inference | None:
    """What `squeezebench inference` measured of runs that count, and of sizes that are no run's; None if nothing.

    Raises InputError for a file that cannot be trusted.
    """
    measured = read_inference(gathered.folder)
    if measured is None:
        return None
    counting = dict(zip(gathered.runs["path"], gathered.runs["inputs_digest"], strict=True))
    models = [m for m in measured.models if m.seed is None or counting.get(m.source) == m.inputs_digest]
    return measured.model_copy(update={"models": models})


def _is_the_promised_run(record: Record, promised: dict | None) -> None:
    """A record in a planned place must be of the planned run, else the plan's run has no result."""
    for key in ("task", "method", "seed") if promised else ():
        if getattr(record, key) != promised[key]:
            raise RecordError(f"the record in this place is of another run ({key} {getattr(record, key)!r})")


def _guess(place: str) -> dict[str, Any]:
    """What a damaged, unplanned record was of, as far as its folder's name (runs/task/method/...) tells."""
    parts = [*place.split("/")[1:], "?", "?"]
    return {"task": parts[0], "method": parts[1]}


def _problem(kind: str, run: dict, reason: str | None, place: str) -> dict[str, Any]:
    settings = run.get("varied", run.get("settings", {}))
    return {
        "kind": kind,
        "task": run.get("task", "?"),
        "method": run.get("method", "?"),
        "settings": settings if isinstance(settings, str) else canonical(settings),
        "seed": run.get("seed"),
        "reason": reason or "no reason recorded",
        "path": place,
        "folder": place.rpartition("/")[0],
    }


def _without_duplicates(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[dict]]:
    """The same run twice would count as two seeds: keep the one that counts, else the first by path."""
    rows = rows.sort_values("path", kind="stable").sort_values("left_out", key=lambda why: why != "", kind="stable")
    again = rows.duplicated([*GROUP, "seed", "inputs"], keep="first")
    extra = [
        _problem("duplicate", run._asdict(), "the same run is recorded in another folder; counted once", run.path)
        for run in rows[again].itertuples()
    ]
    return rows[~again].sort_values("path").reset_index(drop=True), extra


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def differing(several: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings in which run groups differ, by name."""
    names = sorted(set().union(*several))
    return [name for name in names if len({canonical(settings.get(name)) for settings in several}) > 1]


def _row(record: Record, place: str, left_out: str, inputs: Inputs, plan: dict[str, Any]) -> dict[str, Any]:
    """One record as one flat row. Missing numbers stay missing (NaN), they are never 0."""
    origin, baseline = record.provenance, record.baseline
    runtimes = record.cost.fastest_dense_runtime if record.cost else {}
    return {
        "path": place,
        "folder": place.rpartition("/")[0],
        **{key: getattr(record, key) for key in ("status", "reason", "experiment", "protocol", "task", "method")},
        "title": record.method_title or record.method,
        "settings": canonical(without_place(record.settings)),
        "varied": canonical(record.varied),
        "seed": record.seed,
        "control": record.control,
        "left_out": left_out,
        "inputs": inputs.digest,
        "shared_inputs": inputs.shared,
        "stale": bool(plan.get("engine_digest")) and origin.engine_digest != plan["engine_digest"],
        **{metric.column: metric.cell(record) for metric in COLUMNS},
        "baseline": baseline.name if baseline else "",
        **{f"fastest_dense_runtime_{batch}": runtimes.get(batch, "") for batch in BATCHES},
        "latency_from": record.cost.latency_from if record.cost else "",
        "stages": ", ".join(_stages(record)),
        "test_size": number(record.test_size),
        "confusion": record.confusion,
        "predictions": record.predictions or "",
        "group_codes": record.group_codes or "",
        "class_names": record.class_names,
        "notes": record.notes,
        "contract": "; ".join(record.contract),
        "groups_across": record.groups_across.words if record.groups_across else "",
        "known_sequences": known_words(record.known_sequences, record.test_size or 0),
        "part_of": record.part_of,
        "task_spec": record.task_spec or {},
        "model_digest": record.model_digest or "",
        **{key: getattr(origin, key) for key in (*ENVIRONMENT, *_ORIGIN)},
    }


# Of the provenance, beside what can explain other bits.
_ORIGIN = ("inputs_digest", "method_digest", "split_digest", "start_digest", "packages", "finished")
_EMPTY = Record(status="skipped", task="", method="", settings={}, seed=0)


def number(value: float | None) -> float:
    """A float for pandas; None becomes NaN, 0 stays 0."""
    return float("nan") if value is None else float(value)


def _stages(record: Record) -> Iterator[str]:
    in_steps = "steps" in record.training
    for stage in record.stages:
        length = f"{stage.steps} steps" if in_steps else str(stage.epochs)
        yield f"{stage.name} {length}" + (" (shared)" if stage.shared else "")
