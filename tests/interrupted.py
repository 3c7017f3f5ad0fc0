"""Real runs that are killed and called again until they are done, and what must be the same as in a whole one."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import numpy as np
from csv_files import read_csv
from forked import Forked

from squeezebench.engine.training.checkpoint import SECONDS
from squeezebench.schema.record import RECORD_NAME, Record, read_record

LIMIT = 600.0  # seconds for one process


def noisy(path: Path) -> Path:
    """70 sequences of two classes, with lengths, as a file of features."""
    rng = np.random.default_rng(0)
    y = np.arange(70) % 2
    x = rng.normal(size=(70, 9, 4)) + 0.7 * y[:, None, None] * np.linspace(-1, 1, 4)
    np.savez(path, x=x.astype("f4"), y=y, length=rng.integers(4, 10, 70))
    return path


def command(folder: Path, task: str, method: str, *more: str) -> list[str]:
    """The words after `squeezebench` of a run into `folder`; more: further options, as `--set hidden=4`."""
    return ["run", "--task", task, "--method", method, "--out", str(folder), *more]


def start(words: list[str], folder: Path, seconds: float) -> Forked:
    """A process that runs the command and writes a checkpoint each `seconds` of training."""
    return Forked(words, folder.parent, folder.parent / "log", **{SECONDS: str(seconds)})


def checkpoints(folder: Path) -> dict[Path, int]:
    """When each checkpoint of a run and of its dense pretraining was written."""
    found = {}
    for path in folder.rglob("*checkpoint.pt"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # it was removed meanwhile: its training is over
            continue
    return found


def wait_for_checkpoint(process: Forked, folder: Path) -> bool:
    """Until `process` has written a checkpoint; False where it ended first."""
    before, end = checkpoints(folder), time.monotonic() + LIMIT
    while process.poll() is None:
        now = checkpoints(folder)
        if any(before.get(path) != when for path, when in now.items()):
            return True
        assert time.monotonic() < end, "no checkpoint was written"
        time.sleep(0.01)
    return False


def kill_until_done(words: list[str], folder: Path, kills: int, seed: int, seconds: float = 0.1) -> tuple[Record, int]:
    """Call it again and again, killing it at a random moment up to 0.2 seconds after a checkpoint, `kills` times at
    most; then let it end. The record, and how many kills there were."""
    rng, done = random.Random(seed), 0
    while True:
        process = start(words, folder, seconds)
        if done < kills and wait_for_checkpoint(process, folder):
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
        if (status := process.wait(LIMIT)) == 0:
            return read_record(folder / RECORD_NAME), done
        assert status == -signal.SIGKILL, (folder.parent / "log").read_text()
        done += 1


def history(folder: Path) -> list[dict[str, str]]:
    """Rows of history.csv."""
    return read_csv(folder / "history.csv")


def results(folder: Path) -> dict:
    """What an interruption must not change: everything but times and how often it happened."""
    record = read_record(folder / RECORD_NAME)
    return {
        "status": record.status,
        "accuracy": record.accuracy,
        "before fine-tuning": record.before_fine_tuning,
        "confusion": record.confusion,
        "counts": record.counts,
        "kept": record.kept,
        "model": record.model_digest,
        "bytes": record.cost and record.cost.bytes,
        "stored as": record.cost and record.cost.stored_as,
        "notes": record.notes,
        "stages": [(stage.name, stage.epochs, stage.steps) for stage in record.stages],
        "history": history(folder),
    }
