"""What the tuner may draw: the `search` of a method's settings, without those that the experiment fixes."""

from __future__ import annotations

import itertools
import math
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from squeezebench.base.errors import InputError
from squeezebench.method.base import Method
from squeezebench.schema.settings import Settings
from squeezebench.schema.tuning_result import Axis


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
    """The method's own settings as a point of its space; None where the space does not hold them."""
    inside = all(axis.holds(settings[name]) for name, axis in space.items())
    return {name: settings[name] for name in space} if inside else None
