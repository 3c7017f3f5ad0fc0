"""A value of a record that is not what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Difference:
    """One value of a record, and what was found instead."""

    what: str
    recorded: Any
    found: Any
