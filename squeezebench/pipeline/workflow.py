"""What the Snakefile needs: the plan, made once and read back cheaply (each cluster job parses the Snakefile again).

Nothing here imports torch, pandas or aeon; the plan itself, which has to import the methods, is made by a
subprocess when the configuration, a plugin or the engine has changed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from squeezebench.base.contents import files_below
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import stamp_of
from squeezebench.base.reading import planned_path, read_json
from squeezebench.base.yaml_file import load_yaml, parse_yaml
from squeezebench.data.sources import find_sources
from squeezebench.engine.provenance import engine_digest
from squeezebench.method.discovery import find_methods
from squeezebench.pipeline.devices import refuse_without_gpu
from squeezebench.pipeline.isolation.occupied import inside_a_job, leave, looks_only, occupy, runs_elsewhere
from squeezebench.schema.experiment import NAME, Experiment, laid_over, suffix, variant
from squeezebench.schema.plan import check_origin
from squeezebench.schema.record import RECORD_NAME, RecordError, read_record
from squeezebench.schema.stored import StoredError, refuse_newer
from squeezebench.schema.tuning_result import TuningError, read_result


def read_config(files: list[str], given: Mapping[str, Any], words: list[str]) -> dict[str, Any]:
    """What `--configfile` and `--config` of Snakemake say, read again: its own reader is of YAML 1.1, so that `yes` is
    true and a date no text, and of two equal keys it takes the last one.

    files: later ones are laid over earlier ones. given: the values of `--config` as Snakemake has read them. words: its
    command line. Raises InputError in one line.
    """
    config: dict[str, Any] = {}
    for file in files:
        content = load_yaml(Path(file))
        if not isinstance(content, dict):
            raise InputError(f"{file}: an experiment is a mapping with the keys {', '.join(Experiment.model_fields)}")
        config = laid_over(config, content)
    for key, value in given.items():  # of a profile, if the command line does not have it
        texts = [text for word in words if (text := word.removeprefix("--config=")).startswith(f"{key}=")]
        value = parse_yaml(texts[-1].partition("=")[2], f"--config {key}") if texts else value
        config = laid_over(config, {key: value})
    return config


def load_plan(config: dict[str, Any], files: list[str], results: Path = Path("results")) -> dict[str, Any]:
    """The plan of an experiment as plain JSON, in a folder of results that is this Snakemake's until it ends.

    files: where `config` was read; the last one names the experiment. Raises InputError in one line.
    """
    where = files[-1]
    plugins = _plugins(config, where)
    code = [*find_methods(plugins).values(), *find_sources(plugins).values()]
    for file in code:
        if "{" in str(file.path):
            raise InputError(f"plugins: {file.path}: Snakemake would fill in what is in braces; rename the folder")
    ours = inside_a_job(sys.argv)  # a job belongs to the plan that it was submitted of
    data = [] if ours else _data(config, where)
    key = digest_of([config, where, engine_digest(), {f"{file.kind} {file.name}": file.digest for file in code}, data])
    name = f"{config.get('name', Path(where).stem)}{suffix(config)}"
    path = results / name / "plan.json"
    if re.fullmatch(NAME, name):
        occupy(path.parent)
    plan = _read(path)
    refuse_newer(path, plan)
    if not ours:
        check_origin(path, files)
    if (ours or plan.get("key") == key) and _is_ours(plan, name, plugins):
        return _checked(plan, path.parent, where)
    command = [sys.executable, "-m", "squeezebench", "plan", where, "--config-from-stdin", "--key", key]
    command += ["--elsewhere", "--files", *files]
    return _checked(_planned(command, config, results, name), path.parent, where)


def _planned(command: list[str], config: dict[str, Any], results: Path, name: str) -> dict[str, Any]:
    """Make a new plan. One of a call that makes no run, as `snakemake -n`, goes nowhere: the plan of the runs that are
    there is what a report holds them against."""
    with TemporaryDirectory() if looks_only(sys.argv[1:]) else nullcontext(results) as place:
        words = [*command, "--results", str(place)]
        done = subprocess.run(words, input=json.dumps(config), capture_output=True, text=True, check=False)
        if done.returncode:
            leave(results / name)
            raise InputError(done.stderr.strip() or f"squeezebench plan failed with exit code {done.returncode}")
        return _read(Path(place) / name / "plan.json")


def _checked(plan: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """The plan, if this machine can make its runs, without receipts that are false."""
    words = sys.argv[1:]
    if not (inside_a_job(sys.argv) or looks_only(words) or runs_elsewhere(words)):
        trainings = {name: task.get("training") or {} for name, task in (plan.get("tasks") or {}).items()}
        refuse_without_gpu({name: training.get("device") for name, training in trainings.items()}, where)
    return _without_false_receipts(plan, folder)


def _read(path: Path) -> dict[str, Any]:
    """The plan, or nothing if there is none that can be read."""
    try:
        plan = read_json(path)
    except (OSError, ValueError):  # half written or damaged: made anew
        return {}
    return plan if isinstance(plan, dict) else {}


def _plugins(config: dict[str, Any], where: str) -> list[str]:
    """The files and folders of plugins that the configuration names, those of its variants too."""
    plugins = variant(config, where).get("plugins") or []
    return list(map(str, plugins if isinstance(plugins, list) else [plugins]))


def _is_ours(plan: dict[str, Any], name: str, plugins: list[str]) -> bool:
    """Whether a plan that has the right key can be what `squeezebench plan` wrote. The key is no secret: a folder of
    results may come from somebody else, with a plan that names code of theirs, or files elsewhere."""
    try:
        for run in plan["runs"]:
            planned_path(run["path"]), planned_path(run["job"])
        for tuning in plan["tunings"]:
            planned_path(tuning["path"]), planned_path(tuning["job"])
        for job in (*plan["jobs"], *plan["start_jobs"], *plan["data_jobs"]):
            planned_path(job)
        return plan["experiment"] == name and plan["plugins"] == plugins
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def _without_false_receipts(plan: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A receipt says that all runs of its job have a record. Where one was deleted or damaged since, the receipt
    goes, so that Snakemake makes its job again; the records that are sound are kept."""
    if inside_a_job(sys.argv):  # Snakemake inside a job of its own: the call that started it has looked already
        return plan
    for run in plan["runs"]:
        receipt = folder / "jobs" / f"{run['job']}.json"
        if receipt.exists():
            try:
                read_record(folder / run["path"] / RECORD_NAME)
            except RecordError as error:
                _remove(receipt, error)
    for tuning in plan["tunings"]:
        receipt = folder / "jobs" / "tuning" / f"{tuning['job']}.json"
        if receipt.exists():
            try:
                read_result(folder / tuning["path"])
            except TuningError as error:
                _remove(receipt, error)
    return plan


def _remove(receipt: Path, error: StoredError) -> None:
    """Remove the receipt of a damaged file; a file of another version stays, and the call stops."""
    if error.intact:
        raise error
    receipt.unlink()


def _data(config: dict[str, Any], where: str) -> list[Any]:
    """Names, sizes and times of all files that tasks and methods name, so that a changed file makes a new plan."""
    content = variant(config, where)
    tasks = content.get("tasks")
    entries = [entry for entry in tasks.values() if isinstance(entry, dict)] if isinstance(tasks, dict) else []
    options = [entry["options"] for entry in entries if isinstance(entry.get("options"), dict)]
    values = [value for given in options for value in given.values()]
    values += [content.get(name) for name in ("features", "clips", "lists", "weights")]
    values += _start_files([content.get("methods"), content.get("defaults")])
    places = sorted({value for value in values if isinstance(value, str)})
    paths = [path for place in places if (path := Path(place).expanduser()).exists()]
    return [[str(path), stamp_of(files_below(path))] for path in paths]


def _start_files(given: Any) -> list[Any]:
    """The `file` of each `start: {file: ...}` in the settings of methods."""
    if isinstance(given, list):
        return [file for part in given for file in _start_files(part)]
    if not isinstance(given, dict):
        return []
    start = given.get("start")
    return [start.get("file")] if isinstance(start, dict) else _start_files(list(given.values()))
