"""Heads: what a recurrence reads, and what is read from its states. One file each, named in the spec of a model."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from squeezebench.nn.rnn.heads.last import LastState


def head_from_spec(spec: dict[str, Any] | None) -> LastState | None:
    """The head that `spec()` describes; None: the last state. Raises ValueError if there is no such head."""
    if spec is None:
        return None
    arguments = dict(spec)
    name = arguments.pop("head", "segments")  # the specs of temporal segments do not name their head
    if name not in {module.name for module in pkgutil.iter_modules(__path__)}:
        raise ValueError(f"unknown head {name!r}")
    return importlib.import_module(f"{__name__}.{name}").Head(**arguments)
