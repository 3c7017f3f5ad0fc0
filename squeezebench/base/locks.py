"""Locks that the kernel takes back when their process ends, however it ends: nothing has to be unlocked by hand.

`flock` on a file. The file is in the way of nobody once its holder is gone, and whoever holds it may remove it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

NOT_SUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
MOST = 64 << 10  # bytes of notes in a lock file that are read

log = logging.getLogger("squeezebench")
_open: set[int] = set()  # descriptors of the locks that this process holds


class Lock:
    """The lock on `path`; its file also takes notes (a JSON object) of who holds it, and of what he wants to keep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: Callable[[], None] | None = None) -> bool:
        """Take the lock. While another process holds it, `wait()` is called again and again (it sleeps, or raises);
        False at once where it is not given. Raises OSError where the file cannot be made."""
        while True:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            taken = False
            try:
                taken = self._take(file)
                if taken and self._is_at_its_path(file):
                    self._file = file
                    _open.add(file)
                    return True
            finally:
                if self._file != file:
                    os.close(file)
            if not taken:
                if wait is None:
                    return False
                wait()

    def _take(self, file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise
            log.warning("%s: this file system has no locks; do not start one thing twice here", self.path)
        return True

    def _is_at_its_path(self, file: int) -> bool:
        """Whether the file that was locked is still the one that others open: its last holder may have removed it."""
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file), self.path.stat())
        return False

    def notes(self) -> dict[str, Any]:
        """What the lock file says, without the lock too; nothing where it cannot be read."""
        try:
            with self.path.open("rb") as file:
                found = json.loads(file.read(MOST))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def note(self, **notes: Any) -> None:
        """Replace the notes; this process and its machine are added. Raises OSError (a full disk)."""
        content = json.dumps(notes | {"process": os.getpid(), "machine": socket.gethostname()}).encode()
        os.ftruncate(self._file, 0)
        try:
            os.pwrite(self._file, content, 0)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None

    def release(self, remove: bool = False) -> None:
        """Give the lock back; with `remove` its file goes first, while nobody else can hold it."""
        if self._file is None:
            return
        if remove:
            with suppress(OSError):
                self.path.unlink()
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)  # of processes that were forked meanwhile as well
        os.close(self._file)
        _open.discard(self._file)
        self._file = None


def holder(notes: dict[str, Any]) -> str:
    """The holder of a lock in words."""
    process, machine = notes.get("process", "unknown"), notes.get("machine", "unknown")
    return f"process {process}" + ("" if machine == socket.gethostname() else f" on {machine}")


def close_inherited() -> None:
    """In a forked process that is not to keep its parent's locks alive."""
    while _open:
        with suppress(OSError):
            os.close(_open.pop())
