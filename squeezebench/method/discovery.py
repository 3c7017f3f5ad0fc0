"""Finding methods: files in `methods/`, files in folders a configuration names, and installed entry points.

One file = one method: the file's name is the method's name, and it holds exactly one subclass of Method (helpers
whose names start with an underscore aside). There is no registration.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS
from squeezebench.base.source import digest_of_file
from squeezebench.base.suggestions import near_matches
from squeezebench.method.base import Method

ENTRY_POINTS = "squeezebench.methods"


@dataclass(frozen=True)
class MethodFile:
    """A place that holds one method; nothing is imported until `load`."""

    name: str
    path: Path | None
    entry_point: EntryPoint | None = None

    @property
    def digest(self) -> str:
        """Of the code of the file; of name and version for an installed entry point."""
        if self.path is not None:
            return digest_of_file(self.path)
        distribution = self.entry_point.dist
        return sha256(f"{self.entry_point.value} {distribution and distribution.version}".encode()).hexdigest()


def find_methods(plugins: Iterable[str | Path] = ()) -> dict[str, MethodFile]:
    """Method files by name, without importing any. `plugins`: files, or folders of files.

    A plugin may not take the name of another method: its rows could not be told apart.
    """
    found: dict[str, MethodFile] = {}
    for path in sorted(METHODS.glob("[!_.]*.py")):
        found[path.stem] = MethodFile(path.stem, path)
    for entry in entry_points(group=ENTRY_POINTS):
        _add(found, MethodFile(entry.name, None, entry), f"entry point {entry.value}")
    for plugin in map(Path, plugins):
        if not plugin.exists():
            raise InputError(f"plugins: {plugin} does not exist (a method file, or a folder of method files)")
        for path in sorted(plugin.glob("[!_.]*.py")) if plugin.is_dir() else [plugin]:
            _add(found, MethodFile(path.stem, path.resolve()), str(path))
    return found


def _add(found: dict[str, MethodFile], file: MethodFile, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", file.name):
        raise InputError(f"{where}: {file.name!r} cannot name a method; use letters, digits, _ and -")
    if file.name in found and found[file.name] != file:
        raise InputError(f"{where}: a method named {file.name!r} exists already; rename the file")
    found[file.name] = file


def pick(found: dict[str, MethodFile], name: str) -> MethodFile:
    """The method file called `name`; an unknown name lists the near matches."""
    if name not in found:
        raise InputError(f"unknown method {name!r}; {near_matches(name, found)}")
    return found[name]


@cache
def load(file: MethodFile) -> type[Method]:
    """Import the method. Raises InputError in one line where the file is not a usable method."""
    where = str(file.path) if file.path else f"entry point {file.entry_point.value}"
    try:
        found = file.entry_point.load() if file.entry_point else _import(file)
    except SyntaxError as error:
        raise InputError(f"{where}, line {error.lineno}: not valid Python: {error.msg}") from None
    except Exception as error:
        raise InputError(f"{where}: cannot be imported: {type(error).__name__}: {error}") from error
    except SystemExit as error:
        raise InputError(f"{where}: calls sys.exit({error.code}) when imported") from None
    if not (inspect.isclass(found) and issubclass(found, Method)):
        raise InputError(f"{where}: must hold exactly one class that derives from squeezebench.method.base.Method")
    found.name = file.name
    return found


def _import(file: MethodFile) -> type[Method] | None:
    name = f"squeezebench_methods.{file.name}"
    spec = importlib.util.spec_from_file_location(name, file.path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    own = [
        value
        for key, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == name and not key.startswith("_")
    ]
    return own[0] if len(own) == 1 else None
