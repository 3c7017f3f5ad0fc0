"""What the Snakefile needs: the plan, made once and read back cheaply (each cluster job parses the Snakefile again).

Nothing here imports torch, pandas or aeon; the plan itself, which has to import the methods, is made by a
subprocess when the configuration, a method file or the engine has changed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .discovery import find_methods
from .errors import InputError
from .experiment import suffix
from .provenance import engine_digest
from .record import RECORD_NAME, RecordError, digest_of, read_record
from .tuning.result import TuningError, read_result


def load_plan(config: dict[str, Any], where: str, results: Path = Path("results")) -> dict[str, Any]:
    """The plan of an experiment as plain JSON. Raises InputError with the one line that is wrong."""
    plugins = config.get("plugins") or []
    methods = find_methods(map(str, plugins if isinstance(plugins, list) else [plugins]))
    key = digest_of(
        [config, where, engine_digest(), {name: file.digest for name, file in methods.items()}, _data(config)]
    )
    name = f"{config.get('name', Path(where).stem)}{suffix(config)}"
    path = results / name / "plan.json"
    plan = _read(path)
    if plan.get("key") == key:
        return _without_false_receipts(plan, path.parent)
    command = [sys.executable, "-m", "squeezebench", "plan", where, "--config-from-stdin", "--key", key]
    made = subprocess.run(
        [*command, "--results", str(results)], input=json.dumps(config), capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise InputError(made.stderr.strip() or f"squeezebench plan failed with exit code {made.returncode}")
    return _without_false_receipts(_read(path), path.parent)


def _read(path: Path) -> dict[str, Any]:
    """The plan, or nothing where there is none that can be read."""
    try:
        plan = json.loads(path.read_bytes())
    except (OSError, ValueError):  # half written or damaged: made anew
        return {}
    return plan if isinstance(plan, dict) else {}


def _without_false_receipts(plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A receipt says that all runs of its job have a record. Where one was deleted or damaged since, the receipt
    goes, so that Snakemake makes its job again; the records that are sound are kept."""
    if "--mode" in sys.argv:  # Snakemake inside a job of its own: the call that started it has looked already
        return plan
    for run in plan["runs"]:
        receipt = folder / "jobs" / f"{run['job']}.json"
        if receipt.exists():
            try:
                read_record(folder / run["path"] / RECORD_NAME)
            except RecordError:
                receipt.unlink()
    for tuning in plan["tunings"]:
        receipt = folder / "jobs" / "tuning" / f"{tuning['job']}.json"
        if receipt.exists():
            try:
                read_result(folder / tuning["path"])
            except TuningError:
                receipt.unlink()
    return plan


def _data(config: dict[str, Any]) -> list[Any]:
    """Size and time of the data files that tasks name, so that a changed file makes a new plan."""
    tasks = config.get("tasks")
    paths = [
        Path(str(entry["options"]["path"]))
        for entry in (tasks.values() if isinstance(tasks, dict) else [])
        if isinstance(entry, dict) and isinstance(entry.get("options"), dict) and "path" in entry["options"]
    ]
    paths += [Path(str(config["features"]))] if config.get("features") else []
    paths = [path.expanduser() for path in paths]
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] if p.exists() else [str(p)] for p in paths]
