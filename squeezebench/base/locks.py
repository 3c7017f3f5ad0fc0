"""Locks with notes. The kernel takes a lock back when its process ends, however it ends; forks do not inherit it."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

NOT_SUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
LOOK = 0.2  # seconds between two attempts to take a lock
MOST = 64 << 10  # bytes of notes in a lock file that are read

log = logging.getLogger("squeezebench")


class Lock:
    """The lock on `path`. Its file also takes notes (a JSON object): who has the lock, and what they want to keep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False, poll_interval=LOOK)

    def acquire(self, wait: Callable[[], None] | None = None) -> bool:
        """Take the lock. While another process has it, call `wait()` again and again, which may raise; without `wait`
        return False at once. Raises OSError if the file cannot be made."""

        def check() -> bool:
            if wait is not None:
                wait()
            return wait is None

        try:
            self._lock.acquire(cancel_check=check)
        except Timeout:
            return False
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            log.warning("%s: this file system has no locks; do not start one thing twice here", self.path)
        return True

    def notes(self) -> dict[str, Any]:
        """Return what the lock file says, which takes no lock; nothing if it cannot be read."""
        try:
            with self.path.open("rb") as file:
                notes = json.loads(file.read(MOST))
        except (OSError, ValueError, RecursionError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def note(self, **notes: Any) -> None:
        """Replace the notes; this process and its machine are added. Raises OSError (a full disk)."""
        content = json.dumps(notes | {"process": os.getpid(), "machine": socket.gethostname()}).encode()
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666)
        try:
            os.write(file, content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
        finally:
            os.close(file)

    def release(self, remove: bool = False) -> None:
        """Give the lock back; with `remove` its file goes first, while nobody else can have it."""
        if remove and self._lock.is_locked:
            with suppress(OSError):
                self.path.unlink()
        self._lock.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on `path`, after whoever has it. Raises OSError if the file cannot be made."""
    lock = Lock(path)
    lock.acquire(wait=lambda: None)
    try:
        yield
    finally:
        lock.release()


def holder(notes: dict[str, Any]) -> str:
    """The holder of a lock in words."""
    process, machine = notes.get("process", "unknown"), notes.get("machine", "unknown")
    return f"process {process}" + ("" if machine == socket.gethostname() else f" on {machine}")
