"""Core seconds of `make quick` outside training: the whole call of Snakemake against what its records say of training.

    python -m benchmarks.throughput [--whole] [--seeds N] [--json FILE]

Without `--whole` it is the third of the experiment that is on one task, in which the seconds that every call costs once
(reading the workflow, planning, the report) weigh three times as much. Core seconds are those of the processors, user
and system, of Snakemake and all that it starts. Training is all stages and the dense pretrainings, with the validation
after each epoch.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks import scale
from benchmarks.timing import machine, parser_of, write_json
from squeezebench.schema.record import Record, read_record, record_files

ROOT = Path(__file__).resolve().parents[1]
TASK = "japanese_vowels"


def call(folder: Path) -> float:
    """Core seconds of `snakemake --cores 1` on `quick.yaml` in `folder`. Raises SystemExit if it fails."""
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-s", str(ROOT / "Snakefile"),
               "--configfile", "quick.yaml"]  # fmt: skip
    return scale.measured(command, folder).processor_seconds


def training(records: list[Record]) -> float:
    """Core seconds of all stages; a dense pretraining, which several records share, counts once."""
    own = sum(stage.core_seconds or 0.0 for record in records for stage in record.stages if not stage.shared)
    shared = {
        record.provenance.start_digest: stage.core_seconds or 0.0
        for record in records
        for stage in record.stages
        if stage.shared
    }
    return own + sum(shared.values())


def measured(whole_experiment: bool, seeds: int) -> dict[str, float]:
    """Core seconds of one call in a folder of its own, and how they divide."""
    experiment = yaml.safe_load((ROOT / "config" / "quick.yaml").read_text())
    if not whole_experiment:
        experiment["tasks"] = {TASK: experiment["tasks"][TASK]}
    experiment["seeds"] = experiment["seeds"][:seeds]
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "quick.yaml").write_text(yaml.safe_dump(experiment, sort_keys=False))
        whole = call(Path(place))
        results = Path(place) / "results" / "quick"
        records = [read_record(path) for path in record_files(results)]
        plan = json.loads((results / "plan.json").read_bytes())
    trained = training(records)
    return {
        "runs": len(records),
        "jobs": len(plan["jobs"]) + len(plan["start_jobs"]),
        "core_seconds": whole,
        "training_core_seconds": trained,
        "share_outside": 1 - trained / whole,
        "latencies_measured": sum(record.cost is not None and not record.cost.latency_from for record in records),
        "latencies_shared": sum(record.cost is not None and bool(record.cost.latency_from) for record in records),
    }


def main(argv: list[str] | None = None) -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--whole", action="store_true", help="all three tasks, as `make quick`")
    parser.add_argument("--seeds", type=int, default=3, help="of the three that the experiment has")
    wanted = parser.parse_args(argv)
    result = measured(wanted.whole, wanted.seeds)
    print("\n".join(f"{name.replace('_', ' '):24}{value:10.3f}" for name, value in result.items()))
    write_json(wanted.json, {"machine": machine(), "whole": wanted.whole, "throughput": result})


if __name__ == "__main__":
    main()
