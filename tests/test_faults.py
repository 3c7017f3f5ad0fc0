"""A method may do whatever it likes: the other runs and the report go on, and the failed cell says why."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import forked
import pytest
from faults import bits, left_over, odd, records, write

from squeezebench.schema.record import read_record

BAD = {  # name -> (what the method's `build` does, words of the reason that its records give)
    "raises": ("raise ValueError('no such thing')", "ValueError: no such thing"),
    "exits": ("import sys; sys.exit(3)", "the method called sys.exit(3)"),
    "vanishes": ("import os; os._exit(0)", "the process ended with exit code 0"),
    "ends": ("import os; os._exit(7)", "the process ended with exit code 7"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "the process was ended by signal 11 (SIGSEGV)"),
    "aborts": ("import os; os.abort()", "the process was ended by signal 6 (SIGABRT)"),
    "hangs": ("import time; time.sleep(1000)", "took longer than 0.3 minutes (resources: minutes)"),
    "grabs": ("import numpy; numpy.ones(10**11)", "out of memory: Unable to allocate"),
    "leaks": ("kept = []\nwhile True: kept.append(bytearray(b'x') * 50_000_000)", "out of memory: "),
    "closes": ("import os; os.closerange(0, 200); os._exit(1)", "the process ended with exit code 1"),
    "not_a_number": ("pass", "Diverged: "),
    "dies": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the process was killed 2 times while making"),
}
RUDE = {  # name -> what it does on the way to a sound result
    "forgets": "import torch; torch.nn.init.uniform_ = torch.nn.init.zeros_ = lambda *a, **k: a[0].data.fill_(0.1)",
    "prints": "print('x' * 3_000_000); import os; os.write(2, b'to stderr')",
    "threads": "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()",
    "forks": "import os, time\nif not os.fork():\n    os.setsid()\n    os.fork()\n    time.sleep(1000)",
    "copies": "import os; os.fork()",
    "moves": "import os; os.chdir('/'); os.environ.clear(); os.environ['OMP_NUM_THREADS'] = 'no'",
    "reseeds": "import torch, numpy; torch.set_num_threads(2); numpy.random.seed(self.settings.hidden)",
    "dies_once": "import os, pathlib, signal\nif not pathlib.Path('died').exists():\n"
    "    pathlib.Path('died').touch()\n    os.kill(os.getpid(), signal.SIGKILL)",
    "quiet": "import os, sys; sys.stdout.close(); sys.stderr.close(); os.close(1)",
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = write(
        tmp_path_factory.mktemp("faults"),
        lines={name: lines for name, (lines, _) in BAD.items()} | RUDE,
        seeds=[0],
        resources={"minutes": 0.3, "memory_gb": 1.5},
    )
    (folder / "mine" / "exits_on_import.py").write_text("import sys\n\nsys.exit(3)\n")
    planned = forked.call(["plan", "tiny.yaml"], folder, folder / "log")  # asks each method for its size
    assert planned.returncode == 0 and "cannot be estimated: the process ended with exit code 0" in planned.stdout
    done = make(folder)
    assert forked.call(["report", "results/tiny"], folder, folder / "log").returncode == 0
    return folder, done


def make(folder: Path, every: int = 1) -> subprocess.CompletedProcess:
    """Call each job, or each so-manieth, as Snakemake does, one after the other; all that they print."""
    plan = "results/tiny/plan.json"
    done = [
        forked.call(["job", plan, job], folder, folder / "log")
        for job in json.loads((folder / plan).read_bytes())["jobs"][::every]
    ]
    return subprocess.CompletedProcess("jobs", max(job.returncode for job in done), "".join(job.stdout for job in done))


def test_the_experiment_is_finished_and_nothing_is_left_of_it(finished):
    folder, done = finished
    assert done.returncode == 0, done.stdout
    assert not left_over(folder)
    assert re.search(r": failed: .*; to make it again, delete runs/\S+/seed-0\n", done.stdout)
    assert len(done.stdout) < 100_000  # the terminal stays readable


@pytest.mark.parametrize("name", BAD)
def test_a_run_that_fails_says_why_in_its_record_and_in_the_report(finished, name):
    folder, _ = finished
    record = read_record(odd(folder, name))
    assert record.status == "failed" and BAD[name][1] in record.reason
    page = (folder / "results" / "tiny" / "report.html").read_text()
    assert BAD[name][1].replace("'", "&#39;") in page


def test_a_plugin_that_cannot_be_imported_becomes_failed_records(finished):
    folder, _ = finished
    (place,) = [path for name, path in records(folder).items() if name.startswith("exits_on_import/")]
    record, page = read_record(place), (folder / "results" / "tiny" / "report.html").read_text()
    assert record.status == "failed" and "calls sys.exit(3) when imported" in record.reason
    assert "exits_on_import" in page and "calls sys.exit(3) when imported" in page


@pytest.mark.parametrize("name", [name for name in RUDE if name != "forgets"])
def test_a_rude_method_has_the_result_of_a_polite_one(finished, name):
    folder, done = finished
    record = read_record(odd(folder, name))
    (dense,) = [read_record(path) for at, path in records(folder).items() if at.startswith("dense/")]
    assert record.status == "ok", done.stdout
    assert record.accuracy == dense.accuracy and record.model_digest == dense.model_digest


def test_what_a_run_prints_is_in_its_log_up_to_a_megabyte(finished):
    folder, _ = finished
    log = odd(folder, "prints").with_name("log.txt").read_text()
    assert "to stderr" in log and "bytes are not kept" in log and 1_000_000 < len(log) < 1_200_000


@pytest.mark.parametrize(("name", "words"), [("crashes", "Fatal Python error"), ("hangs", "in build")])
def test_the_log_of_a_crash_and_of_a_hang_shows_where_it_was(finished, name, words):
    folder, _ = finished
    assert words in odd(folder, name).with_name("log.txt").read_text()


def test_a_run_does_not_depend_on_what_ran_before_it_in_its_job(finished):
    """`forgets` changes torch for good; the runs after it in the same job are as those of a polite method."""
    folder, _ = finished
    names = list(BAD) + list(RUDE)
    assert names.index("forgets") < names.index("moves")
    assert read_record(odd(folder, "forgets")).model_digest != read_record(odd(folder, "moves")).model_digest


def test_failed_runs_are_kept_and_nothing_is_made_again(finished):
    folder, _ = finished
    before = bits(folder)
    stamps = {name: path.stat().st_mtime_ns for name, path in records(folder).items()}
    assert make(folder, every=4).returncode == 0
    assert bits(folder) == before
    assert {name: path.stat().st_mtime_ns for name, path in records(folder).items()} == stamps
