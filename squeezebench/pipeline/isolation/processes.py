"""The descendants of this process: how much memory they use, and that none of them outlives its purpose."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GONE = (psutil.NoSuchProcess, psutil.ZombieProcess)
PATIENCE = 5.0  # seconds for killed processes to disappear


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def end_with(parent: int) -> None:
    """Let the kernel kill this process when `parent`, which has just forked it, ends; at once if it has ended."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def bind_children() -> None:
    """Let every process that this one forks from now on end with it.

    The kernel counts the *thread* that forked as the parent, so only what the main thread forks is bound.
    """
    state: dict[str, int] = {}

    def before() -> None:
        state["parent"] = os.getpid() if threading.current_thread() is threading.main_thread() else 0

    def after() -> None:
        if state["parent"]:
            end_with(state["parent"])

    os.register_at_fork(before=before, after_in_child=after)


def adopt_orphans(on: bool) -> None:
    """Make this process the parent of descendants whose own parent ends, so that they can still be listed."""
    _prctl(PR_SET_CHILD_SUBREAPER, int(on))


def children() -> set[int]:
    """Direct children of this process."""
    return {child.pid for child in psutil.Process().children()}


def family(spared: set[int]) -> list[psutil.Process]:
    """All living descendants of this process, except the children in `spared` and their descendants."""
    if not spared:  # one look at the table of processes, which takes milliseconds
        return psutil.Process().children(recursive=True)
    living = []
    for child in psutil.Process().children():
        if child.pid not in spared:
            with suppress(*GONE):
                living += [child, *child.children(recursive=True)]
    return living


def kill_family(spared: set[int]) -> None:
    """Kill the family, including processes that start meanwhile, and reap the children in it."""
    until = time.monotonic() + PATIENCE
    while (left := family(spared)) and time.monotonic() < until:
        for process in left:
            with suppress(*GONE, psutil.AccessDenied):
                process.kill()
        for process in left:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
        time.sleep(0.002)


def memory(spared: set[int], limit: float = 0.0) -> float:
    """Bytes of memory that all descendants have written; files that they map do not count.

    The quick sum counts pages that forked processes share once for each. The exact sum is computed only if the quick
    one is above `limit`.
    """
    processes = family(spared)
    used = sum(resident(process) for process in processes)
    if used <= limit:
        return used
    return sum(_kilobytes(process, "smaps_rollup", ("Pss_Anon:", "Pss_Shmem:")) for process in processes)


def resident(process: psutil.Process) -> float:
    """Bytes of memory of one process, the pages that it shares with other forked processes included."""
    return _kilobytes(process, "status", ("RssAnon:", "RssShmem:"))


def _kilobytes(process: psutil.Process, name: str, fields: tuple[str, ...]) -> float:
    try:
        lines = Path(f"/proc/{process.pid}/{name}").read_text().splitlines()
    except OSError:
        lines = []
    values = [1024.0 * int(line.split()[1]) for line in lines if line.startswith(fields)]
    if not values and sys.platform != "linux":
        with suppress(*GONE, psutil.AccessDenied):
            return float(process.memory_info().rss)
    return sum(values)


class Keepers:
    """The Snakemake processes that started this one, through a shell. Without them its work is of no use."""

    def __init__(self) -> None:
        self._processes = [process for process in psutil.Process().parents() if _is_snakemake(process)]

    def gone(self) -> bool:
        """Whether one of them has ended."""
        return any(not _lives(process) for process in self._processes)


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(
        Path(word).name == "snakemake" and (number < 2 or words[number - 1] == "-m")
        for number, word in enumerate(words[:8])
    )


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
