"""The data sources: one file = one source, by the name of the file; there is no registration.

Sources are the files of this folder, files and folders that an experiment names under `plugins:`, and entry points of
the group `squeezebench.sources`. A source module has a docstring (its first line is the summary) and defines

- `class Options(BaseModel)`: what a user may set;
- `load(options) -> Dataset`;
- `DEFAULT_SPLIT`: "official", "random", "group", or None if it depends on the data (official if there is a `subset`,
  else group if there are groups, else random).

It may define

- `MAIN_OPTION`: the name of the option that `--task SOURCE:VALUE` sets;
- `expected(options) -> Expected`: the sizes that are known without the data, for `squeezebench plan`;
- `REMOTE = True` if `expected` may ask the network: it is then asked for the cost estimate alone;
- `outline(options) -> Dataset | None`: all of the data but the features, whose `x` has their shape and takes no memory,
  so that a wrong task is refused before anything runs; None if it is not known yet;
- `stamp(options) -> str`: a text that changes when the files behind the data do;
- `fingerprint(options) -> str`: identifies the data if no option names their files, or if these are too many for the
  plan to read.

An option called `path`, `folder`, `labels` or `lists` names a file or folder. What is in it decides a run (the plan
takes its digest), and where it lies does not.

Heavy imports belong inside `load`, so that listing the sources stays fast. Files that start with `_` are helpers.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from squeezebench.base import plugins as base
from squeezebench.base.errors import InputError
from squeezebench.base.places import SOURCES
from squeezebench.base.plugins import Plugin

NEEDED = ("Options", "load", "DEFAULT_SPLIT")


@dataclass(frozen=True)
class SourceInfo:
    """What `squeezebench tasks` shows of a source."""

    name: str
    summary: str  # first line of the module's docstring
    options: dict[str, Any]  # JSON schema of its Options
    default_split: str | None


def find_sources(plugins: Iterable[str | Path] = ()) -> dict[str, Plugin]:
    """All sources by name, without importing any. plugins: files, or folders of files.

    Raises InputError if a plugin takes the name of another source.
    """
    return base.find("sources", SOURCES, plugins)


def source_file(name: str, plugins: Iterable[str | Path] = ()) -> Plugin:
    """The place of one source. Raises InputError, with the names that are near, if there is none of that name."""
    return base.pick(find_sources(plugins), name, "task source")


def source_module(name: str, plugins: Iterable[str | Path] = ()) -> ModuleType:
    """The module of one source. Raises InputError if there is none of that name, or if it is no usable source."""
    file = source_file(name, plugins)
    return importlib.import_module(f"{__name__}.{name}") if is_own(file) else _plugin_module(file, file.digest)


def is_own(file: Plugin) -> bool:
    """Whether a source belongs to squeezebench, so that the engine's digest covers it."""
    return file.path is not None and file.path.parent == SOURCES


@cache
def _plugin_module(file: Plugin, digest: str) -> ModuleType:
    """The plugin's module, imported once for each version of its code."""
    module = base.load(file)
    if missing := [needed for needed in NEEDED if not hasattr(module, needed)]:
        raise InputError(f"{file.where}: a data source must define {', '.join(NEEDED)}; it lacks {', '.join(missing)}")
    return module


def available(plugins: Iterable[str | Path] = ()) -> dict[str, SourceInfo]:
    """All sources by name."""
    plugins = list(plugins)
    return {name: _info(name, source_module(name, plugins)) for name in find_sources(plugins)}


def _info(name: str, module: ModuleType) -> SourceInfo:
    summary = ((module.__doc__ or "").strip().splitlines() or [""])[0]
    return SourceInfo(name, summary, module.Options.model_json_schema(), module.DEFAULT_SPLIT)
