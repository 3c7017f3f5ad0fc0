"""Settings of methods and models: fields with a description, limits, and the range that a tuner may draw from."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer


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
    later: the setting joined a method that had records already. It is left out of what is written while it has its
    default, so that those records keep their digests.  limits: pydantic's (gt, ge, lt, le ...).
    """
    extra = {} if search is None else {"search": list(search), "axis": _axis(search)}
    extra |= {"later": True} if later else {}
    return Field(default, description=description, json_schema_extra=extra or None, **limits)


def _axis(search: tuple[float, float] | list[Any]) -> str:
    if isinstance(search, list):
        return "choice"
    return "log" if search[0] > 0 else "linear"


class Settings(BaseModel):
    """Base of every method's settings: unknown names and wrong types are refused; a setting cannot change later."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: Any) -> dict[str, Any]:
        fields = type(self).model_fields
        extras = {name: field.json_schema_extra for name, field in fields.items()}
        later = [name for name, extra in extras.items() if isinstance(extra, dict) and extra.get("later")]
        off = [name for name in later if getattr(self, name) == fields[name].default]
        return {name: value for name, value in handler(self).items() if name not in off}
