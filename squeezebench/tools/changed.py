"""Which method files are no longer those of the runs that a report shows.

The page is made from its folder alone, and reads the same on every machine: there a run is stale if its engine is not
the plan's. Whether the files of the methods have changed since, only the machine that has them can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.base.reading import read_json
from squeezebench.base.source import RULE
from squeezebench.method.discovery import find_methods
from squeezebench.schema.record import RecordError, read_record, record_files

MOST_NAMED = 4


def changed_methods(folder: Path, plugins: Iterable[str | Path] = ()) -> str:
    """A sentence that names the methods whose files here are others than those of the runs; empty if there are none.

    Methods that are not here, and digests by another rule, are left out. No method is imported.
    """
    plan = _plan(folder / "plan.json")
    named = [place for place in plan.get("plugins") or () if isinstance(place, str)]
    places = [*plugins, *(place for place in named if Path(place).exists())]
    try:
        here = find_methods(dict.fromkeys(Path(place).resolve() for place in places))
    except InputError:  # two files of one name: which one made the runs is not known
        return ""
    digests = _planned(plan) if plan else _recorded(folder)
    changed = [name for name, digest in sorted(digests.items()) if name in here and here[name].digest != digest]
    if not changed:
        return ""
    more = len(changed) - MOST_NAMED
    named = ", ".join(changed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"changed since these runs, and not marked on the page: the method files of {named}"


def _plan(path: Path) -> Mapping[str, Any]:
    """The plan, as far as it can be read: the report has said what is wrong with it."""
    try:
        plan = read_json(path)
    except (OSError, ValueError):
        return {}
    return plan if isinstance(plan, Mapping) else {}


def _planned(plan: Mapping[str, Any]) -> dict[str, str]:
    methods = plan.get("methods")
    if plan.get("digest_rule") != RULE or not isinstance(methods, Mapping):
        return {}
    entries = {name: entry.get("digest") for name, entry in methods.items() if isinstance(entry, Mapping)}
    return {name: digest for name, digest in entries.items() if isinstance(digest, str)}


def _recorded(folder: Path) -> dict[str, str]:
    digests = {}
    for file in record_files(folder):
        with suppress(RecordError):
            record = read_record(file)
            if record.provenance.digest_rule == RULE and record.provenance.method_digest:
                digests[record.method] = record.provenance.method_digest
    return digests
