"""Work in a watched process of its own. It may hang, take all memory, die or print megabytes without harm to the rest.

The worker is forked from a process that has imported everything and computed nothing. A fork takes about 0.1 s, and
each piece of work begins in the same fresh state: nothing that a method changed (folder, environment, threads, seeds,
modules) reaches the next one. Processes that the work leaves running are killed.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import resource
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from squeezebench.base.errors import InputError, of_machine, reason_of
from squeezebench.base.places import METHODS, SOURCES
from squeezebench.engine import provenance
from squeezebench.method.discovery import MethodFile
from squeezebench.nn.kernels import native
from squeezebench.pipeline.isolation.processes import (
    adopt_orphans,
    bind_children,
    children,
    end_with,
    kill_family,
    memory,
    resident,
)

POLL = 0.5  # seconds between two looks at memory, clock and keepers
EVERY = 4  # looks between two at the memory of all processes of a worker
GRACE = 20.0  # seconds for a checkpoint, when the whole job is told to end
KEPT = 512 << 10  # bytes of what is printed, of its beginning and of its end each
SLACK = 1 << 30  # bytes of address space above the memory limit: stacks and arenas that are never filled
OUTSIDE = {signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP}  # sent from outside: worth another try


class Orphaned(SystemExit):
    """The Snakemake that asked for the work is gone."""


@dataclass(frozen=True)
class Limits:
    """minutes: for one piece of work. memory_gb: for all of its processes together, in 10^9 bytes. None: no limit."""

    minutes: float | None = None
    memory_gb: float | None = None
    address_space: bool = True  # limit the process's address space too (not with CUDA, which reserves far more)


ASKING = Limits(minutes=1.0, memory_gb=16.0)


@dataclass
class Ending:
    """How a piece of work ended: the value that it returned, or the reason why it returned none."""

    result: Any = None
    reason: str | None = None
    killed: bool = False  # from outside: worth another try
    printed: bytes = b""


def supervised(work: Callable[[], Any], limits: Limits, orphaned: Callable[[], bool] = lambda: False) -> Ending:
    """Call `work` in a forked process and return its ending. The value that it returns must be JSON.

    An InputError, or an OSError of the machine (such as a full disk), is raised again in this process; any other error
    becomes the reason of the ending. KeyboardInterrupt and SystemExit (SIGTERM, Orphaned) pass through after the worker
    was told to end.
    """
    for stream in (sys.stdout, sys.stderr):  # the worker would print buffered text a second time
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    spared = children()
    adopt_orphans(True)
    try:
        return _Watch(work, limits, orphaned, spared).ending()
    finally:
        kill_family(spared)
        adopt_orphans(False)


def answer_of(file: MethodFile, work: Callable[[], Any]) -> Ending:
    """Call `work`, which asks a method or a data source something while an experiment is planned.

    A plugin is asked in a process of its own, since its import alone may exit, crash or hang. The project's own files
    are asked in this process.
    """
    if file.path is not None and file.path.parent in (METHODS, SOURCES):
        return Ending(work())
    return supervised(work, ASKING)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that workers are told to end as well."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def warm_up() -> None:
    """Import, once for all workers, the modules that a training imports late."""
    native.prepare()
    provenance.engine_digest(), provenance.packages(native=True), provenance.machine()
    gc.collect()
    gc.freeze()  # collections of the workers leave the pages of present objects alone, so that none is copied


@dataclass
class _Kept:
    """The beginning and the end of the printed text."""

    first: bytearray = field(default_factory=bytearray)
    last: bytearray = field(default_factory=bytearray)
    dropped: int = 0

    def add(self, data: bytes) -> None:
        room = KEPT - len(self.first)
        self.first += data[:room]
        self.last += data[room:]
        if (over := len(self.last) - KEPT) > 0:
            self.dropped += over
            del self.last[:over]

    def __bytes__(self) -> bytes:
        between = b"\n[... %d bytes are not kept ...]\n" % self.dropped if self.dropped else b""
        return bytes(self.first) + between + bytes(self.last)


class _Watch:
    def __init__(self, work: Callable, limits: Limits, orphaned: Callable[[], bool], spared: set[int]) -> None:
        self.limits, self.orphaned, self.spared = limits, orphaned, spared
        self.printed, self.answer = _Kept(), bytearray()
        (output, printing), (self.answers, answering) = os.pipe(), os.pipe()
        self.output, parent = output, os.getpid()
        self.worker = os.fork()
        if not self.worker:
            _be_worker(work, limits, parent, printing, answering)
        self.started, self.looks = time.monotonic(), 0
        os.close(printing), os.close(answering)

    def ending(self) -> Ending:
        try:
            status, reason = self._watch()
        except (KeyboardInterrupt, SystemExit) as interruption:
            self._tell_to_end(signal.SIGINT if isinstance(interruption, KeyboardInterrupt) else signal.SIGTERM)
            raise
        finally:
            self._drain()
            for pipe in (self.output, self.answers):
                os.close(pipe)
        return self._meaning(status, reason)

    def _watch(self) -> tuple[int, str | None]:
        """(wait status of the worker, why it was killed here)."""
        with selectors.DefaultSelector() as selector:
            for pipe in (self.output, self.answers):
                os.set_blocking(pipe, False)
                selector.register(pipe, selectors.EVENT_READ)
            ended = _register_end(selector, self.worker)
            try:
                look = 0.0
                while True:
                    for key, _ in selector.select(POLL if ended is not None else 0.02):
                        if key.fd != ended and not self._read(key.fd):
                            selector.unregister(key.fd)
                    ended_process, status = os.waitpid(self.worker, os.WNOHANG)
                    if ended_process:
                        return status, None
                    if time.monotonic() >= look:
                        if reason := self._too_much():
                            return self._kill(), reason
                        look = time.monotonic() + POLL
            finally:
                if ended is not None:
                    os.close(ended)

    def _too_much(self) -> str | None:
        if self.orphaned():
            raise Orphaned
        if (minutes := self.limits.minutes) and time.monotonic() - self.started > 60 * minutes:
            return f"took longer than {minutes:g} minutes (resources: minutes)"
        if limit := self.limits.memory_gb:
            used = self._memory(1e9 * limit) / 1e9
            if used > limit:
                return f"out of memory: used {used:.1f} GB, more than {limit:g} GB (resources: memory_gb)"
        return None

    def _memory(self, limit: float) -> float:
        """Bytes of the worker; now and then, and if it is large, of all its processes, which takes longer."""
        self.looks += 1
        with suppress(psutil.Error):
            alone = resident(psutil.Process(self.worker))
            if self.looks % EVERY and alone < limit / 2:
                return alone
        return memory(self.spared, limit)

    def _kill(self) -> int:
        """Kill the worker. On SIGUSR2 it first writes the line that it is at."""
        with suppress(ProcessLookupError):
            os.kill(self.worker, signal.SIGUSR2)
            time.sleep(0.1)
            self._drain()
            os.kill(self.worker, signal.SIGKILL)
        return os.waitpid(self.worker, 0)[1]

    def _tell_to_end(self, number: int) -> None:
        """Send a signal and wait: a training writes a checkpoint before it ends (training/checkpoint.py)."""
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.worker, number)
            until = time.monotonic() + GRACE
            while not os.waitpid(self.worker, os.WNOHANG)[0] and time.monotonic() < until:
                self._drain()
                time.sleep(0.02)

    def _drain(self) -> None:
        for pipe in (self.output, self.answers):
            while self._read(pipe):
                pass

    def _read(self, pipe: int) -> bytes:
        """Read once. Returns no bytes at the end of the pipe, and if nothing has arrived."""
        try:
            data = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return b""
        if pipe == self.output:
            self.printed.add(data)
        else:
            self.answer += data
        return data

    def _meaning(self, status: int, reason: str | None) -> Ending:
        printed = bytes(self.printed)
        if reason:
            return Ending(reason=reason, printed=printed)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            name = signal.Signals(number).name if number in set(signal.Signals) else "unknown"
            return Ending(
                reason=f"the process was ended by signal {number} ({name})", killed=number in OUTSIDE, printed=printed
            )
        try:
            answer = json.loads(self.answer)
        except ValueError:
            code = os.WEXITSTATUS(status)
            return Ending(reason=f"the process ended with exit code {code} before its work was done", printed=printed)
        if answer["kind"] == "input":
            raise InputError(answer["text"])
        if answer["kind"] == "machine":
            raise OSError(*answer["error"])
        return Ending(answer.get("result"), answer.get("reason"), printed=printed)


def _register_end(selector: selectors.BaseSelector, process: int) -> int | None:
    """Register and return a descriptor that becomes readable when `process` ends; None if the system has none."""
    try:
        ended = os.pidfd_open(process)
    except (AttributeError, OSError):
        return None
    selector.register(ended, selectors.EVENT_READ)
    return ended


def _be_worker(work: Callable[[], Any], limits: Limits, parent: int, printing: int, answering: int) -> None:
    """Do the work in the forked process, answer, and end it. Does not return."""
    code = 1
    try:
        end_with(parent)
        os.setpgid(0, 0)  # Ctrl-C reaches the parent, which tells
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        _redirect(printing)
        bind_children()
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if limits.memory_gb and limits.address_space:
            _limit_data(int(1e9 * limits.memory_gb) + SLACK)
        me, answer = os.getpid(), _answer(work)
        if os.getpid() == me:  # a method may fork, and its copy of this process then arrives here as well
            os.set_blocking(answering, True)
            data = memoryview(json.dumps(answer).encode())
            while data:
                data = data[os.write(answering, data) :]
            code = 0
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
    finally:
        os._exit(code)  # threads that still run would keep sys.exit waiting


def _answer(work: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"kind": "result", "result": work()}
    except InputError as error:
        return {"kind": "input", "text": str(error)}
    except (Exception, SystemExit) as error:
        if of_machine(error):
            return {"kind": "machine", "error": [error.errno, error.strerror, error.filename and str(error.filename)]}
        traceback.print_exception(error)
        return {"kind": "result", "reason": reason_of(error)}


def _redirect(printing: int) -> None:
    """Send all that the worker prints to its parent, and give it an empty input."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0), os.dup2(printing, 1), os.dup2(printing, 2)
    for number in (nothing, printing):
        os.close(number)
    sys.stdout, sys.stderr = (
        open(number, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
        for number in (1, 2)
    )
    faulthandler.enable(sys.stderr)
    faulthandler.register(signal.SIGUSR2, sys.stderr)


def _limit_data(size: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
