"""The data sources: one file of this folder = one source, found by its file name; no registration.

A source module has a docstring (its first line is the summary), `class Options(BaseModel)` (what a user may
set), `load(options) -> Dataset`, and `DEFAULT_SPLIT`: "official", "random", "group", or None where it
depends on the data (official if there is a `subset`, else group if there are groups, else random).
Optional: `MAIN_OPTION`, the option that `--task SOURCE:VALUE` sets, and `stamp(options) -> str`, which
changes when the files behind the data do, and `expected(options) -> Expected`, the sizes as far as they are
known without the data (for `squeezebench plan`), and `fingerprint(options) -> str` of a source whose files are
too many for the plan to read a part of each. Heavy imports belong inside `load`: listing the sources must stay
fast. Files that start with `_` are helpers.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from squeezebench.base.errors import InputError


@dataclass(frozen=True)
class SourceInfo:
    """What `squeezebench tasks` shows of a source."""

    name: str
    summary: str  # first line of the module's docstring
    options: dict[str, Any]  # JSON schema of its Options
    default_split: str | None


def source_names() -> list[str]:
    """Names of all sources, without importing any."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("_"))


def source_module(name: str) -> ModuleType:
    """The module of one source. Raises InputError with the near matches when there is none of that name."""
    names = source_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
        raise InputError(f"unknown task source {name!r}; {hint}")
    return importlib.import_module(f"{__name__}.{name}")


def available() -> dict[str, SourceInfo]:
    """All sources by name."""
    return {name: _info(name) for name in source_names()}


def _info(name: str) -> SourceInfo:
    module = source_module(name)
    summary = (module.__doc__ or "").strip().splitlines()[0]
    return SourceInfo(name, summary, module.Options.model_json_schema(), module.DEFAULT_SPLIT)
