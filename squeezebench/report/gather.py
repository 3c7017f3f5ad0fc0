"""Records of an experiment -> one table of runs, and one of everything that has no result to show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from squeezebench.report.names import read_plan
from squeezebench.report.sizes import sized
from squeezebench.schema.metrics import BATCHES, COLUMNS, ENVIRONMENT
from squeezebench.schema.record import RECORD_NAME, Record, RecordError, read_record

GROUP = ["task", "protocol", "method", "settings"]  # a run group is these, over seeds
PROBLEM_COLUMNS = ["kind", "task", "method", "settings", "seed", "reason", "path", "folder"]


@dataclass(frozen=True)
class Gathered:
    """All that the report knows.

    `runs` has one row for each valid record (see `_row`). `problems` has one row for each run without a
    usable result: kind is failed, skipped, missing (planned, no record), damaged (a record that cannot be
    trusted) or duplicate (the same run found twice; counted once). Failed and skipped runs are in both.
    """

    folder: Path
    runs: pd.DataFrame
    problems: pd.DataFrame
    plan: dict[str, Any] = field(default_factory=dict)

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
        some = self.runs.iloc[ok].groupby(GROUP, sort=False).indices
        return {group: ok[positions] for group, positions in some.items()}

    def runs_of(self, group: Mapping[str, Any]) -> pd.DataFrame:
        """The finished runs of a run group."""
        return self.runs.iloc[self.finished.get(tuple(group[key] for key in GROUP), [])]


def gather(folder: Path, plan: Path | None = None) -> Gathered:
    """Read every record below `folder/runs`; hold it against the plan where there is one."""
    if plan is None and (folder / "plan.json").is_file():
        plan = folder / "plan.json"
    planned = read_plan(plan) if plan else {}
    by_path = {Path(run["path"]).as_posix(): run for run in planned.get("runs", [])}

    rows, problems = [], []
    for path in sorted((folder / "runs").rglob(RECORD_NAME)):
        place = path.parent.relative_to(folder).as_posix()
        promised = by_path.get(place)
        try:
            record = read_record(path)
            _is_the_promised_run(record, promised)
        except RecordError as error:
            reason = str(error).removeprefix(f"{path}: ")
            problems.append(_problem("damaged", promised or _guess(place), reason, place))
        else:
            if by_path and promised is None and record.status != "ok":
                continue  # a failure that the plan no longer asks for, of a method that has been corrected since
            rows.append(_row(record, place, promised is not None, planned))
    present = {row["path"] for row in rows} | {problem["path"] for problem in problems}
    for place, run in by_path.items():
        if place not in present:
            problems.append(_problem("missing", run, "planned, but there is no record: not run yet, or stopped", place))

    # A frame without rows still has its columns, so that nothing downstream asks whether anything ran.
    kinds = {name: type(value) for name, value in _row(_EMPTY, "", False, {}).items()}
    runs = pd.DataFrame(rows, columns=list(kinds))
    runs = runs.astype({name: kind for name, kind in kinds.items() if kind in (float, int, bool)})
    runs, duplicates = _without_duplicates(sized(runs))
    problems += duplicates
    for run in runs[runs["status"] != "ok"].itertuples():
        problems.append(_problem(run.status, run._asdict(), run.reason, run.path))
    return Gathered(folder, runs, pd.DataFrame(problems, columns=PROBLEM_COLUMNS), planned)


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


def _without_duplicates(runs: pd.DataFrame) -> tuple[pd.DataFrame, list[dict]]:
    """The same run twice would count as two seeds: keep the planned one, else the first by path."""
    runs = runs.sort_values(["planned", "path"], ascending=[False, True], kind="stable")
    again = runs.duplicated([*GROUP, "seed"], keep="first")
    extra = [
        _problem("duplicate", run._asdict(), "the same run is recorded in another folder; counted once", run.path)
        for run in runs[again].itertuples()
    ]
    return runs[~again].sort_values("path").reset_index(drop=True), extra


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _row(record: Record, place: str, planned: bool, plan: dict[str, Any]) -> dict[str, Any]:
    """One record as one flat row. Missing numbers stay missing (NaN), they are never 0."""
    origin, baseline = record.provenance, record.baseline
    another_engine = bool(plan.get("engine_digest")) and origin.engine_digest != plan["engine_digest"]
    same_rule = origin.digest_rule == plan.get("digest_rule", 1)
    return {
        "path": place,
        "folder": place.rpartition("/")[0],
        **{key: getattr(record, key) for key in ("status", "reason", "experiment", "protocol", "task", "method")},
        "title": record.method_title or record.method,
        "settings": canonical(record.settings),
        "varied": canonical(record.varied),
        "seed": record.seed,
        "control": record.control,
        "planned": planned,
        "stale": another_engine and same_rule,
        "other_rule": another_engine and not same_rule,
        **{metric.column: metric.cell(record) for metric in COLUMNS},
        "baseline": baseline.name if baseline else "",
        **{f"fastest_dense_runtime_{batch}": _fastest_dense(record, batch) for batch in BATCHES},
        "stages": ", ".join(_stages(record)),
        "test_size": number(record.test_size),
        "confusion": record.confusion,
        "class_names": record.class_names,
        "notes": record.notes,
        "task_spec": record.task_spec or {},
        "model_digest": record.model_digest or "",
        **{key: getattr(origin, key) for key in (*ENVIRONMENT, *_ORIGIN)},
    }


def _fastest_dense(record: Record, batch: str) -> str:
    return record.cost.fastest_dense_runtime.get(batch, "") if record.cost else ""


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
