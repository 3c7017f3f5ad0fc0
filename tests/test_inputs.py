"""Which records a mean, a headline and a claim may be made of: runs whose inputs differ in the seed alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from method_files import method_file
from synthetic_records import ENGINE, record, write

from squeezebench.base.source import RULE, digest_of_file
from squeezebench.report.gather import Gathered, gather
from squeezebench.report.overview import missing, overview
from squeezebench.report.results import Results
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.verdicts import headlines
from squeezebench.schema.plan import Plan, PlannedMethod
from squeezebench.schema.record import Record
from squeezebench.tools.changed import changed_methods

TRAINING = {"epochs": 12, "batch_size": 32}
TASK = {"name": "digits"}
MODEL = {"hidden": 64}
DIGEST = "d" * 64
OTHERS = {  # what a run may differ in -> fields of its record, and the words that say so
    "epochs": ({"training": TRAINING | {"epochs": 1}}, "training epochs 1 ({}: 12)"),
    "frames": ({"task_spec": TASK | {"frames": 4}}, "task frames 4 ({}: null)"),
    "normalisation": ({"task_spec": TASK | {"normalise": "std"}}, "task normalise std ({}: standard)"),
    "split": ({"task_spec": TASK | {"split": "random"}}, "task split random ({}: null)"),
    "options": ({"task_spec": TASK | {"options": {"a": 1}}}, 'task options {{"a": 1}} ({}: {{}})'),
    "data": ({"fingerprint": "contents:2"}, "other data files"),
    "model": ({"model": MODEL | {"hidden": 8}}, "model hidden 8 ({}: 64)"),
    "method": ({"method_digest": "e" * 64}, "another version of the method's file"),
    "rule": ({"digest_rule": 1, "method_digest": "f" * 64}, "digests by another rule, which cannot be compared"),
}


def run(method: str, seed: int, test: float, **changed) -> Record:
    """A finished run with all of its inputs."""
    digests = {key: changed.pop(key) for key in ("method_digest", "digest_rule") if key in changed}
    content = {"training": TRAINING, "task_spec": TASK, "model": MODEL, "fingerprint": "contents:1",
               "accuracy": {"validation": test, "test": test}} | changed  # fmt: skip
    one = record("digits", method, 2, seed, **content)
    origin = one.provenance.model_copy(update={"method_digest": DIGEST, "digest_rule": 2} | digests)
    return one.model_copy(update={"provenance": origin})


def place(method: str, seed: int) -> str:
    return f"runs/digits/{method}/{record('digits', method, 2, 0).settings}/seed-{seed}"


def plan(folder: Path, methods: list[str], seeds: list[int], settings: dict | None = None, **changed) -> None:
    """A plan as `squeezebench plan` writes it, as far as a report reads it; `changed`: keys of its task."""
    task = {"spec": TASK, "fingerprint": "contents:1", "training": TRAINING, "model": MODEL} | changed
    runs = [{"task": "digits", "method": method, "settings": settings or record("digits", method, 2, 0).settings,
             "seed": seed, "path": place(method, seed)} for method in methods for seed in seeds]  # fmt: skip
    content = {"protocol": "sound", "engine_digest": ENGINE, "digest_rule": 2, "tasks": {"digits": task},
               "methods": {method: {"digest": DIGEST} for method in methods}, "runs": runs}  # fmt: skip
    (folder / "plan.json").write_text(json.dumps(content))


def mean_of(gathered: Gathered, method: str) -> tuple[float, str]:
    group = run_groups(gathered).set_index("method").loc[method]
    return group["test_accuracy_mean"], group["seeds"]


@pytest.mark.parametrize("planned", [True, False], ids=["plan", "no plan"])
@pytest.mark.parametrize("what", OTHERS)
def test_runs_of_other_inputs_never_share_a_mean(tmp_path, what, planned):
    changed, words = OTHERS[what]
    for seed, value in enumerate((0.90, 0.92)):
        write(tmp_path, run("iss", seed, value), place("iss", seed))
    write(tmp_path, run("iss", 2, 0.1, **changed), place("iss", 2))
    if planned:
        plan(tmp_path, ["iss"], [0, 1, 2])
    gathered = gather(tmp_path)
    assert mean_of(gathered, "iss") == (pytest.approx(0.91), "0 1")
    reason = words.format("plan" if planned else "most runs")
    assert gathered.left_out["left_out"].tolist() == [reason]
    listed = gathered.problems[gathered.problems["kind"] == "left out"]
    assert (listed["reason"].tolist(), listed["seed"].tolist()) == ([reason], [2])
    missing = gathered.problems[gathered.problems["kind"] == "missing"]
    assert missing["reason"].tolist() == [f"planned; the record in its place is of other inputs: {reason}"] * planned


@pytest.mark.parametrize("planned", [True, False], ids=["plan", "no plan"])
def test_where_data_and_weights_lie_plays_no_part(tmp_path, planned):
    """Digests say which they are: a run that the engine keeps when they have moved counts in the report too."""
    for seed, value in enumerate((0.90, 0.92, 0.94)):
        lie = {"task_spec": TASK | {"options": {"folder": f"{seed}/digits"}},
               "settings": {"start": {"file": f"{seed}/weights.pt", "sha256": "a" * 64}}}  # fmt: skip
        write(tmp_path, run("iss", seed, value, **lie), place("iss", seed))
    if planned:
        plan(tmp_path, ["iss"], [0, 1, 2], spec=lie["task_spec"], settings=lie["settings"])
    gathered = gather(tmp_path)
    assert gathered.left_out.empty and gathered.problems.empty
    assert mean_of(gathered, "iss") == (pytest.approx(0.92), "0 1 2")


def test_tasks_of_the_same_files_are_one_set_of_data(tmp_path):
    for task, files in (("split.fold-0", "1"), ("split.fold-1", "1"), ("random", "1"), ("other", "2")):
        one = run("iss", 0, 0.9, task_spec=TASK | {"name": task, "source": "digits"}, fingerprint=files)
        write(tmp_path, one.model_copy(update={"task": task}), f"runs/{task}/iss/seed-0")
    assert gather(tmp_path).data_of == dict.fromkeys(["random", "split.fold-0", "split.fold-1"], "random, split") | {
        "other": "other"
    }


def test_inputs_that_an_older_record_does_not_hold_are_not_held_against_it(tmp_path):
    for seed in range(2):
        older = run("iss", seed, 0.9, task_spec=None, model=None, fingerprint="", training={"epochs": 12})
        write(tmp_path, older, place("iss", seed))
    plan(tmp_path, ["iss"], [0, 1])
    assert gather(tmp_path).left_out.empty


def test_records_that_match_nothing_of_a_new_plan_are_counted_as_such(tmp_path):
    for seed in range(3):
        for method in ("dense", "iss"):
            write(tmp_path, run(method, seed, 0.9), place(method, seed))
    plan(tmp_path, ["dense", "iss"], [0, 1, 2, 3, 4], training=TRAINING | {"epochs": 60})
    gathered = gather(tmp_path)
    shown = overview(gathered)
    assert (shown["number"]["ok"], shown["planned"], shown["records"]) == (0, 10, 6)
    assert shown["number"]["left out"] == 6 and shown["number"]["missing"] == 10
    assert gathered.runs.empty


def test_what_the_plan_no_longer_has_decides_nothing(tmp_path):
    """A control of an older plan would be beaten, would be on the front, and would be best on validation."""
    for seed in range(5):
        write(tmp_path, run("dense", seed, 0.9 + 0.001 * seed), place("dense", seed))
        write(tmp_path, run("iss", seed, 0.8 + 0.002 * seed), place("iss", seed))
        for method, value in (("small_dense", 0.3), ("pooled_linear", 0.99)):
            write(
                tmp_path,
                run(method, seed, value + 0.001 * seed, training=TRAINING | {"epochs": 1}),
                place(method, seed),
            )
    older = shutil.copytree(tmp_path, tmp_path / "older")
    plan(older, ["dense", "iss", "small_dense", "pooled_linear"], [0, 1, 2, 3, 4])
    plan(tmp_path, ["dense", "iss"], [0, 1, 2, 3, 4])
    results = Results(gather(tmp_path))
    assert set(results.groups["method"]) == set(results.summary["method"]) | {"dense"} == {"dense", "iss"}
    iss = results.groups.set_index("method").loc["iss"]
    assert iss[["small_n", "control_n"]].tolist() == [0, 0] and iss["dense_n"] == 5 and iss["front"]
    said = {headline.kind: headline.text for headline in headlines("digits", results.groups, results.chosen)}
    assert "There is no small_dense run" in said["equal_size"]
    assert set(gather(tmp_path).problems["reason"]) == {"no run of the plan, and training epochs 1 (plan: 12)"}
    assert len(gather(older).problems) == 20, "in their old places, of other training: left out and missing"


def test_the_page_says_which_planned_runs_are_left_out_and_why(tmp_path):
    """`not run yet` would be wrong: they have a record, of another version of the method's file."""
    for seed in (0, 1):
        write(tmp_path, run("iss", seed, 0.9, **({"method_digest": "e" * 64} if seed else {})), place("iss", seed))
    plan(tmp_path, ["iss"], [0, 1, 2])
    waits, differs = missing(Results(gather(tmp_path)))[:2]
    assert waits.startswith("1 of 3 planned runs have no result yet: digits/iss (1).")
    assert differs.startswith("1 of 3 planned runs are left out")
    assert "What differs: another version of the method's file." in differs.replace("’", "'")


def test_the_report_tells_which_method_files_have_changed_since_the_runs(tmp_path):
    plugin = tmp_path / "methods" / "mine.py"
    plugin.parent.mkdir()
    plugin.write_text(method_file())
    results = tmp_path / "results"
    results.mkdir()
    digests = {"mine": digest_of_file(plugin), "not_here": "0" * 64}
    methods = {name: PlannedMethod(path=None, digest=digest, needs_start=False) for name, digest in digests.items()}
    plan = Plan(experiment="e", description="", protocol="sound", config={}, engine_digest="", digest_rule=RULE,
                plugins=[str(plugin)], tasks={}, methods=methods, runs=[], start_jobs=[], data_jobs=[],
                jobs=[])  # fmt: skip
    (results / "plan.json").write_text(plan.model_dump_json())
    assert changed_methods(results) == ""
    plugin.write_text(plugin.read_text() + "\nOTHER = 1\n")
    assert changed_methods(results).endswith("the method files of mine")
