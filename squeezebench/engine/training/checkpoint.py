"""Checkpoints of training: one file beside what a run leaves, written now and then and on SIGTERM, removed at its end.

The file is a SHA-256 digest and what `torch.save` writes. The digest tells a damaged file, an identity the file of
another run, engine, library or thread count; neither is used. `torch.load(weights_only=True)` reads it, so that reading
runs no code. The machine plays no part: going on elsewhere is better than beginning again, and the record names all
machines.
"""

from __future__ import annotations

import io
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import clear_half_written, write_atomically
from squeezebench.base.reading import regular
from squeezebench.engine import provenance
from squeezebench.engine.training.state import Part
from squeezebench.nn.kernels import native

NAME = "checkpoint.pt"
SECONDS = "SQUEEZEBENCH_CHECKPOINT_SECONDS"  # the environment variable
DEFAULT_SECONDS = 300.0
MOST_COST = 0.05  # of the time of training: where writing takes long, it is done less often
IMPATIENT = 10.0  # seconds after which a signal that comes again is obeyed at once
SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger("squeezebench")


def interval() -> float:
    """Seconds of training between checkpoints; 0: none are written. Raises InputError where it is set to no number."""
    text = os.environ.get(SECONDS, "").strip()
    try:
        seconds = float(text or DEFAULT_SECONDS)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise InputError(f"{SECONDS}={text}: give seconds between checkpoints of training, or 0 for none")
    return seconds


def identity(what: str) -> str:
    """Names a training: `what` (a digest of what is trained) on this engine, its libraries and thread count."""
    kernel = native.enabled()
    engine = [provenance.engine_digest(), provenance.packages(kernel), torch.get_num_threads(), kernel]
    return digest_of([what, *engine])


class Checkpoints:
    """The checkpoint of one training at `path`: when one is due, how it is written and read.

    what: a digest of what is trained. written: called after each one that reached the disk.
    """

    def __init__(
        self, path: Path, what: str, seconds: float | None = None, written: Callable[[], None] | None = None
    ) -> None:
        self.path, self.identity = path, identity(what)
        self.seconds = interval() if seconds is None else seconds
        self.asked: int | None = None  # the signal that wants the process to end
        self._asked_at = 0.0
        self._written = written or (lambda: None)
        self._complained = False
        self._before: dict[int, Any] = {}
        self._next = time.monotonic() + (self.seconds or math.inf)

    @classmethod
    def wanted(cls, path: Path, what: str, written: Callable[[], None] | None = None) -> Checkpoints | None:
        """None where the environment says that none are written."""
        return cls(path, what, written=written) if interval() else None

    # --- when
    def due(self) -> bool:
        """Whether one has to be written now; asked between gradient steps."""
        return self.asked is not None or time.monotonic() >= self._next

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """While training runs, SIGTERM and Ctrl-C wait for the end of the gradient step and a checkpoint."""
        if threading.current_thread() is threading.main_thread():  # signals are the main thread's
            self._heed()
        try:
            yield
        finally:
            self._leave()
            if self.asked is not None:
                self._obey()

    def _heed(self) -> None:
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}

    def _leave(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked is None:
            self.asked, self._asked_at = number, time.monotonic()
        elif number == signal.SIGINT or time.monotonic() - self._asked_at > IMPATIENT:
            self.asked = number  # a step that hangs must not keep the process alive
            self._obey()

    def _obey(self) -> None:
        """End as the signal would have ended the process (which, where it is ignored, is not at all)."""
        number, self.asked = self.asked, None
        heeded = bool(self._before)
        self._leave()
        signal.raise_signal(number)
        if heeded:
            self._heed()

    # --- write
    def write(self, content: dict[str, Any]) -> None:
        """Replace the checkpoint, whole or not at all; then end the process if a signal asked for that.

        One that cannot be written (a full disk) is logged, once, and training goes on.
        """
        started = time.monotonic()
        try:
            save(self.path, {"identity": self.identity} | content)
            self._written()
        except OSError as error:
            self._complain(f"{self.path}: cannot be written ({error}); training goes on without")
        now = time.monotonic()
        self._next = now + max(self.seconds, (now - started) / MOST_COST)
        if self.asked is not None:
            self._obey()

    def give_up(self, reason: str) -> None:
        """No checkpoint of this training can be written; a signal is obeyed all the same."""
        self._complain(f"{self.path}: no checkpoint is written: {reason}")
        self._next = math.inf
        if self.asked is not None:
            self._obey()

    def _complain(self, line: str) -> None:
        if not self._complained:
            log.warning(line)
        self._complained = True

    # --- read
    def read(self) -> dict[str, Any] | None:
        """Return the content of the checkpoint that a former process left of this very training, or None."""
        if not self.path.exists():
            return None
        try:
            content = load(self.path)
        except (OSError, ValueError) as error:
            log.warning(f"{self.path}: not a whole checkpoint ({error}); training starts again")
            return None
        if content.pop("identity", None) != self.identity:
            log.warning(f"{self.path}: of another run, engine or thread count; training starts again")
            return None
        return content


def clear(path: Path) -> None:
    """Remove the checkpoint at `path` and what writers that were killed left of others."""
    path.unlink(missing_ok=True)
    clear_half_written(path.parent, path.name)


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content`, encoded as in state.py, to `path`. Raises OSError."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, sha256(buffer.getbuffer()).digest() + buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Return the content of `path`. Raises OSError, or ValueError if it is not what `save` wrote."""
    data = regular(path).read_bytes()
    if sha256(memoryview(data)[32:]).digest() != data[:32]:
        raise ValueError("its content does not match its digest")
    try:
        with torch.serialization.safe_globals([Part]):
            content = torch.load(io.BytesIO(data[32:]), weights_only=True)
    except Exception as error:  # whoever writes a file can write a digest, and no list of errors of a pickle is whole
        raise ValueError(" ".join(str(error).split())[:300]) from None
    if not isinstance(content, dict):
        raise ValueError("its content is no dictionary")
    return content
