"""Tuning in a plan: what is tuned, from which settings, in which space. All of it is checked before anything runs."""

from __future__ import annotations

from typing import Any

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.suggestions import near_matches
from squeezebench.method.base import Method
from squeezebench.method.settings import settings_of
from squeezebench.pipeline.tuning.space import space_of
from squeezebench.schema.plan import PlannedTuning
from squeezebench.schema.tuning import Tuning

FOLDER = "tuned"  # of the winner's runs, below their method's


def methods_to_tune(tuning: Tuning | None, listed: dict[str, Any], where: str) -> list[str]:
    """The methods whose settings are picked by trials. Raises InputError for one that the experiment does not list."""
    if tuning is None:
        return []
    for name in tuning.methods or []:
        if name not in listed:
            hint = near_matches(name, listed)
            raise InputError(f"{where}: tuning: methods: {name!r} is not among methods; {hint}")
    return tuning.methods or list(listed)


def plan_tuning(
    place: tuple[str, str], method: type[Method], given: Any, elsewhere: dict[str, Any], tuning: Tuning, shared: Any,
    where: str,
) -> PlannedTuning:  # fmt: skip
    """Raises InputError in one line where an entry or a search space cannot be tuned.

    place: (task, method). given: the method's entry; a value fixes its setting, a list replaces the declared search.
    elsewhere: settings that `model:`, `defaults:` or the protocol set. shared: what all runs of the
    task share, for the name of the job.
    """
    here = f"{where}: methods: {place[1]}"
    if isinstance(given, list):
        raise InputError(f"{here}: a method that is tuned takes one mapping of settings, not a list of them")
    given = given or {}
    varied = {setting: value for setting, value in given.items() if not isinstance(value, list)}
    if unknown := [setting for setting in given if setting not in method.Settings.model_fields]:
        settings_of(method, {unknown[0]: None}, f"{where}: methods")  # says what is known
    settings = settings_of(method, elsewhere | varied, f"{where}: methods").model_dump(mode="json")
    space = space_of(method, given, elsewhere, method.Settings(**settings), here)
    for setting in given.keys() & space.keys():
        for value in space[setting].choices:
            settings_of(method, settings | {setting: value}, f"{where}: methods")
    axes = {setting: axis.model_dump(mode="json") for setting, axis in space.items()}
    asked = tuning.model_dump(mode="json", exclude={"methods"})
    name = "/".join(place)
    return PlannedTuning(
        task=place[0],
        method=place[1],
        settings=settings,
        varied=varied,
        space=space,
        path=f"tuning/{name}.json",
        job=f"{name}/{digest_of([shared, settings, axes, asked])[:12]}",
    )
