"""The classes that a saved description can name: modules by `class`, factorized layers by `map`."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from squeezebench.base.errors import InputError

Class = TypeVar("Class", bound=type[nn.Module])
_CLASSES: dict[str, type[nn.Module]] = {}


def register(cls: Class) -> Class:
    """Class decorator: `module_from_spec` finds the class by its attribute `name`, or else by its own name."""
    _CLASSES[getattr(cls, "name", cls.__name__)] = cls
    return cls


def module_from_spec(spec: dict[str, Any]) -> nn.Module:
    """The module that `spec()` described, freshly initialised; its state_dict is loaded next.

    A class with `from_spec` builds itself; every other one is called with the entries of the spec as arguments.
    Raises InputError if no registered class has the name in `spec`.
    """
    key = "map" if "map" in spec else "class"
    cls = _class_named(spec.get(key))
    if cls is None:
        known = sorted(name for name, cls in _CLASSES.items() if (name != cls.__name__) == (key == "map"))
        raise InputError(f"no {key} {spec.get(key)!r} is registered; there are {', '.join(known)}")
    if hasattr(cls, "from_spec"):
        return cls.from_spec(spec)
    return cls(**{name: value for name, value in spec.items() if name != key})


def _class_named(name: object) -> type[nn.Module] | None:
    """The registered class, whose module `squeezebench.nn` imports if nothing has done so before."""
    if not isinstance(name, str):
        return None
    if name not in _CLASSES:
        from squeezebench import nn as modules

        getattr(modules, name, None)
    return _CLASSES.get(name)
