"""Runs and trials in processes of their own, held to their task's `resources:`, tried again where they were killed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeezebench.base.reading import without_link
from squeezebench.engine.run import fail, kept_record, make
from squeezebench.engine.training.checkpoint import NAME as CHECKPOINT
from squeezebench.engine.training.checkpoint import clear
from squeezebench.engine.unfinished import MOST_DEATHS, Unfinished
from squeezebench.method.base import Method
from squeezebench.method.discovery import MethodFile
from squeezebench.pipeline.isolation.processes import Keepers
from squeezebench.pipeline.isolation.watch import Ending, Limits, Orphaned, ended_by_sigterm, supervised, warm_up
from squeezebench.pipeline.tuning.trial import attempt
from squeezebench.schema.record import RECORD_NAME, Record, RecordError, read_record
from squeezebench.schema.resources import Resources
from squeezebench.schema.run import RunSpec


@dataclass
class Supervisor:
    """Does pieces of work one after the other, as long as somebody waits for them."""

    orphaned: Callable[[], bool]
    _warm: bool = False

    def check(self) -> None:
        """Raises Orphaned where nobody waits any more."""
        if self.orphaned():
            raise Orphaned

    def do(self, work: Callable[[], Any], resources: Resources | None = None, device: str = "cpu") -> Ending:
        """See supervision.supervised. device: where the work computes."""
        if not self._warm:
            warm_up()
            self._warm = True
        limits = Limits()
        if resources:
            limits = Limits(resources.minutes, resources.memory_gb, address_space=device == "cpu")
        return supervised(work, limits, self.orphaned)

    def again(self, work: Callable[[], Any], resources: Resources | None = None, device: str = "cpu") -> Ending:
        """`do`, once more where the worker was killed."""
        for _ in range(MOST_DEATHS):
            ending = self.do(work, resources, device)
            if not ending.killed:
                return ending
        ending.reason = f"the process was killed {MOST_DEATHS} times (out of memory?)"
        return ending

    def run(self, spec: RunSpec, method: MethodFile, folder: Path, starts: Path, resources: Resources) -> Record:
        """`run.execute`, whatever the method does to its process."""
        if (kept := kept_record(spec, method, folder)) is not None:
            clear(folder / CHECKPOINT)
            return kept
        unfinished, finished = Unfinished(folder, self.check), False
        try:
            record = kept_record(spec, method, folder)  # written by the process that held the lock
            record = record or self._attempts(spec, method, folder, starts, resources, unfinished)
            finished = True
        except (KeyboardInterrupt, SystemExit):
            unfinished.interrupted()
            raise
        finally:
            unfinished.close(finished)
        return record

    def _attempts(self, spec, method, folder, starts, resources, unfinished) -> Record:
        started = time.perf_counter()

        def work() -> str:
            return make(spec, method, folder, starts, unfinished).status

        ending = self.do(work, resources, spec.training.device)
        while ending.killed:
            unfinished.died()
            ending = self.do(work, resources, spec.training.device)  # the last one says that it has died too often
        _append(folder / "log.txt", ending)
        reason = ending.reason
        if reason is None:
            try:
                return read_record(folder / RECORD_NAME)
            except RecordError:
                reason = "it left no record that can be read"
        return fail(spec, method, folder, reason, time.perf_counter() - started)

    def trial(
        self, resources: Resources, spec: RunSpec, method: type[Method], drawn: dict[str, Any], starts: Path
    ) -> dict[str, Any]:
        """`tuning.trial.attempt`, whatever the method does to its process."""
        started = time.perf_counter()
        ending = self.again(lambda: attempt(spec, method, drawn, starts), resources, spec.training.device)
        if ending.reason is None:
            return ending.result
        return {"status": "failed", "reason": ending.reason, "seconds": round(time.perf_counter() - started, 3)}


@contextmanager
def supervisor() -> Iterator[Supervisor]:
    """The supervisor of a job. Raises SystemExit, without a word, where Snakemake, which had started it, is gone."""
    with ended_by_sigterm():
        try:
            yield Supervisor(Keepers().gone)
        except Orphaned:
            print("squeezebench: Snakemake is gone; the job ends", file=sys.stderr, flush=True)
            raise SystemExit(os.EX_TEMPFAIL) from None


def _append(path: Path, ending: Ending) -> None:
    """What a run printed, and why it ended, into its log."""
    words = f"\n{ending.reason}\n" if ending.reason else ""
    if ending.printed or words:
        with suppress(OSError), without_link(path).open("ab") as file:
            file.write(ending.printed + words.encode())
