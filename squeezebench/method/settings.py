"""Validating the settings that an experiment gives to a method."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from squeezebench.base.errors import InputError
from squeezebench.base.problems import first_problem
from squeezebench.base.suggestions import near_matches
from squeezebench.method.base import Method
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.schema.models import RecurrentSettings


def settings_of(method: type[Method], given: dict[str, Any], where: str) -> Any:
    """The method's validated Settings. Raises InputError naming the setting and what is allowed."""
    known = method.Settings.model_fields
    for name in given:
        if name not in known:
            raise InputError(f"{where}: {method.name} has no setting {name!r}; {near_matches(name, known)}")
    try:
        settings = method.Settings(**given)
    except ValidationError as error:
        problem = first_problem(error)
        if problem.kind == "missing":  # what pydantic holds for its value are all that were given
            reason = f"needs a value for {problem.place}, which has no default"
            raise InputError(f"{where}: {method.name} {reason}") from None
        value = f"{problem.place} = {problem.given!r}: " if problem.path else ""
        raise InputError(f"{where}: {method.name}: {value}{problem.message}") from None
    check_cell(settings, f"{where}: {method.name}")
    return settings


def check_cell(settings: Any, where: str) -> None:
    """Raise InputError if `settings` name a recurrent cell that does not exist."""
    if not isinstance(settings, RecurrentSettings):
        return
    try:
        cell_of(settings.cell)
    except InputError as error:
        raise InputError(f"{where}: cell: {error}") from None
