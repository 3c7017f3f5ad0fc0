"""Recurrent cells: one file each, found by its name. No other code names a cell; it asks `cell_of(name)`.

Importing a cell does not import torch, because the planner and the formulas for counts ask cells too.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from functools import cache

from squeezebench.base.errors import InputError
from squeezebench.base.suggestions import near_matches
from squeezebench.nn.rnn.cells.base import Cell

DEFAULT = "lstm"  # what the papers compress

__all__ = ["DEFAULT", "Cell", "cell_of", "known_cells"]


def known_cells() -> list[str]:
    """Names of the cells, sorted: the files in this folder."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "base")


@cache
def cell_of(name: str) -> Cell:
    """The cell called `name`. Raises InputError if there is none."""
    if name not in known_cells():
        raise InputError(f"unknown recurrent cell {name!r}; {near_matches(name, known_cells())}")
    module = importlib.import_module(f"{__name__}.{name}")
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Cell) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise InputError(f"{module.__file__}: must hold exactly one subclass of Cell, holds {len(own)}")
    return own[0](name)
