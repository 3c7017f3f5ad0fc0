"""`squeezebench submit RESULTS --as NAME`: a finished experiment is checked and packed into one archive."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from squeezebench import __version__
from squeezebench.base.contents import sha256_of
from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.files import hidden_beside
from squeezebench.base.reading import inside, regular
from squeezebench.pipeline.plan_file import read_plan
from squeezebench.schema.experiment import NAME, validated
from squeezebench.schema.plan import Plan
from squeezebench.schema.record import MODEL_NAME, RECORD_NAME, RUN_FILES, Record, read_record
from squeezebench.schema.stored import in_json, sealed
from squeezebench.schema.submission import PLAN, SUBMISSION, Submission
from squeezebench.tools.verify.saved import verify

PLACE = ("machine", "cpu_capability", "variables", "gpu", "device", "threads", "native", "python", "packages")
MOMENT = (1980, 1, 1, 0, 0, 0)  # of every member: the same results give the same bytes


def submit(
    folder: Path, name: str, to: Path, *, models: bool = True, unfinished: bool = False, plugins: list[str | Path] = ()
) -> Path:
    """Check the results in `folder`, pack them into `to/NAME-EXPERIMENT.zip` and return its path.

    models: whether the compact networks go along; without them a board shows the numbers as submitted. unfinished:
    planned runs may lack a record; the submission then names them. plugins: the experiment's own methods and data
    sources, to measure its networks again. Raises InputError, in a line that says what is missing or wrong; nothing is
    written then.
    """
    if not re.fullmatch(NAME, name):
        raise InputError(f"--as {name!r}: give letters, digits, dots, dashes and underscores, a letter or digit first")
    plan = read_plan(folder / PLAN)
    missing = [run.path for run in plan.runs if not (folder / run.path / RECORD_NAME).is_file()]
    records = _finished(folder, plan, models, [] if unfinished else missing)
    if problems := verify(folder, plugins=plugins, keep=False).problems:
        first = problems[0]
        raise InputError(
            f"{folder / first.run}: {first.field} is recorded as {first.recorded}, and is {first.measured} "
            f"({len(problems)} problems; squeezebench report {folder} --verify lists all)"
        )
    files = {path: regular(inside(folder, folder / path)) for path in sorted(_packed(folder, plan, records, models))}
    content = {
        "name": name,
        "experiment": plan.experiment,
        "squeezebench": __version__,
        "finished": max(record.provenance.finished for record in records.values()),
        "environments": _environments(records),
        "missing": missing,
        "files": {path: sha256_of(source) for path, source in files.items()},
    }
    return _archive(validated(Submission, content, f"--as {name}"), files, to)


def _finished(folder: Path, plan: Plan, models: bool, missing: list[str]) -> dict[str, Record]:
    """The records of the planned runs by their paths. Raises InputError if a record or a network is missing."""
    if missing:
        raise InputError(
            f"{folder}: {len(missing):,} of {len(plan.runs):,} planned runs have no record, {missing[0]} first; finish "
            "the experiment (snakemake), or give --unfinished to send it with these runs named as missing"
        )
    paths = {run.path: folder / run.path / RECORD_NAME for run in plan.runs}
    records = {path: read_record(file) for path, file in paths.items() if file.is_file()}
    ok = [path for path, record in records.items() if record.status == "ok"]
    if not ok:
        raise InputError(f"{folder}: no run has succeeded; there is nothing to submit")
    bare = [path for path in ok if not (folder / path / MODEL_NAME).is_file()]
    if models and bare:
        raise InputError(
            f"{folder}: {len(bare):,} of {len(ok):,} runs have no {MODEL_NAME}, {bare[0]} first; a board cannot "
            "measure them again. To send the numbers alone, give --without-models"
        )
    return records


def _packed(folder: Path, plan: Plan, records: dict[str, Record], models: bool) -> list[str]:
    """The paths of all files that go along, relative to `folder`."""
    names = RUN_FILES if models else tuple(name for name in RUN_FILES if not name.endswith(".safetensors"))
    paths = [PLAN, *(tuning.path for tuning in plan.tunings)]
    paths += [f"{path}/{name}" for path in records for name in names]
    return [path for path in paths if (folder / path).is_file()]


def _environments(records: dict[str, Record]) -> list[dict[str, Any]]:
    """Each machine with its packages, and how many runs were made there."""
    places = [record.provenance.model_dump(mode="json", include=set(PLACE)) for record in records.values()]
    number, by_digest = Counter(map(digest_of, places)), {digest_of(place): place for place in places}
    return [by_digest[key] | {"runs": number[key]} for key in sorted(number)]


def _archive(submission: Submission, files: dict[str, Path], to: Path) -> Path:
    """Write the archive, whole or not at all."""
    target = to / f"{submission.id}.zip"
    to.mkdir(parents=True, exist_ok=True)
    half = hidden_beside(target)
    try:
        with zipfile.ZipFile(half, "w") as archive:
            _member(archive, SUBMISSION, in_json(sealed(submission)))
            for path, source in files.items():
                _member(archive, path, source.read_bytes())
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)
    return target


def _member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, MOMENT)
    member.compress_type, member.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
    archive.writestr(member, content)
