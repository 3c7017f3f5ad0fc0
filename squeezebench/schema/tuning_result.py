"""What tuning one method on one task leaves behind: every trial, the winner, and where they come from.

`results/NAME/tuning/TASK/METHOD.json`, written whole or not at all, with a digest over its content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from squeezebench.base.digests import digest_of
from squeezebench.schema.record import Provenance
from squeezebench.schema.stored import SCHEMA_VERSION, Part, SchemaVersion, StoredError, read_sealed, write_sealed
from squeezebench.schema.tuning import Tuning


class Axis(Part):
    """What may be drawn for one setting: a range, sampled evenly or on a log axis, or a list of choices."""

    kind: Literal["log", "linear", "choice"]
    low: float | None = None
    high: float | None = None
    integer: bool = False
    choices: list[Any] | None = None

    @model_validator(mode="after")
    def _has_its_ends(self) -> Axis:
        given = self.choices is not None if self.kind == "choice" else None not in (self.low, self.high)
        if not given:
            raise ValueError(f"a {self.kind} axis without what is drawn from")
        return self

    def points(self) -> list[Any] | None:
        """Every value, where there are finitely many."""
        if self.kind == "choice":
            return list(self.choices)
        return list(range(int(self.low), int(self.high) + 1)) if self.integer else None

    def holds(self, value: Any) -> bool:
        """Whether `value` could be drawn."""
        if self.kind == "choice":
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


class Trial(Part):
    """One point of the space, trained like a run and scored on validation. Accuracy is a fraction."""

    number: int
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None  # in words, when not ok
    drawn: dict[str, Any]  # setting -> value; the others are as in TuningResult.fixed
    validation: float | None = None
    lstm_total: int | None = None  # of the compact module: LSTM parameters, 4h(d+h+2), or weights
    ratio: float | None = None  # that of the dense model over it; None: nothing left to count, or not ok
    value: float | None = None  # of the objective
    seconds: float = 0.0  # training (without a shared dense pretraining) and scoring
    engine: str = ""  # digest of the engine that made it: trials go on where others were made, and the report says so
    repeats: int | None = None  # the trial that drew the same before: its result was taken over, nothing was trained


class TuningResult(Part):
    """The trials of one method on one task."""

    schema_version: SchemaVersion = SCHEMA_VERSION
    experiment: str
    protocol: str
    task: str
    method: str
    method_title: str
    control: bool
    tuning: Tuning
    epochs: int | None = None  # of each trial, dense pretraining included
    steps: int | None = None  # the same, if the length is given in steps
    space: dict[str, Axis]
    enumerated: bool  # the space has no more points than trials: each was tried once
    fixed: dict[str, Any]  # resolved: every setting, before anything is drawn
    trials: list[Trial]
    winner: int | None  # number of the best trial; None: no trial finished
    settings: dict[str, Any]  # resolved: what the tuned runs take; `fixed` where there is no winner
    study: str  # digest of all that decides the trials
    provenance: Provenance

    @model_validator(mode="after")
    def _winner_is_a_trial(self) -> TuningResult:
        if self.winner is not None and not (0 <= self.winner < len(self.trials)):
            raise ValueError(f"the winner is trial {self.winner} of {len(self.trials)}")
        return self

    @property
    def best(self) -> Trial | None:
        return None if self.winner is None else self.trials[self.winner]

    @property
    def met(self) -> bool:
        """Whether the winner is as small as the objective asks."""
        return self.best is not None and self.tuning.objective.met(self.best.ratio)


class TuningError(StoredError):
    """A tuning file that cannot be trusted; the message says why in one line."""


def study_digest(inputs_digest: str, space: dict[str, Axis], tuning: Tuning, enumerated: bool) -> str:
    """Names a study. The number of trials plays no part: a longer budget goes on from the trials that are there."""
    asked = tuning.model_dump(mode="json", exclude={"trials", "methods"})
    axes = {name: axis.model_dump(mode="json") for name, axis in space.items()}
    return digest_of([inputs_digest, axes, asked, enumerated])


def winner(trials: list[Trial]) -> int | None:
    """The best value; of equal ones the smaller network, then the earlier trial (small validation parts have ties)."""
    done = [trial for trial in trials if trial.value is not None]
    if not done:
        return None
    return min(done, key=lambda trial: (-trial.value, trial.lstm_total, trial.number)).number


def best_so_far(result: TuningResult) -> list[Trial | None]:
    """After each trial, the best until then; None as long as none has finished."""
    numbers = [winner(result.trials[: count + 1]) for count in range(len(result.trials))]
    return [None if number is None else result.trials[number] for number in numbers]


def write_result(path: Path, result: TuningResult) -> None:
    """Write the file, whole or not at all."""
    write_sealed(path, result)


def read_result(path: Path) -> TuningResult:
    """Read and check one file. Raises TuningError: unreadable, truncated, altered, or not of this schema.
    Raises NewerError: of a newer schema."""
    return read_sealed(path, TuningResult, "tuning result", TuningError)
