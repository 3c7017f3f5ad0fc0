"""The outcome of `squeezebench report --verify` as the report shows it: verification.json beside the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from squeezebench.base.reading import read_json
from squeezebench.report import formats
from squeezebench.report.tabular.table import Table, text_column
from squeezebench.schema.verification import VERIFICATION, Problem, Verification, records_digest

KEYS = tuple(Problem.model_fields)


@dataclass(frozen=True)
class Verified:
    """A line for the first screen, and every problem."""

    line: str
    sound: bool  # the records are those that were verified, and nothing was wrong
    problems: Table  # run, field, recorded, measured
    asides: list[str]  # what was not measured, and why; notes


def verified(folder: Path) -> Verified | None:
    """None where the folder was never verified."""
    if not (folder / VERIFICATION).is_file():
        return None
    outcome = read_verification(folder)
    if outcome is None:
        return Verified(f"{VERIFICATION} cannot be read: verify again", False, _table([]), [])
    return _shown(outcome, outcome.records_digest == records_digest(folder))


def read_verification(folder: Path) -> Verification | None:
    """The file in `folder`; None if there is none that can be read."""
    try:
        return Verification.model_validate(read_json(folder / VERIFICATION))
    except (OSError, ValueError):
        return None


def _shown(outcome: Verification, current: bool) -> Verified:
    problems = [{key: formats.clean(getattr(problem, key)) for key in KEYS} for problem in outcome.problems]
    line = (
        f"{formats.plural(outcome.records, 'record')} checked for consistency, {outcome.measured:,} "
        f"measured again from their saved models, {outcome.scored:,} of these on their data"
    )
    line += f", {outcome.without_model:,} without a model" if outcome.without_model else ""
    line += f"; {formats.plural(len(problems), 'problem')}" if problems else "; no problem"
    line += f" ({outcome.finished[:10]})"
    if not current:
        line = f"Records have changed since they were verified: {line}"
    asides = [f"{reason} ({formats.plural(number, 'run')})" for reason, number in outcome.not_measured.items()]
    asides = [formats.clean(aside) for aside in (*asides, *outcome.notes)]
    return Verified(formats.clean(line), current and not problems, _table(problems), asides)


def _table(problems: list[dict[str, str]]) -> Table:
    columns = [text_column(key.capitalize(), key) for key in KEYS]
    caption = "Fields of records that are not what was measured again, or that contradict the record's other fields."
    frame = pd.DataFrame(problems, columns=list(KEYS))
    return Table(columns, frame, caption=caption, name="verification")
