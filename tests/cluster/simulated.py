"""A synthetic Slurm: programs of its names that answer as Slurm does, and one server behind them that runs nothing.

What is real: Snakemake, its Slurm executor and this project's profile; what they write on their command lines and read
from the answers. What is synthetic: the cluster. The server reads which job of the plan a task of an array is, waits a
moment, and writes the records and the receipt that `squeezebench job` would have left, so that 1,000 jobs take minutes
on two cores; only the job of the report is run as it was submitted. A share of the tasks meets a `Fate` of a cluster.
`test_slurm.py` has the real Slurm, with few jobs.
"""

from __future__ import annotations

import json
import os
import random
import re
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from synthetic_records import of_run

from squeezebench.base.files import write_atomically
from squeezebench.schema.record import RECORD_NAME, RecordError, read_record, write_record

ACCOUNT, PARTITION = "students", "batch"
NODES = 64  # each runs one task at a time
FATES = {  # state that Slurm shows -> share of the tasks that meet it, in their first or second attempt
    "FAILED": 0.03,  # the process was killed
    "OUT_OF_MEMORY": 0.01,
    "TIMEOUT": 0.01,
    "NODE_FAIL": 0.01,
}
HALF_WRITTEN = 0.3  # of those: share that leaves a truncated record behind
UNSEEN = 0.05  # share of the tasks that `squeue` does not show for their first seconds
SILENT_CALLS = 7  # each so-manieth call of `squeue` finds no controller
MOST_FAILURES = 2  # for one job: as many as `retries` of profiles/default makes good
CLIENT = """\
#!{python} -S
import json, socket, sys
with socket.socket(socket.AF_UNIX) as link:
    link.connect({socket!r})
    script = sys.stdin.read() if "/dev/stdin" in sys.argv else ""
    link.sendall(json.dumps([{program!r}, sys.argv[1:], script]).encode() + b"\\n")
    status, out, err = json.loads(link.makefile().readline())
sys.stdout.write(out), sys.stderr.write(err), sys.exit(status)
"""


@dataclass
class Task:
    """A task of an array, or a job of its own (index None)."""

    job: int
    index: int | None
    name: str  # the job name, by which the executor asks
    command: str
    what: str  # rule and wildcards
    fate: str  # how it ends
    seconds: float
    seen: float  # when `squeue` shows it first
    state: str = "PENDING"
    until: float = 0.0
    node: str = ""
    process: subprocess.Popen | None = None

    @property
    def identity(self) -> str:
        return str(self.job) if self.index is None else f"{self.job}_{self.index}"


@dataclass
class Cluster:
    """The state of the cluster; `submitted` and `failed` count by what was asked for, for the test to judge."""

    folder: Path  # the workflow's working directory
    seed: int = 0
    tasks: list[Task] = field(default_factory=list)
    submitted: Counter = field(default_factory=Counter)
    failed: Counter = field(default_factory=Counter)
    fates: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    excluded: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _plans: dict[Path, dict] = field(default_factory=dict)

    def answer(self, program: str, words: list[str], script: str) -> tuple[int, str, str]:
        """(status, output, errors) of a call of one of the programs."""
        with self.lock:
            self.calls[program] += 1
            return getattr(self, f"_{program}")(words, script)

    def _sbatch(self, words: list[str], script: str) -> tuple[int, str, str]:
        given = dict(zip(words, [*words[1:], ""], strict=True))
        if (given.get("-A"), given.get("-p")) != (ACCOUNT, PARTITION) or not given.get("--mem") or not given.get("-t"):
            return 1, "", f"sbatch: error: Batch job submission failed: {words}"
        joined = {key: value for key, _, value in (word.partition("=") for word in words) if value}
        self.excluded |= set(joined.get("--exclude", "").split(",")) - {""}
        command = joined.get("--wrap") or script
        number = 1 + max((task.job for task in self.tasks), default=0)
        for index, own in _commands(command, joined.get("--array")).items():
            self.tasks.append(self._new(number, index, given["--job-name"], own))
        return 0, f"{number}\n", ""

    def _new(self, number: int, index: int | None, name: str, command: str) -> Task:
        what = re.search(r"--target-jobs '?([^' ]+)", command)[1]
        self.submitted[what] += 1
        dice = random.Random(f"{self.seed} {what} {self.submitted[what]}")
        fate = "COMPLETED"
        if what.startswith("runs") and self.submitted[what] <= MOST_FAILURES:
            fate = dice.choices(["COMPLETED", *FATES], [1 - sum(FATES.values()), *FATES.values()])[0]
        if fate != "COMPLETED":
            self.failed[what] += 1
            self.fates[fate] += 1
        seen = time.monotonic() + (3 * dice.random() if dice.random() < UNSEEN else 0)
        return Task(number, index, name, command, what, fate, 0.05 + dice.expovariate(5), seen)

    def _squeue(self, words: list[str], script: str) -> tuple[int, str, str]:
        if self.calls["squeue"] % SILENT_CALLS == 0:
            return 1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
        name, now = words[words.index("--name") + 1], time.monotonic()
        shown = [task for task in self.tasks if task.name == name and now >= task.seen]
        lines = [f"{task.identity}|{task.state}" for task in shown if task.state != "PENDING" or task.index is None]
        waiting: dict[int, list[str]] = {}  # Slurm shows the tasks of an array that wait as one line
        for task in shown:
            if task.state == "PENDING" and task.index is not None:
                waiting.setdefault(task.job, []).append(str(task.index))
        lines += [f"{job}_[{','.join(some)}]|PENDING" for job, some in waiting.items()]
        return 0, "".join(f"{line}\n" for line in lines), ""

    def _sacct(self, words: list[str], script: str) -> tuple[int, str, str]:
        if "nodelist%-256" in words and "-j" in words:
            wanted = words[words.index("-j") + 1]
            return 0, "".join(f"{task.node}\n" for task in self.tasks if task.identity == wanted), ""
        return 1, "", "Slurm accounting storage is disabled\n"

    def _scancel(self, words: list[str], script: str) -> tuple[int, str, str]:
        for task in self.tasks:
            if task.state in ("PENDING", "RUNNING") and {task.identity, str(task.job)} & set(words):
                task.state = "CANCELLED"
        return 0, "", ""

    def _scontrol(self, words: list[str], script: str) -> tuple[int, str, str]:
        return 0, "MaxArraySize            = 1001\nMinJobAge               = 600 sec\n", ""

    def _sacctmgr(self, words: list[str], script: str) -> tuple[int, str, str]:
        return 0, f"{ACCOUNT}\n", ""

    def _sinfo(self, words: list[str], script: str) -> tuple[int, str, str]:
        return 0, f"{PARTITION}*\n", ""

    def step(self) -> None:
        """Start what nodes are free for, end what is due."""
        with self.lock:
            now = time.monotonic()
            running = [task for task in self.tasks if task.state == "RUNNING"]
            for task in running:
                if task.process is not None:
                    if (status := task.process.poll()) is not None:
                        task.state = "FAILED" if status else "COMPLETED"
                elif now >= task.until:
                    self._finish(task)
            free = sorted({f"node{n}" for n in range(NODES)} - {task.node for task in running} - self.excluded)
            for task in [task for task in self.tasks if task.state == "PENDING"][: len(free)]:
                task.state, task.node, task.until = "RUNNING", free.pop(), now + task.seconds
                if not task.what.startswith("runs"):
                    task.process = self._really(task)

    def _finish(self, task: Task) -> None:
        """What `squeezebench job` leaves: all records and the receipt, or what its fate lets it."""
        wildcards = dict(pair.split("=", 1) for pair in task.what.partition(":")[2].split(","))
        job = "/".join(wildcards[key] for key in ("task", "method", "chunk"))
        results = next((self.folder / "results").iterdir())
        plan = self._plans.setdefault(results, None) or json.loads((results / "plan.json").read_bytes())
        self._plans[results] = plan
        runs = [run for run in plan["runs"] if run["job"] == job]
        half = random.Random(f"{task.what} {task.fate}").random() < HALF_WRITTEN
        for run in runs if task.fate == "COMPLETED" else runs[:1] if half else []:
            place = results / run["path"]
            try:
                read_record(place / RECORD_NAME)
            except RecordError:
                path = write_record(place, of_run(run, plan))
                if task.fate != "COMPLETED":
                    path.write_bytes(path.read_bytes()[:200])
        if task.fate == "COMPLETED":
            receipt = json.dumps({"job": job, "runs": [run["path"] for run in runs]})
            write_atomically(results / "jobs" / f"{job}.json", receipt.encode())
        task.state = task.fate

    def _really(self, task: Task) -> subprocess.Popen:
        """Run a job as it was submitted, with a `srun` that only starts what it is given."""
        log = (self.folder / f"slurm-{task.identity}.log").open("w")
        environment = os.environ | {
            "SLURM_JOB_ID": str(task.job),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
        }
        return subprocess.Popen(
            task.command, shell=True, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def _commands(command: str, array: str | None) -> dict[int | None, str]:
    """Task -> its command: the branch of an array's script that its number leads to."""
    if array is None:
        return {None: command}
    first, _, last = array.partition("-")
    found = {int(number): own for number, own in re.findall(r"^(\d+)\) (.*) ;;$", command, re.MULTILINE)}
    if sorted(found) != list(range(int(first), int(last) + 1)):
        raise ValueError(f"an array {array} with commands for {sorted(found)}")
    return found


@contextmanager
def cluster(folder: Path, seed: int = 0) -> Iterator[Cluster]:
    """A cluster whose programs lie in `folder`/bin, for a workflow that runs in `folder`."""
    made = Cluster(folder, seed)
    stop = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            program, words, script = json.loads(self.rfile.readline())
            try:
                said = made.answer(program, words, script)
            except Exception as error:  # the program fails, as one that finds its controller broken
                said = 1, "", f"{program}: error: {type(error).__name__}: {error}\n"
            self.wfile.write(json.dumps(said).encode() + b"\n")

    def live():
        while not stop.wait(0.05):
            made.step()

    with tempfile.TemporaryDirectory(prefix="slurm") as short:  # a socket's path has at most 107 bytes
        link = f"{short}/socket"
        bin_ = folder / "bin"
        bin_.mkdir()
        for program in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sacctmgr", "sinfo"):
            (bin_ / program).write_text(CLIENT.format(python=sys.executable, socket=link, program=program))
        (bin_ / "srun").write_text(
            '#!/bin/sh\nwhile case "$1" in -*) true;; *) false;; esac; do shift; done\nexec "$@"\n'
        )
        for program in bin_.iterdir():
            program.chmod(0o755)
        with socketserver.ThreadingUnixStreamServer(link, Handler) as server:
            threads = [threading.Thread(target=work, daemon=True) for work in (server.serve_forever, live)]
            for thread in threads:
                thread.start()
            try:
                yield made
            finally:
                stop.set()
                server.shutdown()
                for task in made.tasks:
                    if task.process is not None and task.process.poll() is None:
                        task.process.kill()
