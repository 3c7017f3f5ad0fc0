"""Settings of methods and models: fields with a description, limits, and the range that a tuner may draw from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def setting(default: Any, description: str, *, search: tuple[float, float] | list[Any] | None = None, **limits: Any):
    """A field of a method's Settings.

    search: the range the tuner may draw from, (low, high) sampled on a log axis where low > 0, or a list of choices.
    limits: pydantic's (gt, ge, lt, le ...).
    """
    extra = None if search is None else {"search": list(search), "axis": _axis(search)}
    return Field(default, description=description, json_schema_extra=extra, **limits)


def _axis(search: tuple[float, float] | list[Any]) -> str:
    if isinstance(search, list):
        return "choice"
    return "log" if search[0] > 0 else "linear"


class Settings(BaseModel):
    """Base of every method's settings: unknown names and wrong types are refused; a setting cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
