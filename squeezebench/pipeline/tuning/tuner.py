"""The trials of one method on one task: drawn by Optuna, kept in a journal, summed up in one file.

Every draw depends on the seed, on the trial's number and on the trials before it, and on nothing else: a tuner that
was killed goes on as if it had not been, and a longer budget begins with the trials of the shorter one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.locks import locked
from squeezebench.engine import provenance
from squeezebench.engine.unfinished import MOST_LOST
from squeezebench.method.base import Method
from squeezebench.method.discovery import MethodFile, load
from squeezebench.method.settings import settings_of
from squeezebench.pipeline.tuning.space import all_points, own_point
from squeezebench.pipeline.tuning.trial import attempt
from squeezebench.schema.run import RunSpec
from squeezebench.schema.tuning import Tuning
from squeezebench.schema.tuning_result import (
    Axis,
    Trial,
    TuningError,
    TuningResult,
    read_result,
    study_digest,
    winner,
    write_result,
)

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # PRUNED: failed or skipped, which the sampler takes for the worst

Attempt = Callable[[RunSpec, type[Method], dict[str, Any], Path], dict[str, Any]]

log = logging.getLogger("squeezebench")


@dataclass(frozen=True)
class Study:
    """One method on one task. `spec` is its run with the settings that are there before anything is drawn; its seed
    and its length are those of the trials."""

    spec: RunSpec
    method: MethodFile
    space: dict[str, Axis]
    tuning: Tuning

    @property
    def first(self) -> dict[str, Any] | None:
        """The first point: the settings of the method itself, at the wanted ratio if it has a setting for that."""
        aimed = load(self.method).initial_trial(self.tuning.objective.ratio)
        settings = self.spec.settings
        return own_point(self.space, settings | aimed) or own_point(self.space, settings)

    @property
    def points(self) -> list[dict[str, Any]] | None:
        """All points of the space, the one to begin with first, where there are no more than trials."""
        points = all_points(self.space, self.tuning.trials)
        return points and sorted(points, key=lambda point: point != self.first)

    @property
    def budget(self) -> int:
        """Trials to make."""
        return self.tuning.trials if self.points is None else len(self.points)

    @property
    def digest(self) -> str:
        return study_digest(self.spec.inputs_digest(self.method), self.space, self.tuning, self.points is not None)


def tune(
    study: Study, path: Path, starts: Path, say: Callable[[str], None] = lambda line: None, trial: Attempt = attempt
) -> TuningResult:
    """The result in `path`, made now unless it is there already. One process at a time: others wait and read it.

    trial: makes one trial, as trial.attempt does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        if (kept := kept_result(study, path)) is not None:
            return kept
        trials = _trials(study, path.with_suffix(".journal"), starts, say, trial)
        result = _result(study, trials)
        write_result(path, result)
    return result


def kept_result(study: Study, path: Path) -> TuningResult | None:
    """The finished result that a former call left in `path` for exactly this study, or None.

    Raises InputError if another version of squeezebench wrote the result in a schema that this one does not know.
    """
    if not path.exists():
        return None
    try:
        result = read_result(path)
    except TuningError as error:
        if error.intact:
            raise
        log.warning("%s; the method is tuned again from its journal", error)
        return None
    return result if result.study == study.digest and len(result.trials) == study.budget else None


def _trials(study: Study, journal: Path, starts: Path, say: Callable[[str], None], make: Attempt) -> list[Trial]:
    """Go on from the finished trials of the journal until the budget is spent."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        _cut_half_line(journal)
        # the lock on the journal is the one that `tune` holds: Optuna's own would outlive a process that dies
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=RLock()))
        optimisation = optuna.create_study(
            storage=storage, study_name=study.digest, direction="maximize", load_if_exists=True
        )
        for dead in optimisation.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            optimisation.tell(dead.number, state=TrialState.FAIL)  # whose process died: it is made again
        done = _finished(optimisation)[: study.budget]
    except OSError:
        raise
    except Exception as error:  # lines of JSON that Optuna replays as they are: a damaged one fails anywhere in it
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{journal}: damaged, or of another version of squeezebench ({reason}); move it away, and its trials are "
            "made again"
        ) from None
    for number in range(len(done), study.budget):
        trial = _next(study, optimisation, done, starts, make)
        done.append(trial)
        say(f"[{number + 1}/{study.budget}] {_line(study, trial)}")
    return done


def _next(study: Study, optimisation: optuna.Study, done: list[Trial], starts: Path, make: Attempt) -> Trial:
    number = len(done)
    optimisation.sampler = _sampler(study, number)
    asked = optimisation.ask({name: distribution(axis) for name, axis in study.space.items()})
    drawn = asked.params
    before = [trial for trial in done if trial.drawn == drawn and trial.repeats is None]
    if before:  # the same settings and seed give the same bits
        fields = before[0].model_dump(exclude={"number"}) | {"repeats": before[0].number, "seconds": 0.0}
    elif _deaths(optimisation) >= MOST_LOST:
        reason = f"the process was killed {_deaths(optimisation)} times in this trial (out of memory?)"
        fields = {"status": "failed", "reason": reason}
    else:
        try:
            fields = make(study.spec, load(study.method), drawn, starts)
            fields["engine"] = provenance.engine_digest()
        except (KeyboardInterrupt, SystemExit):
            asked.set_user_attr("interrupted", True)  # no death: it is made again as often as it takes
            raise
    value = study.tuning.objective.value(fields["validation"], fields["ratio"]) if fields["status"] == "ok" else None
    trial = Trial(**(fields | {"number": number, "drawn": drawn, "value": value}))
    asked.set_user_attr("trial", trial.model_dump(mode="json"))
    optimisation.tell(asked, value, None if value is not None else TrialState.PRUNED)
    return trial


def _finished(optimisation: optuna.Study) -> list[Trial]:
    finished = sorted(optimisation.get_trials(deepcopy=False, states=FINISHED), key=lambda trial: trial.number)
    return [Trial.model_validate(trial.user_attrs["trial"]) for trial in finished]


def _deaths(optimisation: optuna.Study) -> int:
    """Processes that died in the trial at hand: those since the last one that was finished."""
    died = 0
    for trial in optimisation.get_trials(deepcopy=False):
        if trial.state in FINISHED:
            died = 0
        elif trial.state == TrialState.FAIL and not trial.user_attrs.get("interrupted"):
            died += 1
    return died


def _sampler(study: Study, number: int) -> optuna.samplers.BaseSampler:
    """Each point of a small space once; else the method's own settings first (no method is tuned for the worse),
    then TPE (Bergstra et al., Algorithms for hyper-parameter optimization, 2011), seeded anew for each trial."""
    if study.points is not None:
        return _Given(study.points[number])
    if number == 0 and study.first is not None:
        return _Given(study.first)
    return optuna.samplers.TPESampler(seed=int(digest_of([study.tuning.seed, number])[:8], 16))


def distribution(axis: Axis) -> BaseDistribution:
    """An axis in Optuna's words."""
    if axis.kind == "choice":
        return CategoricalDistribution(axis.choices)
    if axis.integer:
        return IntDistribution(int(axis.low), int(axis.high), log=axis.kind == "log")
    return FloatDistribution(axis.low, axis.high, log=axis.kind == "log")


class _Given(optuna.samplers.BaseSampler):
    """Draws the point it was made with."""

    def __init__(self, point: dict[str, Any]) -> None:
        self._point = point

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict) -> dict[str, Any]:
        return {}

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution) -> Any:
        return self._point[param_name]


def _cut_half_line(journal: Path) -> None:
    """A machine that stopped in the middle of a write leaves half a line, which Optuna refuses to read past."""
    if journal.exists() and not (content := journal.read_bytes()).endswith(b"\n"):
        with journal.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _result(study: Study, trials: list[Trial]) -> TuningResult:
    spec, method = study.spec, load(study.method)
    best = winner(trials)
    settings = spec.settings | (trials[best].drawn if best is not None else {})
    origin = provenance.collect(spec.inputs_digest(study.method), study.method.digest, spec.training.device)
    return TuningResult(
        experiment=spec.experiment,
        protocol=spec.protocol,
        task=spec.task.name,
        method=spec.method,
        method_title=method.title or spec.method,
        control=method.control,
        tuning=study.tuning,
        epochs=spec.training.epochs,
        steps=spec.training.steps,
        space=study.space,
        enumerated=study.points is not None,
        fixed=spec.settings,
        trials=trials,
        winner=best,
        settings=settings_of(method, settings, "tuning").model_dump(mode="json"),
        study=study.digest,
        provenance=origin.model_copy(update={"packages": origin.packages | {"optuna": optuna.__version__}}),
    )


def _line(study: Study, trial: Trial) -> str:
    words = " ".join(f"{name}={value}" for name, value in trial.drawn.items())
    name = f"{study.spec.task.name} {study.spec.method} {words}".strip()
    if trial.status != "ok":
        return f"{name}: {trial.status}: {trial.reason}"
    ratio = "no LSTM" if trial.ratio is None else f"{trial.ratio:g}x"
    return f"{name}: validation {trial.validation:.1%}, {ratio}, {trial.seconds:.1f} s"
