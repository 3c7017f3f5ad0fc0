"""The classes that a saved description can name: modules by `class`, factorized layers by `map`."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn

from squeezebench.base.errors import InputError

Class = TypeVar("Class", bound=type[nn.Module])
_CLASSES: dict[str, dict[str, type[nn.Module]]] = {"class": {}, "map": {}}


def register(cls: Class) -> Class:
    """Class decorator: the class is found by its own name, a factorized layer by its attribute `name`."""
    key, name = ("map", cls.name) if hasattr(cls, "name") else ("class", cls.__name__)
    _CLASSES[key][name] = cls
    return cls


def module_from_spec(spec: dict[str, Any]) -> nn.Module:
    """The module that `spec()` described, freshly initialised; its state_dict is loaded next.

    A class with `from_spec` builds itself; every other one is called with the entries of the spec as arguments.
    Raises InputError if no registered class has the name in `spec`.
    """
    key = "map" if "map" in spec else "class"
    cls = _class_named(key, spec.get(key))
    if cls is None:
        raise InputError(f"no {key} {spec.get(key)!r} is registered; there are {', '.join(sorted(_CLASSES[key]))}")
    if hasattr(cls, "from_spec"):
        return cls.from_spec(spec)
    return cls(**{name: value for name, value in spec.items() if name != key})


def _class_named(key: str, name: object) -> type[nn.Module] | None:
    """The registered class, whose module `squeezebench.nn` imports if nothing has done so before."""
    if not isinstance(name, str):
        return None
    if name not in _CLASSES[key]:
        from squeezebench import nn as modules

        getattr(modules, name, None)
    return _CLASSES[key].get(name)
