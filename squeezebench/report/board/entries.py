"""Which submissions a board shows: those whose records are their plan's, and whose tasks are those of the board.

The first submission with a task of a name, version and protocol defines it: its data, its split, the dense model and
the training. A later one that differs is left out, with what differs; under another name or version it is a task of its
own. A submission is on the board as a whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.report.gather import gather
from squeezebench.report.inputs import Inputs, differing_inputs, task_inputs
from squeezebench.report.results import Results
from squeezebench.report.verified import read_verification
from squeezebench.schema.submission import PLAN, Opened, Submission
from squeezebench.schema.verification import VERIFICATION

WRONG = ("missing", "damaged", "left out", "duplicate")  # kinds of problems; failed and skipped runs are results
ELSEWHERE = ("training device",)  # inputs that may differ between submissions


def check_results(folder: Path, unfinished: bool = False) -> None:
    """Raises InputError if a record in a folder of results is not that of the planned run, before it is submitted.
    unfinished: records may be missing."""
    if not (folder / PLAN).is_file():
        raise InputError(f"{folder}: has no {PLAN}, which says what was to be run; submit the folder of an experiment")
    table = gather(folder).problems
    wrong = table[table["kind"].isin(WRONG[1:] if unfinished else WRONG)]
    for row in wrong.head(1).itertuples():
        raise InputError(f"{folder / row.path}: {row.kind}: {row.reason} ({len(wrong):,} such runs)")


@dataclass(frozen=True)
class LeftOut:
    name: str
    reason: str
    more: int  # further problems


class Entry:
    """A submission with its results."""

    def __init__(self, opened: Opened, submission: Submission) -> None:
        self.opened, self.submission = opened, submission
        self.results = Results(gather(opened.folder))
        verification = read_verification(opened.folder)
        self.measured = frozenset(verification.scored_runs if verification else ())

    @property
    def id(self) -> str:
        return self.submission.id

    @property
    def plan(self) -> Mapping[str, Any]:
        return self.results.gathered.plan

    @cached_property
    def keys(self) -> dict[str, tuple[str, int, str]]:
        """Each task's name, version and protocol, by its name."""
        return {task: (task, self._version(task), str(self.plan.get("protocol") or "sound"))
                for task in self.results.tasks}  # fmt: skip

    def _version(self, task: str) -> int:
        return int(self.inputs(task).get("task version", 1))

    def inputs(self, task: str) -> Inputs:
        """What decides the results on a task beside the method, and is the same wherever it is computed."""
        fields = task_inputs(self.plan, self.opened.folder, task)
        return Inputs({name: value for name, value in fields.items() if name not in ELSEWHERE})

    def problems(self) -> Iterator[str]:
        """A line for each run that is not the planned one."""
        table = self.results.gathered.problems
        for row in table[table["kind"].isin(WRONG) & ~table["path"].isin(self.submission.missing)].itertuples():
            yield f"{row.path}: {row.kind}: {row.reason}"
        if self.submission.experiment != self.plan.get("experiment"):
            yield f"the plan is of the experiment {self.plan.get('experiment')!r}, not {self.submission.experiment!r}"


@dataclass
class _Task:
    """What the first submission says of a task."""

    by: str
    inputs: Inputs
    splits: dict[int, str] = field(default_factory=dict)  # seed -> digest
    sizes: tuple[int, ...] = ()  # test sequences of each class


@dataclass
class _Tasks:
    known: dict[tuple, _Task] = field(default_factory=dict)

    def problems(self, entry: Entry) -> Iterator[str]:
        """A line for each difference from a task of the board, and from one run of a task to another."""
        for name, key in entry.keys.items():
            inputs = entry.inputs(name)
            task = self.known.setdefault(key, _Task(entry.id, inputs))
            if words := differing_inputs(inputs, task.inputs, f"{task.by}'s"):
                yield f"task {name}, version {key[1]}: {words}; give the task another name or version"
            yield from self._of_runs(entry, name, task)

    def _of_runs(self, entry: Entry, name: str, task: _Task) -> Iterator[str]:
        runs = entry.results.gathered.runs
        for run in runs[(runs["task"] == name) & (runs["status"] == "ok")].itertuples():
            if task.splits.setdefault(run.seed, run.split_digest) != run.split_digest:
                yield f"{run.path}: is of another split than the runs of seed {run.seed} of {task.by}"
            sizes = tuple(sum(row) for row in run.confusion or ())
            task.sizes = task.sizes or sizes
            if sizes != task.sizes:
                yield f"{run.path}: has another test part than the runs of {task.by}"


def admitted(submissions: Iterable[Opened]) -> tuple[list[Entry], list[LeftOut]]:
    """The submissions that are shown, in their order, and those that are left out."""
    entries: list[Entry] = []
    left_out: list[LeftOut] = []
    tasks = _Tasks()
    for opened in submissions:
        entry, problems = _checked(opened, {entry.id for entry in entries}, tasks)
        if entry is not None and not problems:
            entries.append(entry)
        else:
            name = opened.submission.id if opened.submission else opened.where.name
            left_out.append(LeftOut(name, problems[0], len(problems) - 1))
    return entries, left_out


def _checked(opened: Opened, names: set[str], tasks: _Tasks) -> tuple[Entry | None, list[str]]:
    if opened.submission is None or not (opened.folder / VERIFICATION).is_file():  # its files are not those of one
        return None, list(opened.problems)
    if opened.submission.id in names:
        return None, [f"another submission of the name {opened.submission.id} is on the board"]
    try:
        entry = Entry(opened, opened.submission)
    except InputError as error:
        return None, [str(error).replace(f"{opened.folder}/", "")]
    before = deepcopy(tasks.known)
    problems = [*entry.problems(), *opened.problems] or [*tasks.problems(entry)]
    if problems:
        tasks.known = before  # who is left out defines nothing
    return entry, problems
