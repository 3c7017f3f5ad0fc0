"""Finding methods: files in `methods/`, files in folders that an experiment names, and installed entry points.

One file = one method: the file's name is the method's name, and the file defines exactly one subclass of Method
(classes whose names start with an underscore do not count). There is no registration.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from squeezebench.base import plugins as base
from squeezebench.base.errors import InputError
from squeezebench.base.places import METHODS
from squeezebench.method.base import Method

MethodFile = base.Plugin


def find_methods(plugins: Iterable[str | Path] = ()) -> dict[str, MethodFile]:
    """Method files by name, without importing any. `plugins`: files, or folders of files.

    Raises InputError if a plugin takes the name of another method: their rows could not be told apart.
    """
    return base.find("methods", METHODS, plugins)


def pick(methods: Mapping[str, MethodFile], name: str) -> MethodFile:
    """The method file called `name`. Raises InputError, with the names that are near, if there is none."""
    return base.pick(methods, name, "method")


@cache
def load(file: MethodFile) -> type[Method]:
    """Import the method. Raises InputError, in one line, if the file is not a usable method."""
    method = base.load(file)
    if file.entry_point is None:
        own = [
            value
            for key, value in vars(method).items()
            if inspect.isclass(value) and issubclass(value, Method) and value.__module__ == method.__name__
            if not key.startswith("_")
        ]
        method = own[0] if len(own) == 1 else None
    if not (inspect.isclass(method) and issubclass(method, Method)):
        raise InputError(f"{file.where}: must hold exactly one class that derives from squeezebench.method.base.Method")
    method.name = file.name
    return method
