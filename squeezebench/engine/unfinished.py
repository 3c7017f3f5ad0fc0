"""The file `unfinished` of a run's folder: only one process makes a run, and one that kills its process ends some day.

It is there while a run is being made and after its process died, is locked by who makes it, and counts the deaths.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.locks import Lock, holder
from squeezebench.base.reading import without_link

NAME = "unfinished"
MOST_DEATHS = 2  # that somebody saw, without a checkpoint in between
MOST_LOST = 10  # that nobody was left to tell of: Snakemake was killed, the machine stopped


class Unfinished:
    """The run of `folder`, which nobody else makes until `close`; waits for who makes it now.

    waiting: called now and then meanwhile; may raise. Raises OSError if the folder cannot be written.
    """

    def __init__(self, folder: Path, waiting: Callable[[], None] = lambda: None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = Lock(without_link(folder / NAME))
        self._waiting, self._said = waiting, False
        self._lock.acquire(self._wait)

    def _wait(self) -> None:
        if not self._said:
            who = holder(self._lock.notes())
            print(f"{self._lock.path.parent}: {who} makes this run; waiting for it", file=sys.stderr, flush=True)
            self._said = True
        self._waiting()

    def begin(self) -> None:
        """One more process begins the run. Raises InputError if too many have died of it; OSError (a full disk)."""
        deaths, lost = self._counts()
        if deaths >= MOST_DEATHS:
            raise InputError(f"the process was killed {deaths} times while making this run (out of memory?)")
        if lost >= MOST_LOST:
            raise InputError(f"the process was lost {lost} times while making this run (does it stop the machine?)")
        self._lock.note(deaths=deaths, lost=lost + 1)

    def got_on(self) -> None:
        """A checkpoint was written, so that the count of interruptions without progress starts again at 0."""
        self._lock.note(deaths=0, lost=1)

    def died(self) -> None:
        """The process that had begun was killed, and somebody saw it."""
        self._lock.note(deaths=self._counts()[0] + 1, lost=0)

    def interrupted(self) -> None:
        """It was told to end: no death."""
        deaths, lost = self._counts()
        self._lock.note(deaths=deaths, lost=max(0, lost - 1))

    def close(self, finished: bool) -> None:
        """Let others make the run; `finished`: there is nothing left to make."""
        self._lock.release(remove=finished)

    def _counts(self) -> tuple[int, int]:
        """Of the file, which the process that makes the run writes too."""
        notes = self._lock.notes()
        return _count(notes.get("deaths")), _count(notes.get("lost"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and 0 <= value <= MOST_LOST else 0
