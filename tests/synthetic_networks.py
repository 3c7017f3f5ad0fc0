"""Plausible synthetic records of an image task: LeNets, their widths cut by a few methods."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

from synthetic_records import ENGINE, history, latencies, record, write

from squeezebench.base.digests import digest_of
from squeezebench.schema.printed import PublishedTable
from squeezebench.schema.record import Record

DENSE = {"mnist_fc": [784, 300, 100], "mnist_conv": [20, 50, 800, 500]}
METHODS = {  # title, control, setting, points of error per factor of ten in size, noise
    "dense_network": ("Dense network", True, None, 0.0, 0.0008),
    "small_network": ("Small network", True, "width", 0.012, 0.002),
    "magnitude_units": ("Magnitude, units", True, "keep", 0.018, 0.002),
    "vibnet": ("VIBNet", False, "beta", 0.002, 0.0008),
}
VIB = {"method": "vibnet"}
PAPER = [
    {"name": "vibnet_table1", "title": "Table 1", "printed": "vibnet_t1", "layout": "networks", "task": "mnist_fc",
     "rows": {"VIBNet": VIB, "DN": {**VIB, "label": "DN's size"}, "L0": {"method": "vibnet", "where": {"beta": 777.0}},
              "VD": {"method": "small_network", "pick": "smallest"}},
     "also": {"Small": {"method": "small_network"}}},
    {"name": "vibnet_table2", "title": "Table 2", "printed": "vibnet_t2", "layout": "networks", "task": "mnist_conv",
     "rows": {"VIBNet": VIB, "BC-GHS": {"method": "small_network"}}},
    {"name": "frontier", "title": "Frontier", "printed": "vibnet_t1", "layout": "size", "task": "mnist_fc",
     "rows": {"VIBNet": VIB}, "also": {"Small": {"method": "small_network"}}},
]  # fmt: skip


def counts(task: str, kept: list[int]) -> tuple[dict[str, int], int]:
    """Counts of a network of these widths, and its multiply-accumulates."""
    if task == "mnist_fc":
        a, b, c = kept
        weights, neurons, bias = a * b + b * c + 10 * c, a + b + c, b + c + 10
        macs = weights
    else:
        a, b, c, d = kept
        weights, neurons, bias = 25 * a + 25 * a * b + c * d + 10 * d, 720 * a + 80 * b + c + d, a + b + d + 10
        macs = 25 * a * 24**2 + 25 * a * b * 8**2 + c * d + 10 * d
    total = weights + bias
    none = dict.fromkeys(("input_to_hidden", "hidden_to_hidden", "bias", "lstm_total"), 0)
    return none | {"head": total, "model_total": total, "weights": weights, "neurons": neurons}, macs


def network(task: str, method: str, step: int, seed: int, steps: int = 3, **changed) -> Record:
    """One finished run; `step` walks along the method's grid from large to small."""
    title, control, setting, loss, noise = METHODS[method]
    dice = random.Random(f"{task} {method} {step} {seed}")
    dense = DENSE[task]
    share = {"dense_network": 1.0}.get(method, 10 ** (-1.1 * (step + 1) / steps))
    kept = [max(2, round(width * share)) for width in dense]
    if method == "vibnet":
        kept = [width + dice.choice((0, 0, 1)) for width in kept]
    if method == "small_network":
        kept[0] = dense[0] if task == "mnist_fc" else kept[0]
    (base, dense_macs), (own, macs) = counts(task, dense), counts(task, kept)
    shrink = math.log10(base["weights"] / own["weights"])
    error = (0.0145 if task == "mnist_fc" else 0.008) + loss * shrink
    test = 1 - round(10_000 * max(0.0, error + dice.gauss(0, noise))) / 10_000
    size = 10_000
    value = {"width": round(share, 4), "keep": round(share, 4), "beta": 1e-5 * 4**step}.get(setting)
    varied = {setting: value} if setting else {}
    wrong = [round(1000 * (1 - test))] * 10
    confusion = [[1000 - wrong[i] if i == j else wrong[i] * (j == (i + 1) % 10) for j in range(10)] for i in range(10)]
    macs_of = {"macs": macs, "macs_closed_form": macs, "dense_macs": dense_macs}
    stored = {kind: {"bytes": scale * own["model_total"] + 700, "test": test} for kind, scale in
              (("float32", 4), ("float16", 2), ("int8", 1))}  # fmt: skip
    alike = record("digits", "dense", 0, seed)  # what does not depend on the kind of task
    return Record.model_validate(
        alike.model_dump()
        | {
            "task": task, "method": method, "method_title": title, "control": control, "varied": varied,
            "settings": {"network": "lenet_300_100", "learning_rate": 0.001} | varied, "confusion": confusion,
            "class_names": [str(digit) for digit in range(10)], "test_size": size, "counts": own,
            "accuracy": {"train": 1.0, "validation": 1 - max(0.0, error + dice.gauss(0, noise)), "test": test},
            "kept": {"structure": kept, "of_structure": dense},
            "baseline": {"name": f"{task} dense", "counts": base},
            "ratio": {"weights": base["weights"] / own["weights"],
                      "model_total": base["model_total"] / own["model_total"]},
            "cost": {
                "bytes": stored["float32"]["bytes"], "stored_as": stored, **macs_of,
                "peak_activation_bytes": 4 * own["neurons"], "dense_peak_activation_bytes": 4 * base["neurons"],
                **latencies("", own["weights"]), **latencies("dense_", base["weights"]),
                "same_runtime_dense_latency_ms": latencies("", base["weights"])["latency_ms"],
                "fastest_dense_latency_ms": {"1": 0.2, "10": 1.0},
                "fastest_dense_runtime": {"1": "PyTorch", "10": "oneDNN off"},
            },
        }
        | changed
    )  # fmt: skip


def make(folder: Path, tasks=tuple(DENSE), steps: int = 3, seeds: int = 5) -> Path:
    """A whole experiment on image tasks with its plan and the printed tables of VIBNet; returns its folder."""
    planned = []
    for task in tasks:
        for method in METHODS:
            for step in range(steps if METHODS[method][2] else 1):
                for seed in range(seeds):
                    one = network(task, method, step, seed, steps)
                    place = f"runs/{task}/{method}/{step}-{digest_of(one.settings)[:8]}/seed-{seed}"
                    path = write(folder, one, place)
                    if seed == 0:
                        history(path.parent, one)
                    planned.append({"task": task, "method": method, "settings": one.varied, "seed": seed,
                                    "path": place})  # fmt: skip
    tables = [PublishedTable.model_validate(table).model_dump(mode="json") for table in PAPER if table["task"] in tasks]
    plan = {"experiment": "synthetic networks", "description": "Synthetic records of image tasks.", "protocol": "sound",
            "config": {"seeds": seeds, "tables": tables}, "engine_digest": ENGINE, "runs": planned}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(plan, indent=1))
    return folder
