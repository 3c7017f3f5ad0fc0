"""The page of the Python interface: what `import squeezebench` offers, and what an author of plugins reads."""

from __future__ import annotations

import inspect
from importlib import import_module

import squeezebench

# What a plugin author reads: module -> names.
AUTHORS = {
    "squeezebench.method.base": ["Method", "Stage", "Clock"],
    "squeezebench.method": ["setting", "RecurrentSettings"],
    "squeezebench.nn.rnn.cells": ["Cell", "cell_of"],
    "squeezebench.data": ["pad"],
}
HEAD = """# Python interface

`import squeezebench` loads neither PyTorch nor pandas; the functions below are imported when they are used first.
"""


def page() -> str:
    """One section for the package, one for plugin authors; Sphinx fills in signatures and docstrings."""
    public = {"squeezebench": sorted(getattr(squeezebench, "__all__", []))}
    parts = [HEAD, *entries(public), "## For authors of methods, cells and sources\n", *entries(AUTHORS)]
    return "\n".join(parts)


def entries(names: dict[str, list[str]]) -> list[str]:
    blocks = []
    for module, members in names.items():
        for name in members:
            thing = getattr(import_module(module), name)
            kind = "autoclass" if inspect.isclass(thing) else "autofunction"
            options = "   :members:\n   :exclude-members: model_config\n" if inspect.isclass(thing) else ""
            blocks.append(f"```{{eval-rst}}\n.. {kind}:: {module}.{name}\n{options}```\n")
    return blocks
