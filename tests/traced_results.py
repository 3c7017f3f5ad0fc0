"""Synthetic results that give every part of the report something to say, for the tests that recompute it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

from synthetic_records import answered, make, record, write

from squeezebench.schema.printed import PublishedTable
from squeezebench.schema.record import Record, read_record

VIB, DENSE, SMALL = {"method": "vib_lstm"}, {"method": "dense"}, {"method": "small_dense"}
PAPER = [
    {"name": "table2", "title": "Table 2", "printed": "viblstm_t2", "task": "digits", "backbone": "inception_v3",
     "rows": {"Naive-LSTM": DENSE, "VIB-LSTM": VIB, "ISS": {"method": "iss", "at_least": 4.0},
              "TR-LSTM": {"method": "tt_lstm", "where": {"rank": 777}}}, "also": {"Smaller": SMALL}},
    {"name": "appendix1", "title": "Appendix 1", "printed": "viblstm_appT1", "layout": "ladder", "task": "digits",
     "rows": {"2048 x 674": VIB, "28 x 8": DENSE}},
    {"name": "leak", "title": "Leak", "layout": "splits", "left": "digits", "right": "basic_motions",
     "rows": {"VIB-LSTM": VIB, "Gone": {"method": "iss", "where": {"strength": 9.0}}}},
    {"name": "figure5", "title": "Figure 5", "layout": "sweep", "setting": "beta", "task": "digits",
     "rows": {"VIB": VIB}},
    {"name": "figure2", "title": "Figure 2", "layout": "classes", "task": "digits",
     "rows": {"Dense": DENSE, "VIB": VIB}},
    {"name": "figure3", "title": "Figure 3", "layout": "ratios", "printed": "viblstm_t2", "task": "digits",
     "rows": {"Naive-LSTM": DENSE, "VIB-LSTM": VIB}, "also": {"Pooled": {"method": "pooled_linear"}}},
    {"name": "figure4", "title": "Figure 4", "layout": "size", "printed": "viblstm_t3_hmdb51", "task": "digits",
     "rows": {"VIB-LSTM": VIB}, "also": {"Smaller": SMALL}},
]  # fmt: skip
SETTINGS = {  # settings that the claims ask for
    "vib_lstm": {"front": "last", "group_lasso": 0, "mask_gates": True, "mask_features": True, "scale": "dataset",
                 "finalise": "standard"},
    "dense": {"front": "last"}, "small_dense": {"front": "last"},
}  # fmt: skip
SEEDS = 5
ANSWERED = (("dense", 0), ("vib_lstm", 1), ("small_dense", 0), ("small_dense", 1))  # method, place on its grid
EMPTY = {"accuracy": {}, "counts": None, "confusion": None, "cost": None, "baseline": None}


def rewrite(path: Path, change: Callable[[dict], None]) -> None:
    """A record with other content, and the digest that goes with it."""
    content = json.loads((path / "record.json").read_text())
    content.pop("digest")
    change(content)
    write(path, Record.model_validate(content), ".")


def results(folder: Path) -> Path:
    """Records: failed, skipped, missing, stale, left out, as released; published tables and claims."""
    make(folder, steps=3, seeds=SEEDS)
    for path in folder.glob("runs/*/*/*/seed-*"):
        rewrite(path, lambda one: one["settings"].update(SETTINGS.get(one["method"], {})))
    runs = sorted(folder.glob("runs/*/*/*/seed-*"))

    def place(task, method, step, seed) -> Path:
        return next(p for p in runs if p.match(f"{task}/{method}/{step}-*/seed-{seed}"))

    rewrite(place("digits", "iss", 0, 1), lambda one: one.update(status="failed", reason="loss is NaN", **EMPTY))
    rewrite(place("digits", "tt_lstm", 1, 2), lambda one: one.update(status="skipped", reason="no such rank", **EMPTY))
    shutil.rmtree(place("digits", "magnitude", 2, 0))
    old = {"engine_digest": "0" * 64}
    rewrite(place("japanese_vowels", "iss", 1, 0), lambda one: one["provenance"].update(old))
    for seed in range(SEEDS):
        for method, step in ANSWERED:  # these records hold their predictions, the others are of an earlier version
            path = place("digits", method, step, seed)
            write(folder, answered(read_record(path / "record.json")), path.relative_to(folder).as_posix())
        accuracy = {"validation": 0.9, "test": 0.93 + 0.002 * seed, "test_final_epoch": 0.92 - 0.001 * seed}
        write(folder, record("digits", "vib_lstm", 1, seed, protocol="as_released", accuracy=accuracy),
              f"runs/digits/released/seed-{seed}")  # fmt: skip
    # The best of all on its task, which the plan does not have.
    gone = record("digits", "vib_lstm", 2, 7, 3, accuracy={"validation": 1.0, "test": 1.0})
    write(folder, gone, "runs/digits/vib_lstm/gone/seed-7")
    plan = json.loads((folder / "plan.json").read_text())
    del plan["protocol"]  # one plan stands for two protocols
    plan["runs"] += [{"task": "digits", "method": "vib_lstm", "settings": {}, "seed": seed,
                      "path": f"runs/digits/released/seed-{seed}"} for seed in range(SEEDS)]  # fmt: skip
    plan["config"]["tables"] = [PublishedTable.model_validate(table).model_dump(mode="json") for table in PAPER]
    (folder / "plan.json").write_text(json.dumps(plan))
    return folder


def same(text: str, value) -> bool:
    """A cell of a CSV file against what it should be; NaN and None: empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return text == ""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return text != "" and math.isclose(float(text), value, rel_tol=1e-8, abs_tol=1e-11)
    return text == str(value)
