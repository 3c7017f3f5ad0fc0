"""What is tuned, from which settings, in which space: the `search` of a method's settings, without the fixed ones.

All of it is checked before anything runs.
"""

from __future__ import annotations

import itertools
import math
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.suggestions import near_matches
from squeezebench.method.base import Method
from squeezebench.method.settings import settings_of
from squeezebench.schema.plan import PlannedTuning
from squeezebench.schema.settings import Settings
from squeezebench.schema.tuning import Tuning
from squeezebench.schema.tuning_result import Axis


def methods_to_tune(tuning: Tuning | None, listed: dict[str, Any], where: str) -> list[str]:
    """Return the methods whose settings trials pick. Raises InputError for one that the experiment does not list."""
    if tuning is None:
        return []
    for name in tuning.methods or []:
        if name not in listed:
            hint = near_matches(name, listed)
            raise InputError(f"{where}: tuning: methods: {name!r} is not among methods; {hint}")
    return tuning.methods or list(listed)


def plan_tuning(
    place: tuple[str, str], method: type[Method], given: Any, elsewhere: dict[str, Any], tuning: Tuning, shared: Any,
    where: str,
) -> PlannedTuning:  # fmt: skip
    """Return the tuning of one method on one task. Raises InputError in one line if it cannot be tuned.

    place: (task, method). given: the method's entry; a value fixes its setting, a list replaces the declared search.
    elsewhere: settings that `model:`, `defaults:` or the protocol set. shared: what all runs of the task share, for the
    name of the job.
    """
    here = f"{where}: methods: {place[1]}"
    if isinstance(given, list):
        raise InputError(f"{here}: a method that is tuned takes one mapping of settings, not a list of them")
    given = given or {}
    varied = {setting: value for setting, value in given.items() if not isinstance(value, list)}
    if unknown := [setting for setting in given if setting not in method.Settings.model_fields]:
        settings_of(method, {unknown[0]: None}, f"{where}: methods")  # says what is known
    settings = settings_of(method, elsewhere | varied, f"{where}: methods").model_dump(mode="json")
    space = space_of(method, given, elsewhere, method.Settings(**settings), here)
    for setting in given.keys() & space.keys():
        for value in space[setting].choices:
            settings_of(method, settings | {setting: value}, f"{where}: methods")
    axes = {setting: axis.model_dump(mode="json") for setting, axis in space.items()}
    asked = tuning.model_dump(mode="json", exclude={"methods"})
    name = "/".join(place)
    return PlannedTuning(
        task=place[0],
        method=place[1],
        settings=settings,
        varied=varied,
        space=space,
        path=f"tuning/{name}.json",
        job=f"{name}/{digest_of([shared, settings, axes, asked])[:12]}",
    )


def space_of(
    method: type[Method], given: dict[str, Any], fixed: dict[str, Any], settings: Settings, where: str
) -> dict[str, Axis]:
    """Setting -> what may be drawn for it. Raises InputError in one line.

    given: the method's entry in an experiment; a value fixes its setting, a list of values is what is drawn from.
    fixed: settings that `model:`, `defaults:` or the protocol set. settings: those before anything is drawn.
    """
    space, left_out = {}, {*given, *fixed, *method.inactive_settings(settings)}
    for name, field in method.Settings.model_fields.items():
        declared = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        if isinstance(given.get(name), list):
            space[name] = _axis({"search": given[name], "axis": "choice"}, False, f"{where}: {name}")
        elif name not in left_out and "search" in declared:
            space[name] = _axis(declared, _whole(field.annotation), f"{where}: search of {name}")
    return space


def _axis(declared: dict[str, Any], integer: bool, where: str) -> Axis:
    search, kind = declared["search"], declared.get("axis")
    if kind == "choice":
        plain = all(value is None or isinstance(value, bool | int | float | str) for value in search)
        if not search or not plain or any(search.count(value) > 1 for value in search):
            raise InputError(f"{where}: give different numbers or words to draw from (got {search!r})")
        return Axis(kind="choice", choices=search)
    numbers = isinstance(search, list) and len(search) == 2 and all(isinstance(end, int | float) for end in search)
    if kind not in ("log", "linear") or not numbers or not all(map(math.isfinite, search)) or search[0] >= search[1]:
        raise InputError(f"{where}: give (low, high) with low < high, or a list of choices (got {search!r})")
    return Axis(kind=kind, low=search[0], high=search[1], integer=integer)


def _whole(annotation: Any) -> bool:
    """Whether a setting of this type takes whole numbers only: int, PositiveInt, PositiveInt | None ..."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _whole(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return all(_whole(part) for part in get_args(annotation) if part is not type(None))
    return annotation is int


def all_points(space: dict[str, Axis], at_most: int) -> list[dict[str, Any]] | None:
    """Every point of a space that has no more than `at_most`; a space without settings has one. Else None."""
    axes = [axis.points() for axis in space.values()]
    if any(values is None for values in axes) or math.prod(map(len, axes)) > at_most:
        return None
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*axes)]


def own_point(space: dict[str, Axis], settings: dict[str, Any]) -> dict[str, Any] | None:
    """The method's own settings as a point of its space; None if the space does not hold them."""
    inside = all(axis.holds(settings[name]) for name, axis in space.items())
    return {name: settings[name] for name in space} if inside else None
