"""New digests for published records whose methods still make the same bits.

    python -m benchmarks.studies.restamp OLD NEW PUBLISHED [--also ENGINE_DIGEST]

OLD and NEW are results of one experiment on one machine, made by the old and by the new code. A method is covered if
each of its runs in OLD is in NEW with the same bits. The records of covered methods in PUBLISHED that OLD's code made
(or an engine that `--also` names) get the digests of the new code, and name the engine that made them. All others keep
their digests. Tuning files are left alone.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from squeezebench.base.digests import digest_of
from squeezebench.base.errors import InputError
from squeezebench.base.reading import read_json
from squeezebench.base.source import RULE
from squeezebench.schema.metrics import METRICS
from squeezebench.schema.record import RECORD_NAME, Record, read_record, write_record
from squeezebench.schema.stored import write_json
from squeezebench.tools.recorded import plan_in, read_recorded

Key = tuple[str, str, str, str, int]
# Words may be put better without another result, and records of before schema 5 do not hold groups.
NO_BITS = ("reason", "notes", "group_codes")
BITS = [metric for metric in METRICS if metric.compared != "ignored" and metric.path not in NO_BITS
        and not metric.path.startswith("provenance.")]  # fmt: skip


@dataclass(frozen=True)
class Covered:
    """A method whose bits are the same in both folders."""

    old: set[tuple[str, str]]  # (engine digest, method digest) of its runs in OLD
    engine: str  # digests of the new code
    method: str


def records_in(folder: Path) -> dict[Key, Record]:
    """Every record by task, protocol, method, settings and seed. Raises InputError if there is none."""
    records = {}
    for path in sorted((folder / "runs").rglob(RECORD_NAME)):
        record = read_record(path)
        records[record.task, record.protocol, record.method, digest_of(record.settings), record.seed] = record
    if not records:
        raise InputError(f"{folder}: no record below runs/")
    return records


def same_bits(old: Record, new: Record) -> list[str]:
    """What differs between two finished runs; empty if their bits are the same."""
    if old.status != "ok" or not (old.model_digest and old.history_digest):
        return ["no bits to compare"]
    changed = [metric.path for metric in BITS if metric.value(old) != metric.value(new)]
    return changed + ["history_digest"] * (old.history_digest != new.history_digest)


def _both_skipped(old: Record, new: Record | None) -> bool:
    return new is not None and old.status == new.status == "skipped"


def covered_methods(old: Path, new: Path) -> tuple[dict[str, Covered], dict[str, str]]:
    """(the methods that make the same bits, the others with the reason)."""
    before, after = records_in(old), records_in(new)
    covered, reasons = {}, {}
    for method in sorted({key[2] for key in before}):
        pairs = [(record, after.get(key)) for key, record in before.items() if key[2] == method]
        pairs = [pair for pair in pairs if not _both_skipped(*pair)] or pairs  # neither for nor against
        missing = sum(again is None for _, again in pairs)
        changed = sorted({name for record, again in pairs if again for name in same_bits(record, again)})
        origins = [again.provenance for _, again in pairs if again]
        digests = {(origin.engine_digest, origin.method_digest) for origin in origins}
        if missing:
            reasons[method] = f"{missing} of {len(pairs)} runs are not in {new}"
        elif changed:
            reasons[method] = f"differs in {', '.join(changed)}"
        elif len(digests) != 1 or {origin.digest_rule for origin in origins} != {RULE}:
            reasons[method] = f"{new} was not made by one version of the code with rule {RULE}"
        else:
            made_by = {(record.provenance.engine_digest, record.provenance.method_digest) for record, _ in pairs}
            covered[method] = Covered(made_by, *digests.pop())
    return covered, reasons


def restamp(published: Path, covered: dict[str, Covered], also: tuple[str, ...] = ()) -> tuple[int, dict[str, int]]:
    """(number of records with new digests, reason -> number of those that keep theirs). Writes plan.json too."""
    plan, stamped, kept = plan_in(published), 0, {}
    for path in sorted((published / "runs").rglob(RECORD_NAME)):
        recorded = read_recorded(path, plan)
        record, origin = recorded.record, recorded.record.provenance
        method = covered.get(record.method)
        engines = {engine for engine, _ in method.old} | {*also} if method else set()
        if method is None:
            reason = f"{record.method} is not covered"
        elif (origin.digest_rule, origin.engine_digest, origin.method_digest) == (RULE, method.engine, method.method):
            reason = "has the new digests"
        elif origin.engine_digest not in engines or origin.method_digest not in {file for _, file in method.old}:
            reason = f"{record.method}: made by other code than the old one"
        else:
            changed = {
                "engine_digest": method.engine,
                "method_digest": method.method,
                "inputs_digest": recorded.spec().digest_with(method.method),
                "digest_rule": RULE,
                "restamped_from": origin.restamped_from or origin.engine_digest,
            }
            write_record(path.parent, record.model_copy(update={"provenance": origin.model_copy(update=changed)}))
            stamped += 1
            continue
        kept[reason] = kept.get(reason, 0) + 1
    if stamped:
        _restamp_plan(published / "plan.json", covered)
    return stamped, kept


def _restamp_plan(path: Path, covered: dict[str, Covered]) -> None:
    if not path.is_file():
        return
    plan = read_json(path)
    engines = {method.engine for method in covered.values()}
    if len(engines) == 1:
        plan |= {"engine_digest": engines.pop(), "digest_rule": RULE}
    for name, method in covered.items():
        if name in plan.get("methods", {}):
            plan["methods"][name]["digest"] = method.method
    write_json(path, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("old", "new", "published"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--also", action="append", default=[], metavar="ENGINE_DIGEST",
                        help="an older engine that differs from OLD's in words alone")  # fmt: skip
    options = parser.parse_args()
    covered, reasons = covered_methods(options.old, options.new)
    for method, reason in reasons.items():
        print(f"not covered: {method}: {reason}")
    stamped, kept = restamp(options.published, covered, tuple(options.also))
    for reason, number in kept.items():
        print(f"kept ({number} records): {reason}")
    print(f"{len(covered)} methods covered, {stamped} records with new digests")


if __name__ == "__main__":
    main()
