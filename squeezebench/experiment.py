"""Experiment files: YAML -> validated experiment -> the plan of all its runs.

Everything is checked before anything runs: an unknown key, task, method or knob is one line that names the file, the
key and what is allowed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
)

from .discovery import MethodFile, find_methods, load, near_matches, pick
from .errors import InputError
from .method import Method, RecurrentSettings
from .record import digest_of
from .task import TaskSpec, parse_options
from .training import TrainingSettings

TASK_KEYS = ("training", "model")  # of a task's entry: they override the experiment's


class Experiment(BaseModel):
    """An experiment file. `methods` maps a method to its knobs; a list of values is a grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    protocol: Literal["sound", "as_released"] = "sound"
    tasks: list[str] | dict[str, dict[str, Any] | None]
    methods: dict[str, dict[str, Any] | list[dict[str, Any]] | None]
    seeds: list[NonNegativeInt] = [0, 1, 2]
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    features: str | None = None  # stands for ${features} in the options of tasks: the path of the user's own data
    plugins: list[str] = []  # method files or folders of them; a method that `methods` does not list joins as it is
    runs_per_job: PositiveInt = 1000  # runs of one method on one task that share a process (cluster: 1)

    @field_validator("tasks", "seeds")
    @classmethod
    def _each_once(cls, values: Any) -> Any:
        if twice := [value for value in values if isinstance(values, list) and values.count(value) > 1]:
            raise ValueError(f"{twice[0]} is given twice")
        return values

    def task_entries(self) -> dict[str, dict[str, Any]]:
        """Task name -> its entry, in the file's order."""
        if isinstance(self.tasks, list):
            return {name: {} for name in self.tasks}
        return {name: self._filled(name, dict(entry or {})) for name, entry in self.tasks.items()}

    def _filled(self, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        options = entry.get("options")
        if isinstance(options, dict) and "${features}" in map(str, options.values()):
            if self.features is None:
                raise InputError(f"{self.name}: tasks: {name}: needs the path of its data: --config features=PATH")
            entry["options"] = {k: self.features if v == "${features}" else v for k, v in options.items()}
        return entry


class PlannedRun(BaseModel):
    """One run of a plan; what all runs of a task share is kept once, with the task."""

    task: str
    method: str
    settings: dict[str, Any]
    varied: dict[str, Any]
    seed: int
    path: str  # relative to the results folder
    job: str


class PlannedTask(BaseModel):
    spec: TaskSpec
    fingerprint: str
    training: TrainingSettings
    model: RecurrentSettings


class PlannedMethod(BaseModel):
    path: str | None
    digest: str
    needs_start: bool
    error: str | None = None  # a method file that cannot be used: its runs become failed records


class Plan(BaseModel):
    """What `squeezebench plan` writes and every later step reads."""

    experiment: str
    description: str
    protocol: str
    config: dict[str, Any]
    engine_digest: str
    plugins: list[str]
    tasks: dict[str, PlannedTask]
    methods: dict[str, PlannedMethod]
    runs: list[PlannedRun]
    start_jobs: list[str]
    jobs: list[str]


class _UniqueKeys(yaml.SafeLoader):
    """A key that is given twice would silently lose what the first one says."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def load_yaml(path: Path) -> Any:
    """What a YAML file holds. Raises InputError in one line."""
    try:
        return yaml.load(path.read_text("utf-8"), _UniqueKeys)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no text, or no such date
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {getattr(error, 'problem', error)}") from None


def read_experiment(path: Path, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read and check an experiment file; `overrides` replace top-level keys (Snakemake's --config)."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: an experiment is a mapping with the keys {', '.join(Experiment.model_fields)}")
    return check_experiment({"name": path.stem} | content | (overrides or {}), str(path))


def check_experiment(content: dict[str, Any], where: str) -> Experiment:
    """A validated experiment from a mapping; `where` names its source in errors."""
    content = dict(content)
    if isinstance(content.get("plugins"), str):
        content["plugins"] = [content["plugins"]]
    for key in content:
        if key not in Experiment.model_fields:
            raise InputError(f"{where}: unknown key {key!r}; {near_matches(str(key), Experiment.model_fields)}")
    return _validated(Experiment, content, where)


def _validated(model: type[BaseModel], content: dict[str, Any], where: str) -> Any:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) if str(part).isprintable() else repr(part) for part in first["loc"])
        given = f" (got {first['input']!r})" if not isinstance(first["input"], dict | list) else ""
        if first["type"] == "extra_forbidden":
            allowed = near_matches(place.rsplit(".", 1)[-1], model.model_fields)
            raise InputError(f"{where}: unknown key {place!r}; {allowed}") from None
        raise InputError(f"{where}: {place}: {first['msg'].removeprefix('Value error, ')}{given}") from None


def make_plan(experiment: Experiment, where: str) -> Plan:
    """Resolve every run. Raises InputError before anything is trained; a broken method file only fails its own runs."""
    from .provenance import engine_digest

    found = find_methods(experiment.plugins)
    listed = dict(experiment.methods)
    for name, file in find_methods(experiment.plugins).items():
        if file.path is not None and name not in listed and name not in find_methods():
            listed[name] = {}
    tasks = {name: _task(name, entry, experiment, where) for name, entry in experiment.task_entries().items()}
    methods: dict[str, PlannedMethod] = {}
    runs: list[PlannedRun] = []
    for name, given in listed.items():
        file = pick(found, name)
        planned, method = _method(file)
        methods[name] = planned
        for task_name, task in tasks.items():
            grid = list(_grid(given, f"{where}: methods: {name}"))
            points = [_point(point, method, task, f"{where}: methods") for point in grid] if method else [({}, {})]
            cells = [(*point, seed) for point in _unique(points) for seed in experiment.seeds]
            for number, (settings, varied, seed) in enumerate(cells):
                folder = f"runs/{task_name}/{name}/{_slug(varied, settings)}/seed-{seed}"
                job = f"{task_name}/{name}/{number // experiment.runs_per_job}"  # a digest takes its place below
                runs.append(
                    PlannedRun(
                        task=task_name, method=name, settings=settings, varied=varied, seed=seed, path=folder, job=job
                    )
                )
    if not runs:
        raise InputError(f"{where}: no runs: give at least one task, one method and one seed")
    runs = _named_jobs(runs, tasks, experiment.protocol)
    needing = {run.task for run in runs if methods[run.method].needs_start}
    return Plan(
        experiment=experiment.name,
        description=experiment.description,
        protocol=experiment.protocol,
        config=experiment.model_dump(mode="json"),
        engine_digest=engine_digest(),
        plugins=experiment.plugins,
        tasks=tasks,
        methods=methods,
        runs=runs,
        start_jobs=sorted(needing),
        jobs=list(dict.fromkeys(run.job for run in runs)),
    )


def _named_jobs(runs: list[PlannedRun], tasks: dict[str, PlannedTask], protocol: str) -> list[PlannedRun]:
    """Name each job by a digest of what it runs, so that an edited experiment reruns what it changes, and only that."""
    members: dict[str, list[PlannedRun]] = {}
    for run in runs:
        members.setdefault(run.job, []).append(run)
    shared = {name: [protocol, task.model_dump(mode="json")] for name, task in tasks.items()}
    names = {
        job: f"{job.rpartition('/')[0]}/{digest_of([shared[some[0].task], [(r.settings, r.seed) for r in some]])[:12]}"
        for job, some in members.items()
    }
    return [run.model_copy(update={"job": names[run.job]}) for run in runs]


def _task(name: str, entry: dict[str, Any], experiment: Experiment, where: str) -> PlannedTask:
    here = f"{where}: tasks: {name}"
    own = {key: entry.pop(key) for key in TASK_KEYS if entry.get(key) is not None}
    for key, value in own.items():
        if not isinstance(value, dict):
            raise InputError(f"{here}: {key}: give a mapping (got {value!r})")
    own = {key: own.get(key, {}) for key in TASK_KEYS}
    if "name" in entry:
        raise InputError(f"{here}: unknown key 'name'; a task is named by its key under `tasks`, its data by `source`")
    spec = _validated(TaskSpec, {"name": name} | entry, here)
    try:
        parse_options(spec)
        data = fingerprint(spec)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    training = _validated(TrainingSettings, experiment.training | own["training"], f"{where}: training")
    model = _validated(RecurrentSettings, experiment.model | own["model"], f"{where}: model")
    return PlannedTask(spec=spec, fingerprint=data, training=training, model=model)


def fingerprint(spec: TaskSpec) -> str:
    """Identifies the data files a task reads by name, size and their first and last MiB (whole features are too long
    to hash at each plan)."""
    path = spec.options.get("path")
    if path is None:
        return ""
    path, digest = Path(path).expanduser(), sha256()
    if not path.exists():
        raise InputError(f"task {spec.name}: {path}: no such file or folder")
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.name} {size}\n".encode())
            with file.open("rb") as stream:
                digest.update(stream.read(1 << 20))
                stream.seek(max(0, size - (1 << 20)))
                digest.update(stream.read())
    return digest.hexdigest()


def _method(file: MethodFile) -> tuple[PlannedMethod, type[Method] | None]:
    path = str(file.path) if file.path else None
    try:
        method = load(file)
    except InputError as error:
        return PlannedMethod(path=path, digest=file.digest, needs_start=False, error=str(error)), None
    needs = method.start_share is not Method.start_share
    return PlannedMethod(path=path, digest=file.digest, needs_start=needs), method


def _grid(given: Any, where: str) -> Iterator[dict[str, Any]]:
    """Points of one method's entry: a mapping whose lists are grids, or a list of such mappings."""
    if given == []:
        raise InputError(f"{where} is an empty list; give at least one mapping of settings")
    for entry in given if isinstance(given, list) else [given or {}]:
        axes = []
        for name, value in entry.items():
            values = value if isinstance(value, list) else [value]
            if not values:
                raise InputError(f"{where}: {name} is an empty list; give at least one value")
            axes.append([(name, v) for v in values])
        for point in itertools.product(*axes):
            yield dict(point)


def _point(given: dict[str, Any], method: type[Method], task: PlannedTask, where: str) -> tuple[dict, dict]:
    """(resolved settings, the varied ones): `model:` fills what the method shares with the dense model."""
    from .run import settings_of

    shared = {k: v for k, v in task.model.model_dump(exclude_unset=True).items() if k in method.Settings.model_fields}
    settings = settings_of(method, shared | given, where)
    return settings.model_dump(mode="json"), given


def _unique(points: list[tuple[dict, dict]]) -> list[tuple[dict, dict]]:
    seen: dict[str, tuple[dict, dict]] = {}
    for settings, varied in points:
        seen.setdefault(digest_of(settings), (settings, varied))
    return list(seen.values())


def _slug(varied: dict[str, Any], settings: dict[str, Any]) -> str:
    """A folder name that a reader recognises and that cannot leave the folder: `beta-1.0-3f2a9c1b`."""
    words = "_".join(f"{name}-{value}" for name, value in varied.items())
    return (re.sub(r"[^A-Za-z0-9._-]+", "", words)[:60].strip("._-") + "-" if words else "") + digest_of(settings)[:8]
