"""KEY=VALUE pairs of the command line."""

from __future__ import annotations

from typing import Any

from squeezebench.base.errors import InputError


def assignments(pairs: list[str], option: str) -> dict[str, Any]:
    """`["beta=0.5"]` -> `{"beta": 0.5}`; values are read as YAML scalars or lists."""
    import yaml

    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {pair!r}: write {option} name=value")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError, RecursionError):
            raise InputError(f"{option} {pair!r}: the value is not readable") from None
    return found
