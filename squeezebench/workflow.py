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
from .provenance import engine_digest
from .record import digest_of


def load_plan(config: dict[str, Any], where: str, results: Path = Path("results")) -> dict[str, Any]:
    """The plan of an experiment as plain JSON. Raises InputError with the one line that is wrong."""
    plugins = config.get("plugins") or []
    methods = find_methods([plugins] if isinstance(plugins, str) else plugins)
    key = digest_of([config, where, engine_digest(), {name: file.digest for name, file in methods.items()}, _data(config)])
    name = str(config.get("name", Path(where).stem))
    path = results / name / "plan.json"
    if path.exists():
        try:
            plan = json.loads(path.read_bytes())
            if plan.get("key") == key:
                return plan
        except ValueError:
            pass  # half written or damaged: made anew
    command = [sys.executable, "-m", "squeezebench", "plan", where, "--config-from-stdin", "--key", key]
    made = subprocess.run(
        [*command, "--results", str(results)], input=json.dumps(config), capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise InputError(made.stderr.strip() or f"squeezebench plan failed with exit code {made.returncode}")
    return json.loads(path.read_bytes())


def _data(config: dict[str, Any]) -> list[Any]:
    """Size and time of the data files that tasks name, so that a changed file makes a new plan."""
    tasks = config.get("tasks")
    paths = [
        Path(str(entry["options"]["path"]))
        for entry in (tasks.values() if isinstance(tasks, dict) else [])
        if isinstance(entry, dict) and isinstance(entry.get("options"), dict) and "path" in entry["options"]
    ]
    paths += [Path(str(config["features"]))] if config.get("features") else []
    return [[str(p), p.stat().st_size, p.stat().st_mtime_ns] if p.exists() else [str(p)] for p in paths]
