"""Published records get the digests of new code only where the new code makes the same bits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from synthetic_records import record, write

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.studies.restamp import covered_methods, main, restamp
from squeezebench.base.source import RULE
from squeezebench.report.gather import gather
from squeezebench.schema.record import read_record, write_record
from squeezebench.tools.recorded import read_recorded

OLD, NEW = {"engine_digest": "a" * 64, "digest_rule": 1}, {"engine_digest": "b" * 64, "digest_rule": RULE}
METHODS = ("dense", "iss")


def make(folder: Path, origin: dict, methods=METHODS, **changed) -> list[Path]:
    """Two seeds of each method, whose bits are the same in every folder unless `changed` says otherwise."""
    paths = []
    for method in methods:
        for seed in (0, 1):
            more = {"model_digest": "1" * 64, "history_digest": "2" * 64, "task_spec": {"name": "digits"}} | changed
            run = record("digits", method, 0, seed, model={"hidden": 64}, **more)
            digests = {"method_digest": method + origin["engine_digest"][0]} | origin
            run = run.model_copy(update={"provenance": run.provenance.model_copy(update=digests)})
            paths.append(write(folder, run))
    return paths


def test_the_records_of_a_method_with_the_same_bits(tmp_path):
    for name, origin in (("old", OLD), ("new", NEW), ("published", OLD)):
        paths = make(tmp_path / name, origin)
    published = tmp_path / "published"
    runs = [{"task": "digits", "method": path.parts[-4], "seed": int(path.parts[-2][-1]),
             "path": path.parent.relative_to(published).as_posix()} for path in paths]  # fmt: skip
    plan = {"engine_digest": OLD["engine_digest"], "methods": {"dense": {"digest": "densea"}}, "runs": runs}
    (tmp_path / "published/plan.json").write_text(json.dumps(plan))
    before = read_record(paths[0])
    assert gather(tmp_path / "published").runs["stale"].sum() == 0
    covered, reasons = covered_methods(tmp_path / "old", tmp_path / "new")
    assert set(covered) == set(METHODS) and reasons == {}
    assert restamp(tmp_path / "published", covered) == (4, {})
    after = read_record(paths[0])
    origin = after.provenance
    assert (origin.engine_digest, origin.method_digest, origin.digest_rule) == ("b" * 64, "denseb", RULE)
    assert origin.restamped_from == "a" * 64
    assert (
        origin.inputs_digest == read_recorded(paths[0]).spec().digest_with("denseb") != before.provenance.inputs_digest
    )
    assert after.model_copy(update={"provenance": before.provenance}) == before
    plan = json.loads((tmp_path / "published/plan.json").read_text())
    assert plan["engine_digest"] == "b" * 64 and plan["digest_rule"] == RULE
    assert plan["methods"]["dense"]["digest"] == "denseb"
    runs = gather(tmp_path / "published").runs
    assert len(runs) == 4 and not runs["stale"].any()
    assert restamp(tmp_path / "published", covered) == (0, {"has the new digests": 4})


def test_a_size_that_no_network_reaches_says_nothing_about_the_bits(tmp_path):
    for name, origin in (("old", OLD), ("new", NEW)):
        first, *_ = make(tmp_path / name, origin, methods=("iss",))
        skipped = read_record(first).model_copy(update={"status": "skipped", "model_digest": None})
        write_record(first.parent, skipped)
    assert set(covered_methods(tmp_path / "old", tmp_path / "new")[0]) == {"iss"}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"model_digest": "3" * 64}, "differs in model_digest"),
        ({"history_digest": "3" * 64}, "differs in history_digest"),
        ({"confusion": None}, "differs in"),
        ({"model_digest": None}, "differs in model_digest"),
    ],
)
def test_a_method_with_other_bits_keeps_its_digests(tmp_path, changed, reason):
    make(tmp_path / "old", OLD)
    make(tmp_path / "new", NEW, ["dense"])
    make(tmp_path / "new", NEW, ["iss"], **changed)
    published = make(tmp_path / "published", OLD)
    covered, reasons = covered_methods(tmp_path / "old", tmp_path / "new")
    assert set(covered) == {"dense"} and reason in reasons["iss"]
    before = published[2].read_bytes()
    assert restamp(tmp_path / "published", covered) == (2, {"iss is not covered": 2})
    assert published[2].read_bytes() == before


def test_a_run_that_was_not_made_again_and_records_of_other_code(tmp_path, capsys, monkeypatch):
    make(tmp_path / "old", OLD)
    make(tmp_path / "new", NEW)[3].unlink()
    paths = make(tmp_path / "published", {**OLD, "engine_digest": "c" * 64, "method_digest": "densea"}, ["dense"])
    places = [str(tmp_path / name) for name in ("old", "new", "published")]
    for more, number in (([], 0), (["--also", "c" * 64], 2)):
        monkeypatch.setattr(sys, "argv", ["restamp", *places, *more])
        main()
        out = capsys.readouterr().out
        assert "not covered: iss: 1 of 2 runs are not in" in out and f"{number} records with new digests" in out
    assert read_record(paths[0]).provenance.restamped_from == "c" * 64
