"""The dense pretraining: the dense model of a task, cell, width and seed, trained once and shared by every method.

Its length is counted in the budget of each run that uses it. It is a file under `starts/`, named by the digest of
all that decides it; whoever needs it first trains it, the others wait for the lock and read it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import nn

from squeezebench.base.contents import digest_of_content
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import clear_half_written, write_atomically
from squeezebench.base.locks import locked
from squeezebench.base.reading import parse_json
from squeezebench.data.task import Task
from squeezebench.engine import provenance
from squeezebench.engine.measurement.digest import model_digest
from squeezebench.engine.training.checkpoint import NAME as CHECKPOINT
from squeezebench.engine.training.checkpoint import Checkpoints, clear
from squeezebench.engine.training.loop import Trainer
from squeezebench.method.base import Method
from squeezebench.method.dense import dense_classifier
from squeezebench.nn.kernels import native
from squeezebench.nn.weights_file import load_weights
from squeezebench.schema.models import ModelSettings, TaskInfo
from squeezebench.schema.record import Stage
from squeezebench.schema.run import RunSpec
from squeezebench.schema.start import FileStart


@dataclass
class Start:
    """A trained dense classifier and how it came about."""

    model: nn.Module | None  # None once it has been taken
    digest: str
    stage: Stage | None  # None: its weights come from a file
    places: list[dict[str, str]]  # where it was trained, see provenance.place

    def take(self) -> nn.Module:
        """The module, which only the caller refers to afterwards: a wide one needs hundreds of megabytes."""
        model, self.model = self.model, None
        return model


class DenseStart(Method):
    """The method that trains a start."""

    name = "dense-start"

    def build(self, task: TaskInfo) -> nn.Module:
        return dense_classifier(task, self.settings)


def start_digest(spec: RunSpec, settings: ModelSettings, length: int) -> str:
    """Names the start of a run: runs with equal digests share it."""
    return digest_of(
        {
            "task": spec.task_content(),
            "fingerprint": spec.fingerprint,
            "seed": spec.seed,
            "engine": provenance.engine_digest(),
            "native": native.enabled(),
            "training": spec.training.lasting(length).model_dump(mode="json"),
            "model": settings.shared().model_dump(mode="json"),
        }
    )


def dense_start(
    folder: Path,
    spec: RunSpec,
    settings: ModelSettings,
    task: Task,
    info: TaskInfo,
    length: int,
    progress: bool,
    written: Callable[[], None] | None = None,
) -> Start:
    """The start of a run, found in `folder` or trained now; length: its epochs or steps; written: as in Checkpoints."""
    digest = start_digest(spec, settings, length)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{digest[:20]}.safetensors"
    with locked(path.with_suffix(".lock")):
        clear_half_written(folder, f"{path.stem}*")
        parts = _read(path, info, settings)
        if parts is None:
            checkpoints = Checkpoints.wanted(path.with_suffix(f".{CHECKPOINT}"), digest, written)
            parts = _train(path, spec, settings, task, length, progress, checkpoints)
        clear(path.with_suffix(f".{CHECKPOINT}"))
    model, stage, places = parts
    return Start(model, digest, stage.model_copy(update={"shared": True}), places)


def given_start(file: FileStart, settings: ModelSettings, info: TaskInfo) -> Start:
    """The start whose weights somebody else has trained. InputError for a file that does not fit, or has changed."""
    path = Path(file.file).expanduser()
    if not path.is_file() or digest_of_content(path) != file.sha256:
        raise InputError(f"{path}: is not there, or no longer the file that the experiment was planned with")
    model = dense_classifier(info, settings.shared())
    load_weights(model, path, settings.label())
    return Start(model, model_digest(model.state_dict()), None, [])


def _read(path: Path, info: TaskInfo, settings: ModelSettings) -> tuple[nn.Module, Stage, list] | None:
    """The start that is there. None where it is none, is damaged (its tensors have a digest, as their file format has
    no checksum of its own) or is of other sizes: it is trained again then."""
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        stage, state = Stage.model_validate_json(metadata["stage"]), load(content)
        places = parse_json(metadata["places"].encode())
        if metadata.get("digest") != model_digest(state):
            return None
        model = dense_classifier(info, settings.shared())
        model.load_state_dict(state)
    except (SafetensorError, ValueError, RuntimeError, KeyError, TypeError):
        return None
    return model, stage, places


def _train(path, spec, settings, task, length, progress, checkpoints) -> tuple[nn.Module, Stage, list]:
    method = DenseStart(settings.shared())
    trainer = Trainer(method, task, spec.training, spec.seed, progress, checkpoints=checkpoints)
    model = trainer.run(None, length).cpu()
    stage = trainer.stages[0].model_copy(update={"name": "dense pretraining"})
    state = {name: value.detach().contiguous() for name, value in model.state_dict().items()}
    about = {"stage": json.dumps(stage.model_dump()), "places": json.dumps(trainer.places)}
    write_atomically(path, save(state, metadata=about | {"digest": model_digest(state)}))
    return model, stage, trainer.places
