"""The plan of an experiment: every run resolved and checked before anything is trained."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from squeezebench.base.contents import digest_of_contents, files_below
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.folds import fold_name
from squeezebench.base.source import RULE
from squeezebench.base.suggestions import near_matches
from squeezebench.data.outline import check_task, folds_of
from squeezebench.data.sources import is_own, source_file, source_module
from squeezebench.data.task import parse_options
from squeezebench.engine.provenance import engine_digest
from squeezebench.method.base import Method
from squeezebench.method.discovery import MethodFile, find_methods, load, pick
from squeezebench.method.settings import check_cell, settings_of
from squeezebench.pipeline.isolation.watch import answer_of
from squeezebench.pipeline.tuning.space import methods_to_tune, plan_tuning
from squeezebench.schema.experiment import Experiment, OwnSeeds, validated
from squeezebench.schema.models import settings_of_model
from squeezebench.schema.plan import Plan, PlannedMethod, PlannedRun, PlannedTask
from squeezebench.schema.printed import check_tables
from squeezebench.schema.resources import Resources
from squeezebench.schema.task import LEAVE_ONE_OUT, PLACES, TaskSpec
from squeezebench.schema.training import STANDARD, TrainingSettings, overlaid

log = logging.getLogger("squeezebench")

CONTENTS = "contents:"  # begins the fingerprints that cover all bytes; older ones covered names, sizes and both ends
TUNED = "tuned"  # the folder of the winner's runs, below their method's
TASK_KEYS = ("training", "model", "resources")  # of a task's entry: over the experiment's, as its `methods` and `seeds`


def make_plan(experiment: Experiment, where: str) -> Plan:
    """Resolve every run. Raises InputError before anything is trained; a broken method file only fails its own runs."""
    files, own = find_methods(experiment.plugins), find_methods()
    listed = dict(experiment.methods) | {name: {} for name in files if name not in own | experiment.methods}
    tasks = {name: _task(name, entry, experiment, where) for name, entry in _entries(experiment, where).items()}
    _check_names(experiment, tasks, listed, where)
    to_tune = methods_to_tune(experiment.tuning, listed, where)
    methods, classes = {}, {}
    for name in listed:
        methods[name], classes[name] = _method(pick(files, name))
        if experiment.ratios and name not in {*experiment.methods, *to_tune} and _takes_ratio(classes[name]):
            listed[name] = {"ratio": experiment.ratios}  # a plugin that is not listed is compared at the others' sizes
    cells = [
        _Cell(experiment, task, name, classes[name], given, name in to_tune, where)
        for name, given in listed.items()
        for task in tasks.values()
        if task.methods is None or name in task.methods
    ]
    names = {name: list(method.Settings.model_fields) if method else [] for name, method in classes.items()}
    check_tables(experiment.tables, names, tasks, where)
    runs = named_jobs([run for cell in cells for run in cell.runs()], tasks, experiment.protocol)
    if not runs:
        raise InputError(f"{where}: no runs: give at least one task, one method and one seed")
    return Plan(
        experiment=experiment.name,
        description=experiment.description,
        protocol=experiment.protocol,
        config=experiment.model_dump(mode="json"),
        engine_digest=engine_digest(),
        digest_rule=RULE,
        plugins=experiment.plugins,
        tasks=tasks,
        methods=methods,
        runs=runs,
        tuning=experiment.tuning,
        tunings=[cell.tuning for cell in cells if cell.tuning],
        start_jobs=sorted({run.task for run in runs if methods[run.method].needs_start}),
        data_jobs=sorted(name for name in {run.task for run in runs} if tasks[name].prepared),
        jobs=list(dict.fromkeys(run.job for run in runs)),
    )


def _takes_ratio(method: type[Method] | None) -> bool:
    return method is not None and "ratio" in method.Settings.model_fields


class _Cell:
    """One method on one task: its points, or the tuning that finds one. `method` is None if its file is broken."""

    def __init__(
        self, experiment: Experiment, task: PlannedTask, name: str, method: type[Method] | None, given: Any,
        tuned: bool, where: str,
    ) -> None:  # fmt: skip
        self.experiment, self.place, self.tuning = experiment, (task.spec.name, name), None
        self.points: list[tuple[dict, dict]] = [({}, {})]
        self.seeds = experiment.seeds if task.seeds is None else task.seeds
        grid = [] if tuned and method else list(_grid(given, f"{where}: methods: {name}"))
        if method is None:
            return
        shared = _shared(method, task) | experiment.defaults.get(name, {})
        shared |= method.protocols.get(experiment.protocol, {})
        if tuned:
            decides = _decides(experiment.protocol, task)
            self.tuning = plan_tuning(self.place, method, given, shared, experiment.tuning, decides, where)
            self.points = [(self.tuning.settings, self.tuning.varied)]
        else:
            given = [settings_of(method, shared | point, f"{where}: methods").model_dump(mode="json") for point in grid]
            self.points = _unique(list(zip(given, grid, strict=True)))

    def runs(self) -> Iterator[PlannedRun]:
        """Yield a run for each point and seed, with the number of its job; a digest takes the number's place later."""
        cells = [(*point, seed) for point in self.points for seed in self.seeds]
        size = self.experiment.runs_per_job
        size = len(cells) if size == "auto" else size  # slurm/chunks.py divides those of `auto`
        task, method = self.place
        for number, (settings, varied, seed) in enumerate(cells):
            folder = TUNED if self.tuning else _slug(varied, settings)
            yield PlannedRun(
                task=task,
                method=method,
                settings=settings,
                varied=varied,
                seed=seed,
                path=f"runs/{task}/{method}/{folder}/seed-{seed}",
                job=f"{task}/{method}/{number // size}",
                tuned=self.tuning.job if self.tuning else None,
            )


def named_jobs(runs: list[PlannedRun], tasks: dict[str, PlannedTask], protocol: str) -> list[PlannedRun]:
    """Name each job by a digest of what it runs, so that an edited experiment reruns what it changes, and only that."""
    members: dict[str, list[PlannedRun]] = {}
    for run in runs:
        members.setdefault(run.job, []).append(run)
    shared = {name: _decides(protocol, task) for name, task in tasks.items()}
    names = {
        job: f"{job.rpartition('/')[0]}/{digest_of([shared[own[0].task], _points(own)])[:12]}"
        for job, own in members.items()
    }
    return [run.model_copy(update={"job": names[run.job]}) for run in runs]


def _points(runs: list[PlannedRun]) -> list[tuple[Any, ...]]:
    """What tells the runs of a job from those of another one on the same task."""
    several = len({run.method for run in runs}) > 1
    points = [(run.settings, run.seed, *([run.tuned] if run.tuned else [])) for run in runs]
    return [(run.method, *point) for run, point in zip(runs, points, strict=True)] if several else points


def _decides(protocol: str, task: PlannedTask) -> list[Any]:
    """What decides the result of every run of a task."""
    return [protocol, task.model_dump(mode="json", exclude={"resources"})]


def _entries(experiment: Experiment, where: str) -> dict[str, dict[str, Any]]:
    """The experiment's tasks by name; a task that leaves out each of its groups is one task for each fold."""
    entries: dict[str, dict[str, Any]] = {}
    for name, entry in experiment.task_entries().items():
        number = None
        if entry.get("split") == LEAVE_ONE_OUT and entry.get("fold") is None:
            number = _number_of_folds(name, entry, experiment.plugins, where)
        for fold in range(number or 1):
            own = fold_name(name, fold, number) if number else name
            if own in entries:
                raise InputError(f"{where}: tasks: {own}: is also a fold of another task; give it another name")
            entries[own] = entry | {"fold": fold} if number else entry
    return entries


def _number_of_folds(name: str, entry: dict[str, Any], plugins: list[str], where: str) -> int:
    """How many folds a task has. Raises InputError if it has no groups, or cannot be read."""
    known = {key: value for key, value in entry.items() if key in TaskSpec.model_fields and key != "name"}
    spec = validated(TaskSpec, {"name": name} | known | {"fold": 0}, f"{where}: tasks: {name}")
    try:
        _source(spec.source, plugins)
        return _asked(spec.source, plugins, lambda: folds_of(spec, plugins))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _task(name: str, entry: dict[str, Any], experiment: Experiment, where: str) -> PlannedTask:
    here = f"{where}: tasks: {name}"
    entry = dict(entry)
    own = {key: entry.pop(key) for key in TASK_KEYS if entry.get(key) is not None}
    for key, value in own.items():
        if not isinstance(value, dict):
            raise InputError(f"{here}: {key}: give a mapping (got {value!r})")
    own = {key: own.get(key, {}) for key in TASK_KEYS}
    only, seeds = _names(entry.pop("methods", None), f"{here}: methods"), _seeds(entry.pop("seeds", None), here)
    if "name" in entry:
        raise InputError(f"{here}: unknown key 'name'; a task is named by its key under `tasks`, its data by `source`")
    spec = validated(TaskSpec, {"name": name} | entry, here)
    plugins = experiment.plugins
    try:
        source = _source(spec.source, plugins)
        parse_options(spec, plugins)
        data = fingerprint(spec, plugins)
        for warning in _asked(spec.source, plugins, lambda: check_task(spec, seeds or experiment.seeds, plugins)):
            log.warning("%s: %s", here, warning)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    training = validated(TrainingSettings, overlaid(experiment.training, own["training"]), f"{where}: training")
    if training.augment and spec.normalise == "standard":
        raise InputError(f"{here}: {STANDARD}")
    given = experiment.model | own["model"]
    model = validated(settings_of_model(given), given, f"{where}: model")
    check_cell(model, f"{where}: model")
    resources = validated(Resources, experiment.resources | own["resources"], f"{where}: resources")
    if resources.gpus and training.device == "cpu":
        raise InputError(f"{here}: resources: gpus: {resources.gpus} would stand idle; set training: device: cuda")
    return PlannedTask(
        spec=spec,
        fingerprint=data,
        training=training,
        model=model,
        resources=resources,
        methods=only,
        seeds=seeds,
        prepared=getattr(source, "PREPARED", False),
    )


def _names(given: Any, where: str) -> list[str] | None:
    if given is not None and not (isinstance(given, list) and given and all(isinstance(name, str) for name in given)):
        raise InputError(f"{where}: give a list of names (got {given!r})")
    return given


def _seeds(given: Any, where: str) -> list[int] | None:
    return None if given is None else validated(OwnSeeds, {"seeds": given}, where).seeds


def _check_names(experiment: Experiment, tasks: dict[str, PlannedTask], listed: dict[str, Any], where: str) -> None:
    """Raises InputError if `defaults`, or the `methods` of a task, name a method that the experiment does not list."""
    named = [(f"tasks: {task}: methods", name) for task, planned in tasks.items() for name in planned.methods or []]
    for key, name in [*named, *(("defaults", name) for name in experiment.defaults)]:
        if name not in listed:
            raise InputError(f"{where}: {key}: {name!r} is not among methods; {near_matches(name, listed)}")


def _source(name: str, plugins: list[str]) -> ModuleType:
    """The module of a data source. Raises InputError if it cannot be imported."""
    _asked(name, plugins, lambda: source_module(name, plugins) is None, "cannot be imported: ")
    return source_module(name, plugins)


def _asked(name: str, plugins: list[str], work: Callable[[], Any], failed: str = "") -> Any:
    """What `work` answers of a data source; one of a plugin is asked in a process of its own. Raises InputError, with
    the reason behind `failed`, if it gives no answer."""
    file = source_file(name, plugins)
    ending = answer_of(file, work)
    if ending.reason:
        raise InputError(f"{file.where}: {failed}{ending.reason}")
    return ending.result


def fingerprint(spec: TaskSpec, plugins: Iterable[str | Path] = ()) -> str:
    """Identifies the data that a task reads, and the code of its source if that is a plugin."""
    file, data = source_file(spec.source, plugins), _data_fingerprint(spec, plugins)
    return data if is_own(file) else digest_of([file.digest, data])


def _data_fingerprint(spec: TaskSpec, plugins: Iterable[str | Path]) -> str:
    """A digest of every file that the options name, or what the source's own `fingerprint(options)` gives."""
    options = parse_options(spec, plugins)
    if own := getattr(source_module(spec.source, plugins), "fingerprint", None):
        return own(options)
    places = [Path(value).expanduser() for name in PLACES if isinstance(value := getattr(options, name, None), str)]
    for place in places:
        if not place.exists():
            raise InputError(f"task {spec.name}: {place}: no such file or folder")
    digests = [digest_of_contents(place if place.is_dir() else place.parent, files_below(place)) for place in places]
    return CONTENTS + digest_of(digests) if digests else ""


def _method(file: MethodFile) -> tuple[PlannedMethod, type[Method] | None]:
    path = str(file.path) if file.path else None
    try:
        if reason := answer_of(file, lambda: load(file) is None).reason:
            raise InputError(f"{path or file.name}: cannot be imported: {reason}")
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


def _shared(method: type[Method], task: PlannedTask) -> dict[str, Any]:
    """What `model:` gives and the method has."""
    given = task.model.model_dump(exclude_unset=True)
    return {setting: value for setting, value in given.items() if setting in method.Settings.model_fields}


def _unique(points: list[tuple[dict, dict]]) -> list[tuple[dict, dict]]:
    seen: dict[str, tuple[dict, dict]] = {}
    for settings, varied in points:
        seen.setdefault(digest_of(settings), (settings, varied))
    return list(seen.values())


def _slug(varied: dict[str, Any], settings: dict[str, Any]) -> str:
    """A folder name that a reader recognises and that cannot leave the folder: `beta-1.0-3f2a9c1b`."""
    words = "_".join(f"{name}-{value}" for name, value in varied.items())
    return (re.sub(r"[^A-Za-z0-9._-]+", "", words)[:60].strip("._-") + "-" if words else "") + digest_of(settings)[:8]
