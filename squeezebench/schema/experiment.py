"""Experiment files: YAML -> a validated experiment.

One file may hold variants of its experiment: `protocols` (what another protocol sets differently) and `tiny` (the
same steps in a minute). They are laid over the rest before it is checked, so that a variant is an experiment like any
other, with a name and a folder of results of its own.

A key that is unknown, of the wrong type or given twice is one line that names the file, the key and what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PositiveInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from squeezebench.base.errors import InputError
from squeezebench.base.folds import task_of_fold
from squeezebench.base.problems import first_problem
from squeezebench.base.suggestions import near_matches
from squeezebench.base.yaml_file import load_yaml
from squeezebench.schema.printed import PublishedTable
from squeezebench.schema.record import Protocol
from squeezebench.schema.stored import Part
from squeezebench.schema.training import overlaid
from squeezebench.schema.tuning import Tuning

OWN_DATA = ("features", "clips", "lists")  # keys with the path of the user's own data
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"  # of an experiment, and so of its folder of results


def _each_once(values: Any) -> Any:
    if twice := [value for value in values if isinstance(values, list) and values.count(value) > 1]:
        raise ValueError(f"{twice[0]} is given twice")
    return values


def _usable(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError("only letters, digits, '.', '_' and '-'; rename the file, or give `name:`")
    return name


Seeds = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 59)]], AfterValidator(_each_once)]  # what a record can hold

DEFAULT_RATIO = 10.0  # at which methods are compared, if the experiment does not say


def compared_at(given: Any, task: str) -> float:
    """The ratio at which the methods are compared on a task (or on one of its folds). given: `compare_at`."""
    given = given.get(task, given.get(task_of_fold(task))) if isinstance(given, Mapping) else given
    return DEFAULT_RATIO if given is None else float(given)


Ratio = Annotated[float, Field(gt=1, allow_inf_nan=False)]


def _with_values(given: Any, content: dict[str, Any]) -> Any:
    """Settings of methods with what stands in `content` in the places of ${ratios} and ${weights}."""
    if isinstance(given, dict):
        return {key: _with_values(value, content) for key, value in given.items()}
    if isinstance(given, list):
        return [_with_values(value, content) for value in given]
    if given == "${ratios}" and not content.get("ratios"):
        raise ValueError("methods use ${ratios}, and there is no `ratios: [10, 30]`")
    if given == "${weights}" and content.get("weights") is None:
        raise ValueError("methods start from ${weights}: give the path of the file, --config weights=PATH")
    return content[given[2:-1]] if given in ("${ratios}", "${weights}") else given


class OwnSeeds(Part):
    """The seeds of a task that does not have the experiment's."""

    seeds: Annotated[Seeds, Field(min_length=1)]


class Experiment(Part):
    """An experiment file. `methods` maps a method to its settings; a list of values is a grid."""

    name: Annotated[str, AfterValidator(_usable)]  # of its file, if the file gives none
    description: str = ""
    protocol: Protocol = "sound"
    scale: Literal["full", "tiny"] = "full"
    tasks: Annotated[list[str] | dict[str, dict[str, Any] | None], AfterValidator(_each_once)]
    methods: dict[str, dict[str, Any] | list[dict[str, Any]] | None]
    defaults: dict[str, dict[str, Any]] = {}  # method -> settings of all its points that do not set them themselves
    seeds: Seeds = [0, 1, 2]
    training: dict[str, Any] = {}
    model: dict[str, Any] = {}
    resources: dict[str, Any] = {}  # memory, time and GPUs of a run, see resources.py
    compare_at: float | dict[str, float] | None = None  # of the comparison that the statistics correct for
    page: Literal["sizes", "rules"] = "sizes"  # the report shows networks by size, or learning rules on one network
    tables: list[PublishedTable] = []  # published tables and figures that the report shows beside ours
    tuning: Tuning | None = None  # methods whose settings are picked by an equal number of trials on validation
    features: str | None = None  # stands for ${features} in the options of tasks: the path of the user's own data
    clips: str | None = None  # the same for ${clips}: a folder of videos
    lists: str | None = None  # the same for ${lists}: the folder of a data set's official lists
    weights: str | None = None  # stands for ${weights} in the settings of methods: a file of trained weights
    ratios: list[Ratio] = []  # stands for ${ratios} in the settings of methods: the sizes at which all are compared
    plugins: list[str] = []  # files or folders of them; a method that `methods` does not list joins as it is
    runs_per_job: PositiveInt | Literal["auto"] = "auto"  # of one method on one task; auto: slurm/chunks.py

    @model_validator(mode="before")
    @classmethod
    def _filled_methods(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        return content | {key: _with_values(content[key], content) for key in ("methods", "defaults") if key in content}

    @field_validator("compare_at", mode="before")
    @classmethod
    def _above_one(cls, ratios: Any, info: ValidationInfo) -> Any:
        values = ratios.values() if isinstance(ratios, dict) else [] if ratios is None else [ratios]
        if not all(type(ratio) in (int, float) and 1 < ratio < math.inf for ratio in values):
            raise ValueError("give a ratio above 1, or `task: ratio` for each task")
        for task in ratios if isinstance(ratios, dict) else ():
            if task not in info.data.get("tasks", (task,)):
                raise ValueError(f"{task!r} is no task; {near_matches(task, info.data['tasks'])}")
        return ratios

    def task_entries(self) -> dict[str, dict[str, Any]]:
        """Task name -> its entry, in the file's order."""
        if isinstance(self.tasks, list):
            return {name: {} for name in self.tasks}
        return {name: self._filled(name, dict(entry or {})) for name, entry in self.tasks.items()}

    def _filled(self, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        options = entry.get("options")
        if not isinstance(options, dict):
            return entry
        for key in OWN_DATA:
            place, stands = getattr(self, key), f"${{{key}}}"
            if stands in map(str, options.values()):
                if place is None:
                    raise InputError(f"{self.name}: tasks: {name}: needs the path of its data: --config {key}=PATH")
                options = {k: place if v == stands else v for k, v in options.items()}
        entry["options"] = options
        return entry


VARIANTS = ("protocols", "tiny")


def variant(content: dict[str, Any], where: str) -> dict[str, Any]:
    """`content` with what its `protocol` and its `scale` set differently laid over it, and the variant in its name."""
    content = dict(content)
    protocols = _layers(content.pop("protocols", None) or {}, get_args(Protocol), f"{where}: protocols")
    tiny = _layers({"tiny": content.pop("tiny", None) or {}}, ["tiny"], where)["tiny"]
    if content.get("scale") == "tiny" and not tiny:
        raise InputError(f"{where}: scale: tiny: the experiment has no `tiny:` that says what it is")
    content = laid_over(content, protocols.get(str(content.get("protocol", "sound")), {}))
    content = laid_over(content, tiny if content.get("scale") == "tiny" else {})
    return content | ({"name": f"{content['name']}{suffix(content)}"} if isinstance(content.get("name"), str) else {})


def suffix(content: dict[str, Any]) -> str:
    """What a variant adds to the experiment's name, and so to its folder of results: `_as_released_tiny`."""
    parts = [content.get("protocol", "sound"), content.get("scale", "full")]
    return "".join(f"_{part}" for part in parts if part not in ("sound", "full"))


def _layers(given: Any, names: Iterable[str], where: str) -> dict[str, dict[str, Any]]:
    """Name -> keys it sets, each of a known name and with known keys."""
    allowed = [key for key in Experiment.model_fields if key not in ("name", "protocol", "scale")]
    given = {name: {} if layer is None else layer for name, layer in _mapping(given, where).items()}
    for name, layer in given.items():
        if name not in names:
            raise InputError(f"{where}: unknown name {name!r}; {near_matches(str(name), names)}")
        for key in _mapping(layer, f"{where}: {name}"):
            if key not in allowed:
                raise InputError(f"{where}: {name}: unknown key {key!r}; {near_matches(str(key), allowed)}")
    return given


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: give a mapping (got {value!r})")
    return value


def laid_over(below: Any, above: Any) -> Any:
    """Mappings are merged key by key; everything else, lists too, is replaced, and `steps` replaces `epochs`."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return overlaid(below, {k: laid_over(below[k], value) if k in below else value for k, value in above.items()})


def read_experiment(path: Path, overrides: dict[str, Any] | None = None) -> Experiment:
    """Read and check an experiment file; `overrides` are laid over it, as Snakemake's --config is."""
    content = load_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: an experiment is a mapping with the keys {', '.join(Experiment.model_fields)}")
    return check_experiment({"name": path.stem} | laid_over(content, overrides or {}), str(path))


def check_experiment(content: dict[str, Any], where: str) -> Experiment:
    """A validated experiment from a mapping; `where` names its source in errors."""
    content = variant(content, where)
    if isinstance(content.get("plugins"), str):
        content["plugins"] = [content["plugins"]]
    for key in content:
        if key not in Experiment.model_fields:
            known = [*Experiment.model_fields, *VARIANTS]
            raise InputError(f"{where}: unknown key {key!r}; {near_matches(str(key), known)}")
    return validated(Experiment, content, where)


def validated(model: type[BaseModel], content: dict[str, Any], where: str) -> Any:
    """`content` as a `model`. Raises InputError in one line that names the key and what was given."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error)
        if problem.kind == "extra_forbidden":
            allowed = near_matches(problem.place.rsplit(".", 1)[-1], _fields_at(model, problem.path[:-1]))
            raise InputError(f"{where}: unknown key {problem.place!r}; {allowed}") from None
        given = "" if isinstance(problem.given, dict | list) else f" (got {problem.given!r})"
        raise InputError(f"{where}: {problem}{given}") from None


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> dict[str, Any]:
    """The keys that are allowed at `place` of a `model`."""
    for part in place:
        if part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
            model = next((kind for kind in inner if issubclass(kind, BaseModel)), model)
    return model.model_fields
