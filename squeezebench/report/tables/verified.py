"""What `squeezebench report --verify` found, as the report shows it: verification.json beside the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from squeezebench.base.reading import read_json
from squeezebench.report import formats
from squeezebench.report.tables.table import Table, text_column
from squeezebench.schema.verification import VERIFICATION, records_digest

KEYS = ("run", "field", "recorded", "measured")


@dataclass(frozen=True)
class Verified:
    """A line for the first screen, and every problem."""

    line: str
    sound: bool  # the records are those that were verified, and nothing was wrong
    problems: Table  # run, field, recorded, measured
    asides: list[str]  # what was not measured, and why; notes


def verified(folder: Path) -> Verified | None:
    """None where the folder was never verified."""
    path = folder / VERIFICATION
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        return _read(content, content["records_digest"] == records_digest(folder))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Verified(f"{VERIFICATION} cannot be read: verify again", False, _table([]), [])


def _read(content: dict[str, Any], current: bool) -> Verified:
    problems = [{key: formats.clean(str(one[key])) for key in KEYS} for one in content["problems"]]
    without = int(content["without_model"])
    line = (
        f"{formats.plural(int(content['records']), 'record')} checked for consistency, {int(content['measured']):,} "
        f"measured again from their saved models, {int(content['scored']):,} of these on their data"
    )
    line += f", {without:,} without a model" if without else ""
    line += f"; {formats.plural(len(problems), 'problem')}" if problems else "; no problem"
    line += f" ({str(content['finished'])[:10]})"
    if not current:
        line = f"Records have changed since they were verified: {line}"
    asides = [f"{reason} ({formats.plural(int(n), 'run')})" for reason, n in content["not_measured"].items()]
    asides += [str(note) for note in content["notes"]]
    asides = [formats.clean(one) for one in asides]
    return Verified(formats.clean(line), current and not problems, _table(problems), asides)


def _table(problems: list[dict[str, str]]) -> Table:
    columns = [text_column(key.capitalize(), key) for key in KEYS]
    caption = "Fields of records that are not what was measured again, or that contradict the record's other fields."
    frame = pd.DataFrame(problems, columns=list(KEYS))
    return Table("verification", columns, frame, {key: key for key in KEYS}, caption)
