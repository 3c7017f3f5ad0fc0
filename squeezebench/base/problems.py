"""What pydantic found wrong, as the parts of one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError


@dataclass(frozen=True)
class Problem:
    """The first of a model's problems. As text: `counts.bias: Input should be a valid integer`."""

    path: tuple[int | str, ...]
    message: str  # one line
    kind: str  # pydantic's name of it, `extra_forbidden`
    given: Any

    @property
    def place(self) -> str:
        """`training.epochs`; empty if several keys do not go together."""
        return ".".join(str(part) if str(part).isprintable() else repr(part) for part in self.path)

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.path else self.message


def first_problem(error: ValidationError) -> Problem:
    """The first problem of a failed validation."""
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ").splitlines()[0]
    return Problem(first["loc"], message, first["type"], first["input"])
