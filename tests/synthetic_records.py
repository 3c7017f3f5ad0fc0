"""Plausible synthetic records, for tests of the report and for measuring how it scales.

`python tests/synthetic_records.py FOLDER --records 2000` makes an experiment that `build_report` can read.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
from pathlib import Path

import numpy as np

from squeezebench.base.digests import digest_of
from squeezebench.schema.predictions import confusion_of, packed
from squeezebench.schema.record import Record

TASKS = {"digits": (8, 64, 10), "japanese_vowels": (12, 64, 9), "basic_motions": (6, 64, 4)}  # inputs, hidden, classes
METHODS = {  # title, control, setting, accuracy lost per factor of ten in size, noise
    "dense": ("Dense", True, None, 0.0, 0.006),
    "small_dense": ("Smaller dense", True, "hidden", 0.040, 0.008),
    "pooled_linear": ("Mean-pooled, linear", True, None, 0.0, 0.004),
    "random_units": ("Random units", True, "keep", 0.085, 0.016),
    "magnitude": ("Magnitude", True, "keep", 0.055, 0.010),
    "vib_lstm": ("VIB-LSTM", False, "beta", 0.018, 0.008),
    "iss": ("ISS", False, "strength", 0.030, 0.009),
    "tt_lstm": ("TT-LSTM", False, "rank", 0.045, 0.010),
}
ENGINE = "e" * 64


def counts(inputs: int, hidden: int, classes: int) -> dict[str, int]:
    """A standard LSTM with a linear head; hidden 0 is a model without a recurrence."""
    lstm = 4 * hidden * (inputs + hidden + 2)
    head = (hidden or inputs) * classes + classes
    return {
        "input_to_hidden": 4 * hidden * inputs,
        "hidden_to_hidden": 4 * hidden * hidden,
        "bias": 8 * hidden,
        "lstm_total": lstm,
        "head": head,
        "model_total": lstm + head,
    }


def _milliseconds(parameters: int) -> dict[str, float]:
    return {"1": 0.1 + parameters * 1e-5, "10": 0.3 + parameters * 4e-5}


def latencies(side: str, parameters: int) -> dict[str, dict]:
    """Median and quartiles by batch size."""
    medians = _milliseconds(parameters)
    quartiles = {batch: (0.95 * ms, 1.1 * ms) for batch, ms in medians.items()}
    return {f"{side}latency_ms": medians, f"{side}latency_quartiles_ms": quartiles}


def record(task: str, method: str, step: int, seed: int, steps: int = 5, **changed) -> Record:
    """One finished run; `step` walks along the method's grid from large to small."""
    inputs, width, classes = TASKS[task]
    title, control, setting, loss, noise = METHODS[method]
    dice = random.Random(f"{task} {method} {step} {seed}")
    base = counts(inputs, width, classes)
    position = (step + 1) / steps
    hidden = {"dense": width, "pooled_linear": 0}.get(method, max(1, round(width * 10 ** (-1.3 * position))))
    kept_inputs = inputs
    if method in ("vib_lstm", "iss") and hidden > 1:
        hidden = max(1, hidden + dice.choice((-1, 0, 0, 1)))
        kept_inputs = max(1, round(inputs * (1 - 0.5 * position)))
    own = counts(kept_inputs, hidden, classes)
    top = {"digits": 0.955, "japanese_vowels": 0.972, "basic_motions": 0.93}[task]
    shrink = max(0.0, math.log10(base["lstm_total"] / own["lstm_total"])) if own["lstm_total"] else 0.0
    accuracy = top - loss * shrink**1.6 - (0.19 if method == "pooled_linear" else 0)
    test = min(1.0, max(1 / classes, accuracy + dice.gauss(0, noise)))
    value = {"hidden": hidden, "keep": round(1 - 0.9 * position, 6), "beta": 0.01 * 4**step,
             "strength": 1e-5 * 3**step, "rank": 2 * (steps - step)}.get(setting)  # fmt: skip
    varied = {setting: value} if setting else {}
    size = 40 * classes
    right = [round(size / classes * min(1, max(0, test + dice.gauss(0, 0.05)))) for _ in range(classes)]
    confusion = [
        [right[i] if i == j else (size // classes - right[i]) * (j == (i + 1) % classes) for j in range(classes)]
        for i in range(classes)
    ]
    content = {
        "status": "ok",
        "experiment": "synthetic",
        "task": task,
        "method": method,
        "method_title": title,
        "settings": {"learning_rate": 0.001, "cell": "lstm"} | varied,
        "varied": varied,
        "seed": seed,
        "control": control,
        "training": {"epochs": 30, "batch_size": 32},
        "accuracy": {
            "train": min(1.0, test + 0.02),
            "validation": min(1.0, accuracy + dice.gauss(0, noise)),
            "test": test,
        },
        "before_fine_tuning": None if control else {"validation": 0.9 * accuracy, "test": 0.9 * test},
        "class_names": [f"class {i}" for i in range(classes)],
        "confusion": confusion,
        "test_size": size,
        "counts": own,
        "kept": {"inputs": kept_inputs, "hidden": [hidden], "of_inputs": inputs, "of_hidden": [width]},
        "baseline": {"name": f"dense {width}", "counts": base},
        "ratio": {
            "lstm_total": base["lstm_total"] / own["lstm_total"] if own["lstm_total"] else None,
            "model_total": base["model_total"] / own["model_total"],
        },
        "cost": {
            "bytes": 4 * own["model_total"] + 600,
            "stored_as": {
                "float32": {"bytes": 4 * own["model_total"] + 600, "test": test},
                "float16": {"bytes": 2 * own["model_total"] + 600, "test": test},
                "int8": {"bytes": own["model_total"] + 700, "test": max(0.0, test - dice.choice((0, 1, 3)) / size)},
            },
            "macs": 8 * own["lstm_total"] + own["head"],
            "dense_macs": 8 * base["lstm_total"] + base["head"],
            "peak_activation_bytes": 96 * hidden + 4 * classes,
            "dense_peak_activation_bytes": 96 * width + 4 * classes,
            **latencies("", own["lstm_total"]),
            **latencies("dense_", base["lstm_total"]),
            "same_runtime_dense_latency_ms": {b: 3 * ms for b, ms in _milliseconds(base["lstm_total"]).items()},
            "fastest_dense_latency_ms": {b: 0.8 * ms for b, ms in _milliseconds(base["lstm_total"]).items()},
            "fastest_dense_runtime": {"1": "oneDNN off", "10": "squeezebench"},
        },
        "stages": [
            {"name": "compress", "epochs": 20, "steps": 400, "seconds": 3.1},
            {"name": "fine-tune", "epochs": 10, "steps": 200, "seconds": 1.4},
        ],
        "seconds": {"train": 4.5 + dice.random(), "total": 6.0 + dice.random()},
        "provenance": {
            "squeezebench": "0.1.0",
            "inputs_digest": hashlib.sha256(f"{task}{method}{varied}{seed}".encode()).hexdigest(),
            "engine_digest": ENGINE,
            "method_digest": hashlib.sha256(method.encode()).hexdigest(),
            "split_digest": hashlib.sha256(task.encode()).hexdigest(),
            "packages": {"torch": "2.13.0", "numpy": "2.3.5", "pandas": "2.3.3"},
            "python": "3.11.2",
            "machine": "Linux x86_64, 2 cores",
            "threads": 1,
            "finished": f"2026-01-0{1 + seed % 9}T12:00:00Z",
        },
    }
    return Record.model_validate(content | changed)


def answered(one: Record, right: np.ndarray | None = None) -> Record:
    """The record with its predictions, and the confusion matrix and accuracy that follow: `right` says which test
    sequences are classified correctly, those of the first class first (default: the easiest ones, which all runs of a
    task agree on but for some noise, as many as its accuracy says)."""
    labels = np.repeat(np.arange(len(one.class_names)), 40)
    if right is None:
        dice = np.random.default_rng(one.seed + 100 * len(one.method))
        ease = np.random.default_rng(0).normal(size=len(labels)) + 0.5 * dice.normal(size=len(labels))
        right = ease >= np.quantile(ease, 1 - one.accuracy.test)
    predicted = np.where(right, labels, (labels + 1) % len(one.class_names))
    return one.model_copy(update={
        "confusion": confusion_of(labels, predicted, len(one.class_names)).tolist(),
        "predictions": packed(labels, predicted),
        "accuracy": one.accuracy.model_copy(update={"test": float(right.mean())}),
        "test_size": len(labels),
    })  # fmt: skip


def of_run(run: dict, plan: dict, steps: int = 10) -> Record:
    """A plausible record of a run of a plan (as JSON), whose place on its method's grid is drawn by its settings."""
    dice = random.Random(digest_of(run["settings"]))
    alike = sorted(TASKS)[len(run["task"]) % len(TASKS)]
    made = record(alike, run["method"], dice.randrange(steps), run["seed"], steps)
    task, method = (plan.get(part, {}).get(run[part[:-1]], {}) for part in ("tasks", "methods"))
    digests = {"engine_digest": plan["engine_digest"], "digest_rule": plan.get("digest_rule", 1)}
    origin = made.provenance.model_copy(update=digests | {"method_digest": method.get("digest", "")})
    planned = {key: run[key] for key in ("task", "settings", "varied")}
    planned |= {key: task[name] for key, name in (("training",) * 2, ("model",) * 2, ("task_spec", "spec"))
                if name in task} | {"fingerprint": task.get("fingerprint", "")}  # fmt: skip
    return made.model_copy(update={**planned, "experiment": plan["experiment"], "provenance": origin})


def write(folder: Path, one: Record, place: str | None = None) -> Path:
    """Write a record where the engine would; without fsync, so that thousands take seconds."""
    label = digest_of(one.settings)[:8]
    place = place or f"runs/{one.task}/{one.method}/{label}/seed-{one.seed}"
    content = one.model_dump(mode="json")
    content["digest"] = digest_of(content)
    path = folder / place / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True))
    return path


def history(folder: Path, one: Record) -> None:
    """A history.csv beside a record: two stages, accuracy rising."""
    lines = ["stage,epoch,step,loss,penalty,validation_accuracy,kept_inputs,kept_hidden"]
    for stage, epochs in (("compress", 20), ("fine-tune", 10)):
        for epoch in range(1, epochs + 1):
            rise = 1 - math.exp(-epoch / 4)
            accuracy = one.accuracy.validation * (rise if stage == "compress" else 0.97 + 0.03 * rise)
            lines.append(f"{stage},{epoch - 1},{20 * epoch},{1.2 - rise:.4f},0.1,{accuracy:.4f},,")
    (folder / "history.csv").write_text("\n".join(lines) + "\n")


def make(folder: Path, *, tasks=tuple(TASKS), methods=tuple(METHODS), steps: int = 5, seeds: int = 3) -> list[Record]:
    """A whole experiment with its plan; returns its records."""
    records, planned = [], []
    for task in tasks:
        for method in methods:
            for step in range(steps if METHODS[method][2] else 1):
                for seed in range(seeds):
                    one = record(task, method, step, seed, steps)
                    path = write(folder, one, f"runs/{task}/{method}/{step}-{digest_of(one.settings)[:8]}/seed-{seed}")
                    if seed == 0:
                        history(path.parent, one)
                    records.append(one)
                    planned.append({"task": task, "method": method, "settings": one.varied, "seed": seed,
                                    "path": path.parent.relative_to(folder).as_posix()})  # fmt: skip
    plan = {
        "experiment": "synthetic",
        "description": "Synthetic records that look like a small experiment.",
        "protocol": "sound",
        "config": {"seeds": seeds},
        "engine_digest": ENGINE,
        "runs": planned,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.json").write_text(json.dumps(plan, indent=1))
    return records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--records", type=int, default=300)
    wanted = parser.parse_args()
    grids = len(TASKS) * sum(bool(setting) for _, _, setting, _, _ in METHODS.values()) * 3
    print(len(make(wanted.folder, steps=max(1, round(wanted.records / grids)))), "records")
