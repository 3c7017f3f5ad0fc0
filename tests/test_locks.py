"""A lock belongs to one living process: nobody unlocks anything after a kill -9, and a forked child keeps nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from squeezebench.base.locks import Lock, holder

HOLDS = """
import os, sys, time
from pathlib import Path
from squeezebench.base.locks import Lock

lock = Lock(Path(sys.argv[1]))
lock.acquire()
lock.note(since="today")
if (child := os.fork()) == 0:
    time.sleep(1000)
print(child, flush=True)
time.sleep(1000)
"""


@pytest.fixture
def held(tmp_path):
    """(lock file, its holder, a child that the holder forked)."""
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    yield path, process, child
    process.kill()
    process.wait()
    os.kill(child, signal.SIGKILL)


def test_a_lock_that_another_process_has_is_refused_and_its_holder_is_named(held):
    path, process, _ = held
    lock = Lock(path)
    assert not lock.acquire()
    assert lock.notes()["since"] == "today" and holder(lock.notes()) == f"process {process.pid}"


def test_a_killed_holder_gives_the_lock_back_although_its_child_lives(held):
    path, process, child = held
    waited = []

    def wait() -> None:
        waited.append(1)
        process.kill()

    lock = Lock(path)
    assert lock.acquire(wait) and waited
    os.kill(child, 0)  # it lives
    assert lock.notes()["since"] == "today"  # what the holder noted is there for the next one
    lock.release(remove=True)
    assert not path.exists()


def test_who_waits_may_give_up(held):
    def give_up() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Lock(held[0]).acquire(give_up)


def test_a_lock_whose_file_its_last_holder_removed_is_taken_anew(held):
    path, process, _ = held

    def end() -> None:
        path.unlink(missing_ok=True)
        process.kill()

    lock = Lock(path)
    assert lock.acquire(end)
    assert path.exists() and lock.notes() == {}
    lock.release(remove=True)
