"""Which method files are no longer those of the runs that a report shows.

The page is made from its folder alone, and reads the same on every machine: there a run is stale if its engine is not
the plan's. Whether the files of the methods have changed since, only the machine that has them can tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from squeezebench.base.errors import InputError
from squeezebench.base.source import RULE
from squeezebench.method.discovery import find_methods
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.schema.record import RecordError, read_record, record_files

MOST_NAMED = 4


def changed_methods(folder: Path, plugins: Iterable[str | Path] = ()) -> str:
    """A sentence that names the methods whose files here are others than those of the runs; empty if there are none.

    Methods that are not here, and digests by another rule, are left out. No method is imported.
    """
    plan = None
    with suppress(InputError):  # the report has said what is wrong with it
        plan = read_plan(folder / "plan.json", job="")
    places = [*plugins, *(place for place in (plan.plugins if plan else ()) if Path(place).exists())]
    try:
        here = find_methods(dict.fromkeys(Path(place).resolve() for place in places))
    except InputError:  # two files of one name: which one made the runs is not known
        return ""
    if plan is None:
        digests = _recorded(folder)
    else:
        digests = {name: method.digest for name, method in plan.methods.items() if plan.digest_rule == RULE}
    changed = [name for name, digest in sorted(digests.items()) if name in here and here[name].digest != digest]
    if not changed:
        return ""
    more = len(changed) - MOST_NAMED
    named = ", ".join(changed[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"changed since these runs, and not marked on the page: the method files of {named}"


def _recorded(folder: Path) -> dict[str, str]:
    digests = {}
    for file in record_files(folder):
        with suppress(RecordError):
            record = read_record(file)
            if record.provenance.digest_rule == RULE and record.provenance.method_digest:
                digests[record.method] = record.provenance.method_digest
    return digests
