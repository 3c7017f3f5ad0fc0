"""KEY=VALUE pairs of the command line."""

from __future__ import annotations

from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.base.yaml_file import parse_yaml


def assignments(pairs: list[str], option: str) -> dict[str, Any]:
    """`["beta=0.5"]` -> `{"beta": 0.5}`; values are read as YAML scalars or lists."""
    values = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{option} {pair!r}: write {option} name=value")
        if name in values:  # the last one would win without a word
            raise InputError(f"{option} {pair!r}: {name} is given twice")
        values[name] = parse_yaml(value, f"{option} {pair!r}")
    return values
