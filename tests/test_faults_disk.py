"""A disk that is full or read-only, files that are damaged, clocks that jump: one clear line, and nothing is lost.

Jobs are called as Snakemake calls them, in processes that have imported torch already.
"""

from __future__ import annotations

import itertools
import json
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import forked
import pytest
from faults import SMALL, bits, differing, records, write

from squeezebench.base.errors import InputError
from squeezebench.cli.main import main
from squeezebench.pipeline.workflow import load_plan
from squeezebench.schema.record import read_record

PLAN = "results/tiny/plan.json"


def call(folder: Path, *words: str, prepare: Callable[[], None] = lambda: None) -> subprocess.CompletedProcess:
    """`squeezebench WORDS` in `folder`."""
    return forked.call(list(words), folder, folder / "log", prepare)


def make_all(folder: Path, prepare: Callable[[], None] = lambda: None) -> Path:
    """Plan the experiment of `folder` and make its runs."""
    assert call(folder, "plan", "tiny.yaml", prepare=prepare).returncode == 0
    for job in jobs(folder):
        done = call(folder, "job", PLAN, job, prepare=prepare)
        assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return make_all(write(tmp_path_factory.mktemp("undisturbed"), methods={"dense": {}, "iss": {}}))


@pytest.fixture
def copy(undisturbed, tmp_path):
    """The finished experiment, to be damaged."""
    return Path(shutil.copytree(undisturbed, tmp_path / "copy"))


def states(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {name: (path.read_bytes(), path.stat().st_mtime_ns) for name, path in records(folder).items()}


def jobs(folder: Path) -> list[str]:
    return json.loads((folder / PLAN).read_bytes())["jobs"]


# ---------------------------------------------------------------------- full


@pytest.fixture
def small_disk(tmp_path):
    """A folder of results on a disk of its own: `resize(KiB)`."""
    results = tmp_path / "results"
    results.mkdir()

    def resize(size: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{size}", str(results)], check=True, capture_output=True)

    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(results)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield tmp_path, resize
    subprocess.run(["umount", "-l", str(results)], check=True)


def one_line(done: subprocess.CompletedProcess, words: str) -> None:
    """It failed, and the terminal says why once."""
    assert done.returncode != 0 and "Traceback" not in done.stdout, done.stdout
    lines = [line for line in done.stdout.splitlines() if words in line]
    assert len(lines) == 1 and "results/tiny" in lines[0], done.stdout


def test_a_disk_that_fills_up_loses_nothing_that_was_finished(undisturbed, small_disk):
    folder, resize = small_disk
    write(folder, methods={"dense": {}, "iss": {}})
    (folder / "results" / "of_others").write_bytes(bytes(4096))
    one_line(call(folder, "plan", "tiny.yaml"), "No space left on device")
    resize("size=64k")
    assert call(folder, "plan", "tiny.yaml").returncode == 0
    refused, kept = 0, {}
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in (folder / "results").rglob("*"))
    for room in (4, 30, 1000):  # KiB; all of it takes about 130: a log, a start, a model, a record ...
        resize(f"size={used + room}k")
        for job in jobs(folder):
            done = call(folder, "job", PLAN, job)
            now = states(folder)
            assert kept.items() <= now.items(), done.stdout  # what was finished is as it was
            assert {read_record(path).reason for path in records(folder).values()} <= {None}
            kept = now
            if done.returncode:
                one_line(done, "No space left on device")
                refused += 1
                break
    assert refused == 2
    assert differing(bits(folder), bits(undisturbed)) == []


def test_a_file_that_may_not_grow_is_no_failed_run(undisturbed, tmp_path):
    """RLIMIT_FSIZE, as a quota does: the record (12 KB and more) does not fit, and is made when it does."""
    folder = write(tmp_path, methods={"dense": {}}, seeds=[0])
    assert call(folder, "plan", "tiny.yaml").returncode == 0
    (job,) = jobs(folder)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048))

    one_line(forked.call(["job", PLAN, job], folder, folder / "small_log", limit), "File too large")
    assert not records(folder)
    assert call(folder, "job", PLAN, job).returncode == 0
    reference = {name: value for name, value in bits(undisturbed).items() if name.startswith("dense") and "-0" in name}
    assert differing(bits(folder), reference) == []


# ---------------------------------------------------------------------- read-only


def test_a_read_only_folder_of_results_and_a_file_in_its_way_are_one_line(small_disk, monkeypatch):
    folder, resize = small_disk
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["snakemake"])
    (folder / "results" / "tiny").write_text("")
    with pytest.raises(InputError, match=r"results/tiny.* cannot be written"):
        load_plan(SMALL, ["tiny.yaml"])
    (folder / "results" / "tiny").unlink()
    resize("ro")
    with pytest.raises(InputError, match=r"results/tiny.*Read-only file system"):
        load_plan(SMALL, ["tiny.yaml"])


# ---------------------------------------------------------------------- damaged


def test_a_flipped_bit_beside_a_record_is_found_by_verify(copy, capsys):
    (first, path), *_, (last, other) = sorted(records(copy).items())
    for file in (path.with_name("model.safetensors"), other.with_name("history.csv")):
        content = bytearray(file.read_bytes())
        content[-3] ^= 4
        file.write_bytes(content)
    assert main(["report", str(copy / "results/tiny"), "--verify"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "/seed-" in line]
    assert any(first in line and "model" in line for line in lines), lines
    assert any(last in line and "history.csv" in line for line in lines), lines
    assert all(first in line or last in line for line in lines), lines


# ---------------------------------------------------------------------- clocks


def let_the_clock_jump() -> None:
    jumps, clock = itertools.cycle([0, -1e9, 3e8, -5e7]), time.time
    time.time = lambda: clock() + next(jumps)


def test_a_clock_that_jumps_changes_no_result(undisturbed, tmp_path):
    folder = make_all(write(tmp_path, methods={"dense": {}, "iss": {}}), let_the_clock_jump)
    assert differing(bits(folder), bits(undisturbed)) == []
