"""A real Slurm on this machine for a test: munged, slurmctld and slurmd, bound to 127.0.0.1, all in one folder.

No systemd, no cgroup, no accounting database, nothing of the machine's own Slurm is read or written. The daemons run
as the user who runs the tests. `python tests/cluster/slurm.py FOLDER` brings one up by hand until Ctrl-C.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where Debian keeps daemons; not on every user's PATH

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmctldPort={controller}
SlurmdPort={daemon}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
PluginDir={plugins}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=600
KillWait={kill_wait}
UnkillableStepTimeout=20
SlurmdTimeout=600
PropagateResourceLimits=NONE
{more}
NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} {node_more} State=UNKNOWN
PartitionName=short Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why no Slurm can be brought up here, in words; None where nothing speaks against it."""
    absent = [name for name in PROGRAMS if find(name) is None]
    if absent:
        return f"no {', '.join(absent)} on this machine (Debian: apt-get install slurm-wlm munge)"
    return None if plugin_folder() else "Slurm's plugins are not where Debian and Fedora keep them"


def find(name: str) -> str | None:
    """The program's path, sbin included."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{SBIN}")


def plugin_folder() -> Path | None:
    """Where the authentication plugin lies; Debian keeps it under the machine's triplet."""
    places = [*Path("/usr/lib").glob("*/slurm-wlm"), *Path("/usr/lib").glob("*/slurm"), Path("/usr/lib64/slurm")]
    return next((place for place in places if (place / "auth_munge.so").exists()), None)


class NotStarted(RuntimeError):
    """The daemons did not come up; the end of their logs says why."""


@dataclass
class Cluster:
    """What a test needs of a running one; `folder` holds its settings and logs."""

    folder: Path
    processes: list[subprocess.Popen]
    partition: str = "short"

    def environment(self, **more: str) -> dict[str, str]:
        """For commands that talk to this cluster and to no other."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        path = f"{self.folder / 'bin'}:{kept.get('PATH', '')}:{SBIN}"
        return kept | {"PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")} | more

    def command(self, *words: object, check: bool = True) -> str:
        """Output of a Slurm command. Raises RuntimeError with what it said where it fails."""
        done = subprocess.run(
            list(map(str, words)), env=self.environment(), capture_output=True, text=True, timeout=600, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """Job id (`7`, or `7_2` for a task of an array) -> its state, finished ones included."""
        wanted = ",".join(states) or "all"
        lines = self.command("squeue", "--noheader", f"--states={wanted}", "--array", "--format=%i|%T").splitlines()
        return dict(line.strip().split("|") for line in lines if line.strip())

    def processes_of(self, needle: str) -> list[int]:
        """Processes on the node, started through this cluster, whose command line holds `needle`."""
        mine = f"{self.folder / 'bin'}:".encode()  # on the PATH of all that it starts
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if needle in command_of(int(entry.name)) and mine in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found


def command_of(pid: int) -> str:
    """The command line of a process; empty where it has ended."""
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def is_python(pid: int) -> bool:
    """Whether it is Python itself, and not the shell or the Snakemake that started it."""
    words = command_of(pid).split()
    return bool(words) and "python" in Path(words[0]).name and words[1:3] == ["-m", "squeezebench"]


def is_worker(pid: int) -> bool:
    """Whether another Python of the job has started it. That one outlives its death, and process numbers begin anew: a
    worker's may be the smaller one."""
    with contextlib.suppress(OSError, ValueError):
        return is_python(int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1]))
    return False


def job_of(pid: int) -> str | None:
    """The Slurm job that a process is part of, as `7` or `7_2`."""
    with contextlib.suppress(OSError):
        pairs = (Path("/proc") / str(pid) / "environ").read_bytes().decode(errors="replace").split("\0")
        found = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if "SLURM_ARRAY_TASK_ID" in found:
            return f"{found['SLURM_ARRAY_JOB_ID']}_{found['SLURM_ARRAY_TASK_ID']}"
        return found.get("SLURM_JOB_ID")
    return None


@contextlib.contextmanager
def cluster(cpus: int = 2, gpus: int = 0, kill_wait: int = 5, settings: str = "") -> Iterator[Cluster]:
    """A Slurm of one node that declares `cpus` (it may have fewer); torn down whatever happens inside.

    `gpus` declares as many; `settings` are more lines of slurm.conf. Raises NotStarted with the end of the
    daemons' logs where it does not come up.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket has a limit of 108 bytes
    one = Cluster(folder, [])
    try:
        _write_settings(folder, cpus, gpus, kill_wait, settings)
        _start(one)
        yield one
    finally:
        _stop(one)
        shutil.rmtree(folder, ignore_errors=True)


def _write_settings(folder: Path, cpus: int, gpus: int, kill_wait: int, settings: str) -> None:
    folder.chmod(0o755)
    for name, mode in {"bin": 0o755, "munge": 0o755, "key": 0o700, "state": 0o700, "spool": 0o755}.items():
        (folder / name).mkdir()
        (folder / name).chmod(mode)  # mkdir's mode passes through the umask, and munged is strict
    # Inside a job the executor drops every SLURM_ variable before it calls srun, which then looks in /etc/slurm only.
    srun = folder / "bin" / "srun"
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {find("srun")} "$@"\n')
    srun.chmod(0o755)
    key = folder / "key" / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    controller, daemon = _free_ports(2)
    more = [settings]
    if gpus:
        more.append("GresTypes=gpu")
        for number in range(gpus):  # files stand in for devices: nothing opens them where no cgroup is used
            (folder / f"gpu{number}").touch()
        (folder / "gres.conf").write_text("".join(f"Name=gpu File={folder}/gpu{n}\n" for n in range(gpus)))
    text = CONF.format(
        host=socket.gethostname(),
        node="node1",
        user=getpass.getuser(),
        folder=folder,
        plugins=plugin_folder(),
        controller=controller,
        daemon=daemon,
        cpus=cpus,
        memory=max(1000, pages * size * 9 // 10 >> 20),
        kill_wait=kill_wait,
        more="\n".join(line for line in more if line),
        node_more=f"Gres=gpu:{gpus}" if gpus else "",
    )
    (folder / "slurm.conf").write_text(text)


def _free_ports(number: int) -> list[int]:
    """Ports that nobody listens on now; held open together, so that all differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _start(one: Cluster) -> None:
    folder = one.folder
    conf = folder / "slurm.conf"
    _spawn(
        one,
        "munged",
        "--foreground",
        f"--key-file={folder}/key/munge.key",
        f"--socket={folder}/munge/socket",
        f"--pid-file={folder}/munge/munged.pid",
        f"--log-file={folder}/munge/munged.log",
        f"--seed-file={folder}/munge/munged.seed",
    )
    _wait(one, lambda: (folder / "munge" / "socket").exists(), "munged")
    _spawn(one, "slurmctld", "-D", "-c", "-f", conf)
    _spawn(one, "slurmd", "-D", "-c", "-N", "node1", "-f", conf)
    _wait(one, lambda: "idle" in one.command("sinfo", "-h", "-o", "%T", check=False), "slurmctld and slurmd")


def _spawn(one: Cluster, name: str, *words: object) -> None:
    log = (one.folder / f"{name}.out").open("wb")
    with log:
        one.processes.append(
            subprocess.Popen(
                [find(name), *map(str, words)],
                env=one.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )


def _wait(one: Cluster, ready, what: str, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until or any(process.poll() is not None for process in one.processes):
            raise NotStarted(f"{what} did not start: {_last_words(one.folder)}")
        time.sleep(0.2)


def _last_words(folder: Path) -> str:
    """The end of every log, for who reads why."""
    logs = [path for path in sorted(folder.rglob("*")) if path.suffix in (".log", ".out") and path.stat().st_size]
    return "; ".join(f"{path.name}: {path.read_text(errors='replace')[-600:].strip()}" for path in logs) or "no word"


def _stop(one: Cluster) -> None:
    """Cancel every job, then end the daemons, the last one first; what is left is killed."""
    if len(one.processes) == 3:
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            if running := [job for job, state in one.jobs().items() if state in ("RUNNING", "PENDING", "COMPLETING")]:
                one.command("scancel", "--signal=KILL", "--full", *running, check=False)
                one.command("scancel", *running, check=False)
                until = time.monotonic() + 10
                while one.jobs("RUNNING", "COMPLETING") and time.monotonic() < until:
                    time.sleep(0.3)
    for pid in one.processes_of("slurmstepd") + one.processes_of("squeezebench"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for process in reversed(one.processes):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


if __name__ == "__main__":
    reason = missing()
    if reason:
        sys.exit(reason)
    with cluster() as running:
        print(f"export SLURM_CONF={running.folder}/slurm.conf   # Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
