"""One run: task x method x settings x seed -> a record, whatever happens on the way."""

from __future__ import annotations

import copy
import logging
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import nn

from . import provenance
from .discovery import MethodFile, load
from .errors import InputError
from .measurement import DenseReference, cost, count
from .measurement.digest import model_digest
from .method import Method, TaskInfo, dense_classifier
from .nn import RecurrentClassifier
from .record import (
    RECORD_NAME,
    Accuracy,
    Baseline,
    Kept,
    Ratio,
    Record,
    RecordError,
    Seconds,
    Shape,
    read_record,
    write_record,
)
from .spec import RunSpec
from .start import Start, dense_start
from .task import Task, load_task
from .training import Diverged, Trainer, accuracy, describe, pick_device, predict

UNFINISHED = "unfinished"  # counts the processes that began a run and died without a word (kill -9, out of memory)
MOST_DEATHS = 2

log = logging.getLogger("squeezebench")


def settings_of(method: type[Method], given: dict[str, Any], where: str) -> Any:
    """The method's validated Settings. Raises InputError naming the knob and what is allowed."""
    known = method.Settings.model_fields
    for name in given:
        if name not in known:
            from .discovery import near_matches

            raise InputError(f"{where}: {method.name} has no knob {name!r}; {near_matches(name, known)}")
    try:
        return method.Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        given = f"{name} = {first['input']!r}: " if name else ""  # without: several knobs do not go together
        raise InputError(f"{where}: {method.name}: {given}{message}") from None


def count_deaths(folder: Path) -> int:
    """How many processes have died while making the run of `folder`; notes that one more begins."""
    path = folder / UNFINISHED
    try:
        deaths = int(path.read_text())
    except (OSError, ValueError):
        deaths = 0
    path.write_text(str(deaths + 1))
    return deaths


def kept_record(spec: RunSpec, method: MethodFile, folder: Path) -> Record | None:
    """The valid record that a former call left in `folder` for exactly this run, or None."""
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RecordError as error:
        log.warning("%s; the run is made again", error)
        return None
    return record if record.provenance.inputs_digest == spec.inputs_digest(method) else None


def execute(spec: RunSpec, method: MethodFile, folder: Path, starts: Path, progress: bool = False) -> Record:
    """Make the run and write its record into `folder`; a record that is already valid is kept.

    A method that raises, diverges, exits or runs out of memory becomes a failed record with its reason; the
    traceback is in log.txt. KeyboardInterrupt passes through: nothing half done is left behind.
    """
    if (kept := kept_record(spec, method, folder)) is not None:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    deaths = count_deaths(folder)
    for stale in (RECORD_NAME, "history.csv", "model.safetensors"):
        (folder / stale).unlink(missing_ok=True)
    handler = logging.FileHandler(folder / "log.txt", mode="w")
    log.addHandler(handler)
    started = time.perf_counter()
    common = {
        "experiment": spec.experiment,
        "protocol": spec.protocol,
        "task": spec.task.name,
        "method": spec.method,
        "settings": spec.settings,
        "varied": spec.varied,
        "seed": spec.seed,
        "training": spec.training.model_dump(mode="json"),
        "task_spec": spec.task.model_dump(mode="json"),
        "model": spec.model.model_dump(mode="json"),
        "fingerprint": spec.fingerprint,
    }
    origin = provenance.collect(spec.inputs_digest(method), method.digest, spec.training.device)
    origin = origin.model_copy(update={"tuning_digest": spec.tuning})
    try:
        if deaths >= MOST_DEATHS:
            raise InputError(f"the process was killed {deaths} times while making this run (out of memory?)")
        result = _Run(spec, load(method), folder, starts, progress).result()
    except (Exception, SystemExit) as error:
        handler.stream.write(traceback.format_exc())  # for who looks into the folder; the record has the reason
        result = {"status": "failed", "reason": reason_of(error)}
    finally:
        log.removeHandler(handler)
        handler.close()
        (folder / UNFINISHED).unlink(missing_ok=True)
    elapsed = Seconds(train=result.pop("train_seconds", 0.0), total=round(time.perf_counter() - started, 3))
    origin = origin.model_copy(update=result.pop("origin", {}))
    record = Record(**common, **result, seconds=elapsed, provenance=origin)
    write_record(folder, record)
    return record


def reason_of(error: BaseException) -> str:
    """One line for the record of a failed run."""
    if isinstance(error, SystemExit):
        return f"the method called sys.exit({error.code})"
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return f"out of memory: {text}"
    return text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"


def train(
    method: Method, spec: RunSpec, task: Task, info: TaskInfo, starts: Path, progress: bool = False, per_epoch=None
) -> tuple[nn.Module, Trainer, Start | None]:
    """The trained module (not compacted), from the shared dense start where the method asks for one."""
    start, epochs, share = None, spec.training.epochs, method.start_share()
    if share:
        first = max(1, round(share * epochs))
        start = dense_start(starts, spec, method.settings, task, info, first, progress)
        epochs -= first
    trainer = Trainer(method, task, spec.training, spec.seed, progress, per_epoch=per_epoch)
    return trainer.run(start.model if start else None, epochs), trainer, start


@dataclass
class _Run:
    spec: RunSpec
    method_class: type[Method]
    folder: Path
    starts: Path
    progress: bool

    def result(self) -> dict[str, Any]:
        """The fields of the record that this run decides."""
        spec = self.spec
        settings = settings_of(self.method_class, spec.settings, spec.experiment or "run")
        method = self.method_class(settings)
        about = {"method_title": method.title or spec.method, "control": method.control}
        task = load_task(spec.task, spec.seed)
        info = describe(task)
        if reason := method.skip(info):
            return about | {"status": "skipped", "reason": reason}
        model, trainer, start = self._trained(method, task, info)
        final = None
        if self.best is not None:  # protocol `as_released`: the best test epoch is what is scored, and marked so
            final = accuracy(method.compact(model), task, "test", trainer.device)
            model = method.end_stage(self.best[1], method.stages()[-1])
        compact = method.compact(model).cpu().eval()
        trainer.history.write(self.folder / "history.csv")
        return (
            about
            | self._measured(compact, task, info, final)
            | {
                "status": "ok",
                "stages": ([start.stage] if start else []) + trainer.stages,
                "train_seconds": round(sum(stage.seconds for stage in trainer.stages), 3),
                "notes": list(method.notes),
                "class_names": list(task.classes),
                "origin": {"split_digest": task.split_digest, "start_digest": start and start.digest},
            }
        )

    def _trained(self, method: Method, task: Task, info: TaskInfo):
        self.best = None
        watch = None
        if self.spec.protocol == "as_released":
            watch = lambda model, last: self._watch_test(model, last, task, pick_device(self.spec.training))  # noqa: E731
        return train(method, self.spec, task, info, self.starts, self.progress, watch)

    def _watch_test(self, model, last: bool, task: Task, device) -> dict[str, float]:
        """The released codes' habit, for `as_released` only: keep the epoch that is best on the test part."""
        found = accuracy(model, task, "test", device)
        if last and (self.best is None or found > self.best[0]):
            self.best = found, copy.deepcopy(model)
        return {"test_accuracy": found}

    def _measured(self, compact, task: Task, info: TaskInfo, final: float | None) -> dict[str, Any]:
        spec, device = self.spec, torch.device("cpu")
        base = dense_classifier(info, spec.model)
        counts, dense = count(compact), count(base)
        reference = DenseReference(info.inputs, spec.model.hidden, spec.model.layers, info.classes, spec.model.cell)
        found, labels = predict(compact, task, "test", device), task.labels("test")
        confusion = np.zeros((info.classes, info.classes), dtype=int)
        np.add.at(confusion, (labels, found), 1)
        return {
            "accuracy": Accuracy(
                train=accuracy(compact, task, "train", device),
                validation=accuracy(compact, task, "validation", device),
                test=float((found == labels).mean()),
                test_final_epoch=final,
            ),
            "shape": Shape(inputs=info.inputs, steps=info.steps, classes=info.classes, has_lengths=info.has_lengths),
            "confusion": confusion.tolist(),
            "test_size": len(labels),
            "model_digest": model_digest(compact.state_dict()),
            "counts": counts,
            "kept": _kept(compact, base),
            "baseline": Baseline(name=f"{spec.model.cell} {spec.model.layers} x {spec.model.hidden}", counts=dense),
            "ratio": Ratio(**{k: ratio_of(getattr(dense, k), getattr(counts, k)) for k in Ratio.model_fields}),
            "cost": cost(
                compact,
                base,
                reference,
                self.folder / "model.safetensors",
                info.inputs,
                info.steps,
                score=self._score(task),
                test=float((found == labels).mean()),
            ),
        }

    @staticmethod
    def _score(task: Task):
        """Test accuracy of a module; None where rounding its weights made its outputs overflow."""

        def score(module) -> float | None:
            try:
                return accuracy(module, task, "test", torch.device("cpu"))
            except Diverged:
                return None

        return score


def ratio_of(dense: int, small: int) -> float | None:
    """How many times fewer; None where nothing is left to count."""
    return round(dense / small, 4) if small else None


def _kept(compact, base) -> Kept:
    if not isinstance(compact, RecurrentClassifier):
        return Kept(of_inputs=base.inputs, of_hidden=base.hidden)
    index = compact.input_index
    return Kept(
        inputs=compact.inputs if index is None else index.numel(),
        hidden=compact.hidden,
        of_inputs=base.inputs,
        of_hidden=base.hidden,
    )
