"""Faults done for real: a small experiment, the processes that make it, killing them, and what has to come out.

The trial loop knows nothing of how jobs are made: `start` gives a process that makes the whole experiment.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil
import yaml
from forked import Forked

from squeezebench.schema.record import RECORD_NAME, read_record

Process = subprocess.Popen | Forked
ROOT = Path(__file__).resolve().parents[1]
SNAKEFILE = ROOT / "Snakefile"
PLUGIN = '''"""A dense network, and what its setting says."""

from squeezebench.method import Method, RecurrentSettings, dense_classifier, setting

LINES = {lines!r}


class Plugin(Method):
    """Does what a test wants."""

    title = paper = "synthetic for a test"

    class Settings(RecurrentSettings):
        what: str = setting("nothing", "name of the lines to run first")

    def build(self, task):
        exec(LINES.get(self.settings.what, ""), {{"self": self}})
        model = dense_classifier(task, self.settings)
        if self.settings.what == "not_a_number":
            next(model.parameters()).data.fill_(float("nan"))
        return model
'''
SMALL = {
    "tasks": ["digits"],
    "seeds": [0, 1],
    "runs_per_job": 100,
    "model": {"hidden": 8},
    "training": {"epochs": 4, "batch_size": 128},
    "methods": {"dense": {}},
}


def write(folder: Path, lines: dict[str, str] | None = None, **changed: Any) -> Path:
    """An experiment `tiny.yaml` in `folder`; with `lines`, also a plugin `odd` that has a setting `what` and
    runs what `lines` have under that name before it builds a dense network."""
    folder.mkdir(parents=True, exist_ok=True)
    content = SMALL | changed
    if lines is not None:
        (folder / "mine").mkdir(exist_ok=True)
        (folder / "mine" / "odd.py").write_text(PLUGIN.format(lines=lines))
        content |= {"plugins": ["mine"], "methods": {"dense": {}, "odd": {"what": list(lines)}}} | changed
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


def command(*words: object, cores: int = 2) -> list[str]:
    """What a user types; the same line starts and resumes."""
    given = [sys.executable, "-m", "snakemake", "--cores", cores, "-s", SNAKEFILE, "--configfile", "tiny.yaml", *words]
    return [str(word) for word in given]


def started(folder: Path, words: list[str], **environment: str) -> subprocess.Popen:
    """A process group of its own; what it prints goes to `folder/log`."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            words, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=os.environ | environment
        )


def called(folder: Path, words: list[str], **environment: str) -> subprocess.CompletedProcess:
    """stdout of the result is all that was printed."""
    return subprocess.run(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip


def records(folder: Path) -> dict[str, Path]:
    """`dense/SETTINGS/seed-0` -> its record's file."""
    runs = folder / "results" / "tiny" / "runs" / "digits"
    return {path.parent.relative_to(runs).as_posix(): path for path in sorted(runs.rglob(RECORD_NAME))}


def odd(folder: Path, what: str, seed: int = 0) -> Path:
    """The record's file of the plugin's run."""
    (path,) = [path for name, path in records(folder).items() if f"what-{what}-" in name and f"seed-{seed}" in name]
    return path


def bits(folder: Path) -> dict[str, Any]:
    """What must not depend on anything that happened on the way, for each run."""
    outcome = {}
    for name, path in records(folder).items():
        record, history = read_record(path), path.with_name("history.csv")
        model = path.with_name("model.safetensors")
        outcome[name] = {
            "status": record.status,
            "reason": record.reason,
            "accuracy": record.accuracy.model_dump(),
            "confusion": record.confusion,
            "counts": record.counts and record.counts.model_dump(),
            "model_digest": record.model_digest,
            "start_digest": record.provenance.start_digest,
            "history": history.exists() and sha256(history.read_bytes()).hexdigest(),
            "model": model.exists() and sha256(model.read_bytes()).hexdigest(),
        }
    return outcome


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Where two `bits` differ: `dense/SETTINGS/seed-0: model_digest`."""
    missing = [f"{name}: only in one" for name in one.keys() ^ other.keys()]
    common = sorted(one.keys() & other.keys())
    return missing + [f"{name}: {key}" for name in common for key in one[name] if one[name][key] != other[name][key]]


def left_over(folder: Path) -> list[str]:
    """Half-written files, marks of unfinished runs, and processes that still work in `folder`."""
    names = [path.name for path in (folder / "results").rglob("*") if path.is_file()]
    files = [name for name in names if name.startswith((".", "unfinished", "checkpoint"))]
    return files + [process.name() for process in processes_in(folder)]


def processes_in(folder: Path) -> list[psutil.Process]:
    """Living processes whose working directory is `folder`."""
    inside = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if Path(process.cwd()) == folder.resolve() and process.status() != psutil.STATUS_ZOMBIE:
                inside.append(process)
    return inside


def targets(folder: Path) -> dict[str, psutil.Process]:
    """One process of each kind that works in `folder` now."""
    kinds: dict[str, psutil.Process] = {}
    jobs = {}
    for process in processes_in(folder):
        with suppress(psutil.Error):
            words = process.cmdline()
            if "snakemake" in words[:4]:
                kinds.setdefault("snakemake", process)
            elif process.name() not in ("bash", "sh"):
                jobs[process.pid] = process
    for process in jobs.values():
        with suppress(psutil.Error):
            kinds.setdefault("worker" if process.ppid() in jobs else "supervisor", process)
    return kinds


HANGS = 600.0  # seconds after which something is wrong, however busy the machine


def wait_for(what: Callable[[], Any], seconds: float = HANGS) -> Any:
    """The first true value of `what()`."""
    until = time.monotonic() + seconds
    while not (value := what()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:g} s for nothing")
        time.sleep(0.1)
    return value


@dataclass
class Trials:
    """Kills one process after the other while an experiment is made, again and again, and counts what became of it."""

    reference: dict[str, Any]  # `bits` of an undisturbed call
    chance: random.Random
    killed: Counter = field(default_factory=Counter)
    resumed: int = 0
    equal: int = 0

    def trial(self, folder: Path, start: Callable[[], Process], kind: str, seconds: float, calls: int = 4) -> None:
        """`start()` makes the experiment in `folder`; after at most `seconds`, kill its `kind`, and call it again until
        it ends well. Raises AssertionError where the end is not the undisturbed one."""
        process = start()
        try:
            self._kill(folder, process, kind, self.chance.uniform(0.2, seconds))
            status = process.wait(HANGS) if kind in ("snakemake", "group") or process.poll() is not None else None
            for _ in range(calls):
                status = process.wait(HANGS) if status is None else status
                if status == 0:
                    break
                process, status = start(), None
                self.resumed += 1
            log = (folder / "log").read_text()
            assert status == 0, log
            assert differing(bits(folder), self.reference) == [], log
            wait_for(lambda: not processes_in(folder))
            assert not left_over(folder), log
            self.equal += 1
        finally:
            end(folder)

    def _kill(self, folder: Path, process: Process, kind: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        while process.poll() is None:
            time.sleep(0.01)
            if time.monotonic() < until:
                continue  # a look at all processes takes longer than this wait
            target = targets(folder).get(kind)
            if target or kind == "group":
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    if kind == "group":
                        os.killpg(process.pid, signal.SIGKILL)
                    else:
                        target.kill()
                    self.killed[kind] += 1
                return

    def summary(self) -> str:
        where = ", ".join(f"{number} {kind}" for kind, number in sorted(self.killed.items()))
        return f"{self.killed.total()} kills ({where}), {self.resumed} calls to resume, {self.equal} equal results"


def end(folder: Path) -> None:
    """No process of a failed test stays."""
    for process in processes_in(folder):
        with suppress(psutil.Error):
            process.kill()
