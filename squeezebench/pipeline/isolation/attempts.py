"""Runs and trials in processes of their own, within the limits of `resources:`; a killed one is tried again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from squeezebench.base.reading import without_link
from squeezebench.engine.measurement.cost import timed_by
from squeezebench.engine.measurement.shape import Timed
from squeezebench.engine.run import fail, made_once, make
from squeezebench.engine.unfinished import MOST_DEATHS
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
    """Does pieces of work one after the other, until the Snakemake that asked for them is gone.

    prepare: called once, before the first work, in this process: imports that all of them need.
    """

    orphaned: Callable[[], bool]
    prepare: Callable[[], None] = lambda: None
    _warm: bool = False
    _timed: dict[str, Timed] = field(default_factory=dict)  # latencies by shape, measured by runs of this job

    def check(self) -> None:
        """Raises Orphaned if the Snakemake that started this job is gone."""
        if self.orphaned():
            raise Orphaned

    def do(self, work: Callable[[], Any], resources: Resources | None = None, device: str = "cpu") -> Ending:
        """Call `watch.supervised` with the limits of `resources`. device: the one on which the work computes."""
        if not self._warm:
            self.prepare()
            warm_up()
            self._warm = True
        limits = Limits()
        if resources:
            limits = Limits(resources.minutes, resources.memory_gb, address_space=device == "cpu")
        return supervised(work, limits, self.orphaned)

    def again(self, work: Callable[[], Any], resources: Resources | None = None, device: str = "cpu") -> Ending:
        """Call `do`, and call it again if the worker was killed."""
        for _ in range(MOST_DEATHS):
            ending = self.do(work, resources, device)
            if not ending.killed:
                return ending
        ending.reason = f"the process was killed {MOST_DEATHS} times (out of memory?)"
        return ending

    def run(self, spec: RunSpec, method: MethodFile, folder: Path, starts: Path, resources: Resources) -> Record:
        """Make a run as `run.execute` does, but in processes of its own, which the method may crash, fill or hang."""
        return made_once(
            spec, method, folder, partial(self._attempts, spec, method, folder, starts, resources), self.check
        )

    def _attempts(self, spec, method, folder, starts, resources, unfinished) -> Record:
        started = time.perf_counter()

        def work() -> str:
            return make(spec, method, folder, starts, unfinished, timed=self._timed).status

        ending = self.do(work, resources, spec.training.device)
        while ending.killed:
            unfinished.died()
            ending = self.do(work, resources, spec.training.device)  # after too many deaths it fails with that reason
        _append(folder / "log.txt", ending)
        reason = ending.reason
        if reason is None:
            try:
                return self._noted(read_record(folder / RECORD_NAME), folder)
            except RecordError:
                reason = "it left no record that can be read"
        return fail(spec, method, folder, reason, time.perf_counter() - started)

    def _noted(self, record: Record, folder: Path) -> Record:
        """The record; if the run has measured latencies, they are kept for later runs of the same shape."""
        if record.cost and record.cost.latency_shape and not record.cost.latency_from:
            self._timed[record.cost.latency_shape] = timed_by(record.cost, "/".join(folder.parts[-4:]))
        return record

    def trial(
        self, resources: Resources, spec: RunSpec, method: type[Method], drawn: dict[str, Any], starts: Path
    ) -> dict[str, Any]:
        """Make a trial as `tuning.trial.attempt` does, but in a process of its own."""
        started = time.perf_counter()
        ending = self.again(lambda: attempt(spec, method, drawn, starts), resources, spec.training.device)
        if ending.reason is None:
            return ending.result
        return {"status": "failed", "reason": ending.reason, "seconds": round(time.perf_counter() - started, 3)}


@contextmanager
def supervisor(prepare: Callable[[], None] = lambda: None) -> Iterator[Supervisor]:
    """The supervisor of a job. If the Snakemake that started the job is gone, one line says so and the job ends."""
    with ended_by_sigterm():
        try:
            yield Supervisor(Keepers().gone, prepare)
        except Orphaned:
            print("squeezebench: Snakemake is gone; the job ends", file=sys.stderr, flush=True)
            raise SystemExit(os.EX_TEMPFAIL) from None


def _append(path: Path, ending: Ending) -> None:
    """Add what a run printed, and the reason for its end, to its log."""
    words = f"\n{ending.reason}\n" if ending.reason else ""
    if ending.printed or words:
        with suppress(OSError), without_link(path).open("ab") as file:
            file.write(ending.printed + words.encode())
