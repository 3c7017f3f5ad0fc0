"""One Snakemake at a time in a folder of results. The lock is taken before the plan is read, and the kernel releases
it when Snakemake ends, for whatever reason. The same command then resumes, and there is nothing to unlock.

Snakemake's own lock is a file that a killed process leaves behind; profiles/default turns it off. Two experiments
have two folders, and may run at once.
"""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from squeezebench.base.errors import InputError
from squeezebench.base.locks import Lock, holder

NAME = ".lock"
INTERRUPTED = "squeezebench: interrupted; finished runs are kept, give the same command to go on"
# Options of calls that make no run. Such a call may read while another one makes runs.
LOOKING = {
    "--dry-run", "--dryrun", "--summary", "--detailed-summary", "--dag", "--rulegraph", "--filegraph", "--d3dag",
    "--report", "--lint", "--list", "--list-rules", "--list-target-rules", "--lt", "--list-changes", "--lc",
    "--list-input-changes", "--li", "--list-params-changes", "--lp", "--unlock", "--print-compilation", "--archive",
    "--containerize", "--generate-unit-tests",
}  # fmt: skip
SHORT = re.compile(r"-[pkqrFf]*[nSDl][npkqrFf]*")  # -n, -np, -S; not -call, which is `--cores all`

_held: dict[Path, tuple[Lock, int]] = {}  # the lock and the process that took it


def looks_only(words: list[str]) -> bool:
    """Whether a command line of Snakemake makes no run."""
    return any(word.partition("=")[0] in LOOKING or SHORT.fullmatch(word) for word in words)


def runs_elsewhere(words: list[str]) -> bool:
    """Whether a command line of Snakemake may send its jobs to other machines: by an executor, which a profile can
    name as well."""
    options = {word.partition("=")[0] for word in words}
    return bool(options & {"--executor", "-e", "--profile", "--workflow-profile"})


def inside_a_job(words: list[str]) -> bool:
    """Whether it is Snakemake's own call inside a job: the call that started it has the lock."""
    return any(word.partition("=")[0] == "--mode" for word in words)


def say_when_interrupted() -> None:
    """After Ctrl-C, below what Snakemake prints, say in one line what is kept. A call that only looks says nothing."""
    words = sys.argv[1:]
    if inside_a_job(words) or looks_only(words) or threading.current_thread() is not threading.main_thread():
        return
    before, asked = signal.getsignal(signal.SIGINT), []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if callable(before):
            before(number, frame)

    def say() -> None:
        if asked:
            print(INTERRUPTED, file=sys.stderr, flush=True)

    signal.signal(signal.SIGINT, note)
    atexit.register(say)


def occupy(folder: Path) -> None:
    """Keep other Snakemake processes out of `folder` until this one ends.

    A call that only looks takes no lock: it writes no plan. Raises InputError, in one line, if another Snakemake has
    the folder or if it cannot be written.
    """
    words = sys.argv[1:]
    if inside_a_job(words) or looks_only(words) or folder.absolute() in _held:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / NAME)
        if not lock.acquire():
            since = lock.notes().get("since", "a moment ago")
            who = holder(lock.notes())
            raise InputError(f"{folder}: {who} is making these results since {since}; wait for it, or end it first")
        lock.note(since=time.strftime("%Y-%m-%d %H:%M:%S"))
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be written: {error.strerror}") from None
    if not _held:
        atexit.register(_leave_all)
    _held[folder.absolute()] = lock, os.getpid()


def leave(folder: Path) -> None:
    """Release the lock, and remove the folder if it is empty."""
    lock, process = _held.pop(folder.absolute(), (None, 0))
    if lock and process == os.getpid():  # not in a forked copy of the process that took the lock
        lock.release(remove=True)
        for empty in (folder, folder.parent):
            with suppress(OSError):
                empty.rmdir()


def _leave_all() -> None:
    for folder in list(_held):
        leave(folder)
