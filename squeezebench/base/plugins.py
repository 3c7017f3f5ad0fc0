"""Plugins: files of an own folder, of folders that an experiment names, and of installed packages.

A plugin is one Python file, and its name is the file's. A file that defines `Options` and `load` is a data source,
wherever it lies. The kind of any other file (`methods`, `figures`, `tables` or `sources`) is the name of the folder
that holds it; a file in a folder of any other name is a method. There is no registration. A package offers plugins by
the entry points `squeezebench.methods`, `squeezebench.figures` and so on.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.base.source import digest_of_file
from squeezebench.base.suggestions import near_matches

KINDS = ("methods", "figures", "tables", "sources")
SOURCE = {"Options", "load"}  # what a data source defines
FILES = "[!_.]*.py"  # a name that starts with an underscore is a helper's; editors leave files that start with a dot


@dataclass(frozen=True)
class Plugin:
    """The place of one plugin. Nothing is imported before `load`."""

    name: str
    path: Path | None
    entry_point: EntryPoint | None = None
    kind: str = "methods"

    @property
    def where(self) -> str:
        """The place in words, for messages."""
        return str(self.path) if self.path else f"entry point {self.entry_point.value}"

    @property
    def digest(self) -> str:
        """The digest of the file's code; of an entry point's value and its distribution's version."""
        if self.path is not None:
            return digest_of_file(self.path)
        distribution = self.entry_point.dist
        return sha256(f"{self.entry_point.value} {distribution and distribution.version}".encode()).hexdigest()


def find(kind: str, own: Path, plugins: Iterable[str | Path] = ()) -> dict[str, Plugin]:
    """The plugins of one kind by name: the files of the folder `own`, entry points, and those in `plugins`, which are
    files or folders. None is imported.

    Raises InputError for a path that does not exist, a name that is no identifier, and a name that is given twice.
    """
    plugins_by_name = {path.stem: Plugin(path.stem, path, kind=kind) for path in sorted(own.glob(FILES))}
    for entry in _entry_points(kind, tuple(sys.path)):
        _add(plugins_by_name, Plugin(entry.name, None, entry, kind))
    for path in files_of(kind, plugins):
        _add(plugins_by_name, Plugin(path.stem, path.resolve(), kind=kind))
    return plugins_by_name


@cache
def _entry_points(kind: str, _path: tuple[str, ...]) -> EntryPoints:
    """The search reads the metadata of every installed package, which takes 0.1 s; it is repeated for another path."""
    return entry_points(group=f"squeezebench.{kind}")


def files_of(kind: str, plugins: Iterable[str | Path]) -> list[Path]:
    """The files of one kind in `plugins` (files, or folders with files and with folders named after kinds)."""
    files: list[Path] = []
    for place in map(Path, plugins):
        if not place.exists():
            raise InputError(f"plugins: {place} does not exist (a plugin's file, or a folder of plugins)")
        within = [*sorted(place.glob(FILES)), *sorted((place / kind).glob(FILES))] if place.is_dir() else [place]
        files += [path for path in within if _kind_of(path) == kind]
    return files


def _kind_of(path: Path) -> str:
    """The kind of a file, which is read and not imported: an experiment may use some of its plugins only."""
    if _defined(path) >= SOURCE:
        return "sources"
    folder = path.resolve().parent.name
    return folder if folder in KINDS else "methods"


def _defined(path: Path) -> set[str]:
    """The names of the classes and functions that a file defines or imports; none if it cannot be read."""
    try:
        statements = ast.parse(path.read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # `load` says what is wrong with it
        return set()
    names = {node.name for node in statements if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    imports = [node for node in statements if isinstance(node, ast.ImportFrom)]
    return names | {alias.asname or alias.name for node in imports for alias in node.names}


def _add(known: dict[str, Plugin], plugin: Plugin) -> None:
    noun = plugin.kind.removesuffix("s")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", plugin.name):
        raise InputError(f"{plugin.where}: {plugin.name!r} cannot name a {noun}; use letters, digits, _ and -")
    if plugin.name in known and known[plugin.name] != plugin:
        raise InputError(f"{plugin.where}: a {noun} named {plugin.name!r} exists already; rename the file")
    known[plugin.name] = plugin


def pick(known: Mapping[str, Plugin], name: str, noun: str) -> Plugin:
    """The plugin called `name`. Raises InputError, with the names that are near, if there is none."""
    if name not in known:
        raise InputError(f"unknown {noun} {name!r}; {near_matches(name, known)}")
    return known[name]


def load(plugin: Plugin) -> Any:
    """The module of a plugin's file, or the object of its entry point: this runs the plugin's code.

    Raises InputError, in one line, if it cannot be imported.
    """
    try:
        return plugin.entry_point.load() if plugin.entry_point else _module(plugin)
    except SyntaxError as error:
        raise InputError(f"{plugin.where}, line {error.lineno}: not valid Python: {error.msg}") from None
    except Exception as error:
        raise InputError(f"{plugin.where}: cannot be imported: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise InputError(f"{plugin.where}: calls sys.exit({error.code}) when imported") from None


def _module(plugin: Plugin) -> Any:
    """The module is listed in `sys.modules` as `squeezebench_methods.NAME` (by its kind)."""
    name = f"squeezebench_{plugin.kind}.{plugin.name}"
    spec = importlib.util.spec_from_file_location(name, plugin.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
