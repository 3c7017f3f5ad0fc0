"""Settings of methods and models: fields with a description, limits, and the range that a tuner may draw from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from squeezebench.schema.stored import joined_later


def setting(
    default: Any,
    description: str,
    *,
    search: tuple[float, float] | list[Any] | None = None,
    later: bool = False,
    **limits: Any,
):
    """A field of a method's Settings.

    search: the range the tuner may draw from, (low, high) sampled on a log axis where low > 0, or a list of choices.
    later: the setting joined a method that had records already (`joined_later`).  limits: pydantic's (gt, ge, lt, ...).
    """
    extra = {} if search is None else {"search": list(search), "axis": _axis(search)}
    field = joined_later if later else Field
    return field(default, description=description, json_schema_extra=extra or None, **limits)


def _axis(search: tuple[float, float] | list[Any]) -> str:
    if isinstance(search, list):
        return "choice"
    return "log" if search[0] > 0 else "linear"


class Settings(BaseModel):
    """Base of every method's settings: unknown names and wrong types are refused; a setting cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
