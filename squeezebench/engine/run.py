"""One run: task x method x settings x seed -> a record, whatever happens on the way."""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from squeezebench.base.errors import InputError, of_machine, reason_of
from squeezebench.base.reading import without_link
from squeezebench.data.task import Task, load_task
from squeezebench.engine import provenance, summary
from squeezebench.engine.hooks import Hooks
from squeezebench.engine.measurement.cost import cost, store
from squeezebench.engine.measurement.counts import count, kept_of, uncounted
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.measurement.latency import DenseReference
from squeezebench.engine.measurement.normalisation import write_normalisation
from squeezebench.engine.measurement.shape import Timed
from squeezebench.engine.start import Start, dense_start, given_start
from squeezebench.engine.training.as_released import BestOnTest
from squeezebench.engine.training.checkpoint import NAME as CHECKPOINT
from squeezebench.engine.training.checkpoint import Checkpoints, clear, interval
from squeezebench.engine.training.evaluation import accuracy, predict, score_of
from squeezebench.engine.training.loop import Trainer, describe, pick_device
from squeezebench.engine.training.stages import Watch
from squeezebench.engine.unfinished import NAME as MARK
from squeezebench.engine.unfinished import Unfinished
from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier
from squeezebench.method.discovery import MethodFile, load
from squeezebench.method.settings import settings_of
from squeezebench.nn.cnn.layout import arrange
from squeezebench.nn.kernels import native
from squeezebench.nn.kernels.gemm import drop_gradients
from squeezebench.schema.models import NetworkSettings, TaskInfo, kind_of_model
from squeezebench.schema.predictions import confusion_of, packed, packed_groups
from squeezebench.schema.record import (
    HISTORY_NAME,
    MODEL_NAME,
    RECORD_NAME,
    Accuracy,
    Baseline,
    Provenance,
    Ratio,
    Record,
    RecordError,
    Seconds,
    Shape,
    clear_run,
    known_words,
    ratio_of,
    read_record,
    write_record,
)
from squeezebench.schema.run import RunSpec

log = logging.getLogger("squeezebench")


def kept_record(spec: RunSpec, method: MethodFile, folder: Path) -> Record | None:
    """The valid record that a former call left in `folder` for exactly this run, or None.

    A run that failed or was skipped under other code is not done: the code may have been repaired.
    Raises InputError if another version of squeezebench wrote the record in a schema that this one does not know.
    """
    path = folder / RECORD_NAME
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RecordError as error:
        if error.intact:
            raise
        log.warning("%s; the run is made again", error)
        return None
    undone = record.status != "ok" and record.provenance.engine_digest != provenance.engine_digest()
    return record if spec.made(record.provenance.inputs_digest, method.digest) and not undone else None


def execute(spec: RunSpec, method: MethodFile, folder: Path, starts: Path, progress: bool = False) -> Record:
    """Make the run and write its record into `folder`; a record that is already valid is kept.

    A method that raises, diverges, exits or runs out of memory becomes a failed record with its reason; the
    traceback is in log.txt. KeyboardInterrupt passes through: nothing half done is left behind.
    """
    interval()  # where it is set wrongly, that is no failure of this run
    return made_once(spec, method, folder, lambda mark: make(spec, method, folder, starts, mark, progress))


def made_once(
    spec: RunSpec, method: MethodFile, folder: Path, work: Callable[[Unfinished], Record],
    waiting: Callable[[], None] = lambda: None,
) -> Record:  # fmt: skip
    """The valid record of this run in `folder`, else what `work` writes there, which one process at a time may do.

    waiting: as in Unfinished.
    """
    if (kept := kept_record(spec, method, folder)) is not None:
        clear(folder / CHECKPOINT)
        if not (folder / MARK).exists():  # of a process that was killed just after the record was written
            return kept
    unfinished, finished = Unfinished(folder, waiting), False
    try:
        record = kept_record(spec, method, folder)  # written by the process that held the lock
        record = record or work(unfinished)
        finished = True
    except (KeyboardInterrupt, SystemExit):
        unfinished.interrupted()
        raise
    finally:
        unfinished.close(finished)
    return record


def make(
    spec: RunSpec, method: MethodFile, folder: Path, starts: Path, unfinished: Unfinished, progress: bool = False,
    timed: Mapping[str, Timed] | None = None,
) -> Record:  # fmt: skip
    """Make the run, which `unfinished` keeps others from, as `execute` does. Raises the OSError of a full disk.
    timed: as in measurement/cost.py."""
    folder, starts = folder.absolute(), starts.absolute()  # a method may change the working directory
    clear_run(folder)  # what other runs left in the folder and in this process is not this one's
    native.forget()
    handler = logging.FileHandler(without_link(folder / "log.txt"), mode="w")
    log.addHandler(handler)
    started, process, origin, hooks = time.perf_counter(), os.getpid(), _origin(spec, method), Hooks()
    try:
        unfinished.begin()
        with hooks.watching("importing its file"):
            method_class = load(method)
        run = _Run(spec, hooks.guarded(method_class), folder, starts, progress, unfinished, origin.inputs_digest, timed)
        result = run.result()
    except (Exception, SystemExit) as error:
        if of_machine(error):
            raise
        handler.stream.write(traceback.format_exc())  # for who looks into the folder; the record has the reason
        result = {"status": "failed", "reason": reason_of(error, "log.txt")}
    finally:
        _end_copy(process)
        for sentence in hooks.changed:
            log.warning("%s: %s, and the engine puts it back", spec.method, sentence)
        log.removeHandler(handler)
        handler.close()
    result["contract"] = [*hooks.changed, *result.get("contract", [])]
    record = _write(spec, folder, result, time.perf_counter() - started, origin)
    with suppress(OSError), without_link(folder / "log.txt").open("a") as file:
        file.writelines(f"{line}\n" for line in summary.lines(record))
    return record


def fail(spec: RunSpec, method: MethodFile, folder: Path, reason: str, seconds: float) -> Record:
    """Write the record of a run whose process could not do it."""
    return _write(spec, folder, {"status": "failed", "reason": reason}, seconds, _origin(spec, method))


def _origin(spec: RunSpec, method: MethodFile) -> Provenance:
    origin = provenance.collect(spec.inputs_digest(method), method.digest, spec.training.device)
    return origin.model_copy(update={"tuning_digest": spec.tuning})


def _write(spec: RunSpec, folder: Path, result: dict[str, Any], seconds: float, origin: Provenance) -> Record:
    kernel = native.ran()
    traced = {"native": kernel, "packages": provenance.packages(kernel)}
    origin = origin.model_copy(update=result.pop("origin", {}) | traced)
    total = seconds + result.pop("earlier_seconds", 0.0)
    record = Record(
        experiment=spec.experiment,
        protocol=spec.protocol,
        task=spec.task.name,
        method=spec.method,
        settings=spec.settings,
        varied=spec.varied,
        seed=spec.seed,
        training=spec.training.model_dump(mode="json"),
        task_spec=spec.task.model_dump(mode="json"),
        model=spec.model.model_dump(mode="json"),
        fingerprint=spec.fingerprint,
        seconds=Seconds(train=result.pop("train_seconds", 0.0), total=round(total, 3)),
        provenance=origin,
        **result,
    )
    write_record(folder, record)
    clear(folder / CHECKPOINT)
    return record


def _end_copy(process: int) -> None:
    """A method that forks may come back from its code twice: only the process that began the run goes on with it."""
    if os.getpid() != process:
        os._exit(1)


def train(
    method: Method,
    spec: RunSpec,
    task: Task,
    info: TaskInfo,
    starts: Path,
    progress: bool = False,
    per_epoch: Watch | None = None,
    checkpoint: tuple[Path, str] | None = None,
    written: Callable[[], None] | None = None,
) -> tuple[nn.Module, Trainer, Start | None]:
    """The trained module (not compacted), from the shared dense pretraining or a file where the method asks for it.

    checkpoint: the file of the training's own checkpoints, and the digest of what is trained. written: called after
    each checkpoint, those of the start included.
    """
    start, length = None, spec.training.length
    if file := method.start_file():
        start = given_start(file, method.settings, info)
    elif first := spec.training.pretraining(method.start_share()):
        start = dense_start(starts, spec, method.settings, task, info, first, progress, written)
        length -= first
    checkpoints = Checkpoints.wanted(*checkpoint, written) if checkpoint else None
    trainer = Trainer(method, task, spec.training, spec.seed, progress, per_epoch=per_epoch, checkpoints=checkpoints)
    return trainer.run(start.take() if start else None, length), trainer, start


@dataclass
class _Run:
    spec: RunSpec
    method_class: type[Method]
    folder: Path
    starts: Path
    progress: bool
    unfinished: Unfinished
    digest: str  # of its inputs
    timed: Mapping[str, Timed] | None
    process: int = field(default_factory=os.getpid)

    def result(self) -> dict[str, Any]:
        """The fields of the record that this run decides."""
        spec = self.spec
        settings = settings_of(self.method_class, spec.settings, spec.experiment or "run")
        method = self.method_class(settings)
        about = {"method_title": method.title or spec.method, "control": method.control}
        task = load_task(spec.task, spec.seed, plugins=spec.plugins)
        info = describe(task)
        if reason := method.skip(info):
            return about | {"status": "skipped", "reason": reason}
        across = task.groups_across.words if task.groups_across else ""
        for words in (across, known_words(task.known_sequences, task.size("test")), task.untested):
            if words:
                log.warning("%s: %s", task.name, words)
        check_model(spec, info, method)
        model, trainer, start = self._trained(method, task, info)
        final = None
        if self.watch and self.watch.best:  # `as_released`: the best test epoch is what is scored, and marked so
            final = accuracy(method.compact(model), task, "test", trainer.device)
            model = method.end_stage(self.watch.best[1], method.stages()[-1])
        compact = arrange(method.compact(model), torch.contiguous_format).cpu().eval()
        drop_gradients(compact.parameters())
        del model  # a wide one needs gigabytes, and so do the networks that are made for the measurements
        _end_copy(self.process)
        trainer.history.write(self.folder / HISTORY_NAME)
        about |= self._measured(compact, task, info, final) | self._about_training(task, trainer, start)
        return about | {"status": "ok", "notes": list(method.notes)}

    def _about_training(self, task: Task, trainer: Trainer, start: Start | None) -> dict[str, Any]:
        """What the record says of the data and the training."""
        history = self.folder / HISTORY_NAME
        return {
            "before_fine_tuning": self._before_fine_tuning(trainer.before_fine_tuning, task),
            "stages": ([start.stage] if start and start.stage else []) + trainer.stages,
            "train_seconds": round(sum(stage.seconds for stage in trainer.stages), 3),
            "earlier_seconds": trainer.earlier,
            "class_names": list(task.classes),
            "groups_across": task.groups_across,
            "known_sequences": task.known_sequences,
            "part_of": task.part_of,
            "normalisation": write_normalisation(self.folder, self.spec.task.normalise, task.affine),
            "history_digest": sha256(history.read_bytes()).hexdigest() if history.exists() else None,
            "origin": {  # what the provenance says of this run's data and training
                "split_digest": task.split_digest,
                "start_digest": start and start.digest,
                "resumed": trainer.resumed,
                "device": trainer.device.type,
                **provenance.joined([*(start.places if start else []), *trainer.places]),
            },
        }

    def _trained(self, method: Method, task: Task, info: TaskInfo):
        released = self.spec.protocol == "as_released"
        self.watch = BestOnTest(task, pick_device(self.spec.training)) if released else None
        checkpoint = self.folder / CHECKPOINT, self.digest
        written = self.unfinished.got_on
        return train(method, self.spec, task, info, self.starts, self.progress, self.watch, checkpoint, written)

    def _measured(self, compact, task: Task, info: TaskInfo, final: float | None) -> dict[str, Any]:
        spec, device = self.spec, torch.device("cpu")
        predicted, labels = predict(compact, task, "test", device), task.labels("test")
        scores = Accuracy(
            train=accuracy(compact, task, "train", device),
            validation=accuracy(compact, task, "validation", device),
            test=float((predicted == labels).mean()),
            test_final_epoch=final,
        )
        file = self.folder / MODEL_NAME
        stored = store(compact, file, score_of(task), scores.test)  # before the dense networks take their memory
        base = dense_classifier(info, spec.model)
        counts, dense = count(compact), count(base)
        reference = DenseReference.of(info, spec.model)
        return {
            "accuracy": scores,
            "shape": Shape(inputs=info.inputs, steps=info.steps, classes=info.classes, has_lengths=info.has_lengths),
            "confusion": confusion_of(labels, predicted, info.classes).tolist(),
            "predictions": packed(labels, predicted),
            "group_codes": packed_groups(labels, task.groups("test")),
            "test_size": len(labels),
            "model_digest": model_digest(compact.state_dict()),
            "counts": counts,
            "contract": uncounted(compact),
            "kept": kept_of(compact, base),
            "baseline": Baseline(name=spec.model.label(), counts=dense),
            "ratio": Ratio(**{k: ratio_of(getattr(dense, k), getattr(counts, k)) for k in Ratio.model_fields}),
            "cost": cost(compact, base, reference, file, info.inputs, info.steps, stored, self.timed),
        }

    def _before_fine_tuning(self, module: nn.Module | None, task: Task) -> Accuracy | None:
        """What the last removal cost before fine-tuning repaired it; None if no stage but the last removed anything."""
        if module is None:
            return None
        parts = ("validation", "test")
        return Accuracy(**{part: score_of(task, part)(module.cpu()) for part in parts})


def check_model(spec: RunSpec, info: TaskInfo, method: Method) -> None:
    """Raises InputError where ratios would be taken against a dense model of another kind than the method's."""
    if info.kind == "image" and not isinstance(spec.model, NetworkSettings):
        raise InputError(f"task {info.name} has images: its `model:` must name a network, as {{network: lenet_5}}")
    if info.kind == "sequence" and isinstance(spec.model, NetworkSettings):
        raise InputError(f"task {info.name} has no images: its `model:` names the network {spec.model.label()}")
    if info.kind == "video" and (kind := kind_of_model(method.settings)) != kind_of_model(spec.model):
        words = {"network": "networks", "units": "per-frame networks"}.get(kind, "recurrent classifiers")
        raise InputError(f"{method.name} is for {words}; the `model:` of task {info.name} is {spec.model.label()}")
