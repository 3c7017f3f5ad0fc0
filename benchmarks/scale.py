"""What an experiment of 20,000 runs costs before and after its training: planning, a cluster job's start, gathering.

    python -m benchmarks.scale [--runs 500 2500 5000 10000 20000] [--json FILE]

Each size is planned twice over: with the default chunks (few jobs) and with `runs_per_job: 1` (a Snakemake job for each
run). Its records are synthetic, then the report is built and Snakemake is asked again (without its own notes on each
file, which a real run leaves). Every step is a process of its own with what it starts: seconds that a user waits /
seconds of one core, and the peak of memory. The last column fits `t - t of the smallest = c (runs - runs of the
smallest)^k` to the core's seconds, which other programs disturb little: 1 is linear.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import yaml

from benchmarks.timing import machine, parser_of, write_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from synthetic_records import history, of_run, write  # noqa: E402

POINTS = {  # ten of each method's setting
    "small_dense": {"ratio": [2, 3, 5, 8, 12, 20, 30, 50, 80, 120]},
    "random_units": {"keep": [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02]},
    "magnitude": {"keep": [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.02]},
    "iss": {"strength": [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5]},
    "vib_lstm": {"beta": [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 20, 30, 100]},
}
SEEDS = 10
RUNS_PER_TASK = SEEDS * sum(len(values) for setting in POINTS.values() for values in setting.values())
CHUNKS = {"few jobs": 1000, "a job a run": 1}  # runs_per_job
WIDTH = 22
SMALLEST_GROWTH = 1.0  # seconds between the smallest and the largest size; an exponent of less would be one of noise


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds of the wall and of the processor, and its peak of memory with all that it started."""

    seconds: float
    processor_seconds: float
    megabytes: float


def experiment(runs: int, runs_per_job: int) -> dict:
    """An experiment of so many runs: the number of tasks grows, as where an archive of data sets is worked through."""
    if runs % RUNS_PER_TASK:
        raise SystemExit(f"--runs: give multiples of {RUNS_PER_TASK} (got {runs})")
    tasks = {f"task_{number}": {"source": "digits"} for number in range(runs // RUNS_PER_TASK)}
    return {"tasks": tasks, "seeds": list(range(SEEDS)), "methods": POINTS, "runs_per_job": runs_per_job}


def measured(command: list[str], folder: Path, says: str = "") -> Cost:
    """Run a command in `folder`. Raises SystemExit where it fails or does not say what it should."""
    start = time.perf_counter()
    with (folder / "said.txt").open("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode or says not in text:
        raise SystemExit(f"{' '.join(command)} failed (status {process.returncode}):\n{text[-2000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


READ = "from squeezebench.pipeline.worker import read_plan as f\nargs = (Path({!r}), {!r})"
GATHER = "from squeezebench.report.gather import gather as f\nargs = (Path({!r}),)"
TIMED = """
from pathlib import Path
import json, time
{}
wall, processor = time.perf_counter(), time.process_time()
f(*args)
print(json.dumps([time.perf_counter() - wall, time.process_time() - processor]))
"""


def inside(what: str, place: Path) -> Cost:
    """A function in a process of its own, without the seconds of its imports. (This process imports nothing heavy: its
    own memory would count as the peak of all that it starts.)"""
    whole = measured([sys.executable, "-c", TIMED.format(what)], place)
    return Cost(*json.loads((place / "said.txt").read_text().splitlines()[-1]), whole.megabytes)


def snakemake(name: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--configfile", f"{name}.yaml",
            "--cores", "1", "-n", *more]  # fmt: skip


def job_of_a_cluster(name: str, job: str) -> list[str]:
    """How an executor calls Snakemake inside a job, as far as reading the Snakefile and the plan goes."""
    wildcards = ",".join(
        f"{key}={value}" for key, value in zip(("task", "method", "chunk"), job.split("/"), strict=True)
    )
    return snakemake(name, "--target-jobs", f"runs:{wildcards}", "--allowed-rules", "runs", "--nolock", "--force",
                     "--force-use-threads", "--max-inventory-time", "0", "--mode", "remote")  # fmt: skip


def make_results(results: Path, receipts: bool) -> None:
    """A record for each planned run, and the receipts of the jobs."""
    plan = json.loads((results / "plan.json").read_bytes())
    for run in plan["runs"]:
        record = of_run(run, plan)
        path = write(results, record, run["path"])
        if run["seed"] == 0:
            history(path.parent, record)
    for job in [f"starts/{task}" for task in plan["start_jobs"]] + plan["jobs"] if receipts else []:
        receipt = results / "jobs" / f"{job}.json"
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_text(json.dumps({"job": job}))


def steps(runs: int, place: Path) -> Iterator[tuple[str, Cost]]:
    """What is measured at one size, in the order in which a user meets it."""
    for title, runs_per_job in CHUNKS.items():
        name = f"scale_{runs}_{runs_per_job}"
        (place / f"{name}.yaml").write_text(yaml.safe_dump(experiment(runs, runs_per_job)))
        results = place / "results" / name
        yield f"snakemake -n, {title}: planned", measured(snakemake(name), place, "This was a dry-run")
        yield f"snakemake -n, {title}: plan kept", measured(snakemake(name), place, "This was a dry-run")
        job = json.loads((results / "plan.json").read_bytes())["jobs"][0]
        yield f"start of a cluster job, {title}", measured(job_of_a_cluster(name, job), place, "This was a dry-run")
        yield f"plan read by a job, {title}", inside(READ.format(str(results / "plan.json"), job), place)
        make_results(results, receipts=True)
        if runs_per_job == 1:
            yield "gather", inside(GATHER.format(str(results)), place)
            report = [sys.executable, "-m", "squeezebench", "report", str(results)]
            yield "squeezebench report", measured(report, place)
            yield f"snakemake -n, {title}: all there", measured(snakemake(name), place, "Nothing to be done")


def exponent(runs: list[int], seconds: list[float]) -> float | None:
    """k of `seconds - seconds[0] = c (runs - runs[0])^k` by least squares on logarithms; None where nothing grows."""
    more = np.array(seconds[1:]) - seconds[0]
    if len(more) < 2 or more[-1] < SMALLEST_GROWTH or (more <= 0).any():
        return None
    return float(np.polyfit(np.log(np.array(runs[1:]) - runs[0]), np.log(more), 1)[0])


def table(costs_of: dict[int, dict[str, Cost]]) -> str:
    """A row for each step, a column for each size."""
    sizes = sorted(costs_of)
    unfitted = "flat" if len(sizes) > 2 else "-"  # a line through one difference says nothing
    lines = [
        f"{'seconds / of a core (peak MB)':42}" + "".join(f"{size:>{WIDTH},}" for size in sizes) + f"{'exponent':>10}"
    ]
    for name in costs_of[sizes[0]]:
        costs = [costs_of[size][name] for size in sizes]
        cells = "".join(
            f"{f'{c.seconds:.1f} / {c.processor_seconds:.1f} ({c.megabytes:,.0f})':>{WIDTH}}" for c in costs
        )
        growth = exponent(sizes, [cost.processor_seconds for cost in costs])
        lines.append(f"{name:42}{cells}{unfitted if growth is None else format(growth, '.2f'):>10}")
    return "\n".join(lines)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[500, 2500, 5000, 10000, 20000])
    wanted = parser.parse_args()
    costs_of: dict[int, dict[str, Cost]] = {}
    with tempfile.TemporaryDirectory() as place:
        for runs in sorted(wanted.runs):
            costs_of[runs] = {}
            for name, cost in steps(runs, Path(place)):
                costs_of[runs][name] = cost
                print(f"{runs:,} {name}: {cost.seconds:.1f} s", file=sys.stderr, flush=True)
        print(table(costs_of))  # before 100,000 files are deleted, which may take minutes
    print(f"load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    costs = {runs: {name: asdict(cost) for name, cost in by_step.items()} for runs, by_step in costs_of.items()}
    write_json(wanted.json, {"machine": machine(), "costs": costs})


if __name__ == "__main__":
    main()
