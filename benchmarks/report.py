"""Seconds and megabytes of the report on a synthetic experiment of so many records.

    python -m benchmarks.report [--records 2000] [--json FILE]

The report's own code runs on one core, so what other programs do on the machine is in the wall's seconds, not in the
processor's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.timing import parser_of, write_json
from squeezebench.report.page import build

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from synthetic_records import METHODS, TASKS, make

SEEDS = 3


def measured(records: int) -> dict[str, float]:
    """Seconds and sizes of a report on at least so many records."""
    grids = len(TASKS) * SEEDS
    fixed = sum(setting is None for _, _, setting, _, _ in METHODS.values())
    steps = -(-(records - grids * fixed) // (grids * (len(METHODS) - fixed)))
    with tempfile.TemporaryDirectory() as place:
        number = len(make(Path(place), steps=max(1, steps), seeds=SEEDS))
        wall, processor = time.perf_counter(), time.process_time()
        page = build(Path(place))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        beside = sum(path.stat().st_size for part in ("tables", "figures") for path in (Path(place) / part).iterdir())
        return {"records": number, "seconds": wall, "processor_seconds": processor,
                "page_megabytes": page.stat().st_size / 1e6, "megabytes_beside": beside / 1e6}  # fmt: skip


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--records", type=int, default=2000)
    wanted = parser.parse_args()
    measurement = measured(wanted.records)
    seconds = f"{measurement['seconds']:.1f} s ({measurement['processor_seconds']:.1f} s of one core)"
    sizes = f"page {measurement['page_megabytes']:.2f} MB, tables and figures {measurement['megabytes_beside']:.2f} MB"
    print(f"{measurement['records']:,.0f} records: {seconds}, {sizes}")
    write_json(wanted.json, measurement)


if __name__ == "__main__":
    main()
