"""Commands of squeezebench in processes that are forked from the test's own, as the runs of a job are.

Such a process differs from a user's in one thing: torch and whatever commands import late have been imported already.
Those imports take more seconds than all that a small command does. The kernel of small layers has been compiled, too.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.context import ForkProcess
from pathlib import Path

import seaborn  # noqa: F401
import sklearn.datasets  # noqa: F401

from squeezebench.cli.main import main
from squeezebench.engine import provenance
from squeezebench.nn.kernels import native

native.prepare()
provenance.engine_digest(), provenance.packages()  # computed once for all processes


def _nothing() -> None:
    """What most commands are prepared with."""


class Forked(ForkProcess):
    """`squeezebench WORDS` in `folder`, the leader of a process group; what it prints is added to `log`.

    prepare: called in the new process before the command. command: called instead of squeezebench's. environment:
    added to that of the test.
    """

    def __init__(
        self, words: list[str], folder: Path, log: Path, prepare: Callable[[], None] = _nothing,
        command: Callable[[list[str]], int | None] = main, **environment: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self._words, self._folder, self._log = words, folder, log
        self._prepare, self._command, self._environment = prepare, command, environment
        gc.freeze()  # the new process neither looks through nor copies what is here already
        self.start()
        gc.unfreeze()

    def run(self) -> None:
        os.setsid()
        os.chdir(self._folder)
        os.environ.update(self._environment)
        with self._log.open("ab") as file:
            os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
        self._prepare()
        sys.exit(self._command(self._words))

    def poll(self) -> int | None:
        """None while it runs, then its status; negative: the signal that ended it."""
        return self.exitcode

    def wait(self, seconds: float | None = None) -> int:
        """Its status. Raises TimeoutError if it still runs after that time."""
        self.join(seconds)
        if self.exitcode is None:
            raise TimeoutError(f"{self._words} still runs after {seconds} s")
        return self.exitcode


def call(words: list[str], folder: Path, log: Path, *more: Callable, **environment: str) -> subprocess.CompletedProcess:
    """The command, ended, with all that it printed."""
    before = log.stat().st_size if log.exists() else 0
    status = Forked(words, folder, log, *more, **environment).wait()
    return subprocess.CompletedProcess(words, status, log.read_bytes()[before:].decode())
