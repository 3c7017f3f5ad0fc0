"""A group on both sides of a split is counted, in the record and on the page, with the rule that prevents it."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic_records import record as synthetic

from squeezebench.cli.main import main
from squeezebench.data.outline import check_task
from squeezebench.data.task import PARTS, load_task
from squeezebench.report import build_report
from squeezebench.schema.predictions import unpacked_groups
from squeezebench.schema.record import GroupsAcross, read_record, write_record
from squeezebench.schema.task import TaskSpec

RULE = "`split: group` keeps every group on one side"


def save(path, group, subset=None):
    """40 sequences of two classes, in the order 0, 1, 0, 1, ..."""
    y = np.arange(40) % 2
    x = np.random.default_rng(0).normal(size=(40, 4, 3)) + y[:, None, None]
    np.savez(path, x=x, y=y, group=group, **({} if subset is None else {"subset": subset}))
    return path


OFFICIAL = np.array(["train"] * 28 + ["test"] * 12)
WITH_VALIDATION = np.array(["train"] * 20 + ["val"] * 8 + ["test"] * 12)
PAIRS = np.arange(40) // 4  # 10 groups of 4; rows 28 to 39 are groups 7, 8 and 9


@pytest.mark.parametrize(
    ("rule", "group", "subset", "expected"),
    [
        (None, PAIRS, OFFICIAL, (10, 0, 0, 0)),
        (None, (np.arange(40) // 4) % 8, OFFICIAL, (8, 2, 8, 0)),  # the last two groups are also the first two
        ("official", np.arange(40) % 10, OFFICIAL, (10, 10, 12, None)),
        ("official", np.array(["a", "b"] * 20), WITH_VALIDATION, (2, 2, 12, 2)),
        ("official", np.where(np.arange(40) < 28, np.arange(40) % 5, 9), WITH_VALIDATION, (6, 0, 0, 5)),
        ("group", np.arange(40) % 10, OFFICIAL, (10, 0, 0, 0)),
        ("leave_one_group_out", np.arange(40) % 10, None, (10, 0, 0, 0)),
        ("random", np.arange(40) // 20, None, (2, 2, 12, 2)),
    ],
)
def test_groups_on_both_sides_are_counted(tmp_path, rule, group, subset, expected):
    path = save(tmp_path / "own.npz", group, subset)
    fold = {"fold": 0} if rule == "leave_one_group_out" else {}
    task = load_task(TaskSpec(name="own", source="file", options={"path": str(path)}, split=rule, **fold))
    across = task.groups_across
    counted = (across.groups, across.test, across.test_sequences, across.validation)
    assert counted == tuple(value if value is not None else across.validation for value in expected)
    assert (RULE in across.words) == bool(across.test or across.validation)


def test_data_without_groups_have_no_count(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(40, 4, 3)), y=np.arange(40) % 2)
    assert load_task(TaskSpec(name="own", source="file", options={"path": str(path)})).groups_across is None


def test_the_record_of_a_run_has_the_count_and_its_log_says_so(tmp_path):
    path = save(tmp_path / "own.npz", np.arange(40) % 10, OFFICIAL)
    call = ["run", "--task", f"file:{path}", "--method", "pooled_linear", "--train", "epochs=1"]
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    record = read_record(tmp_path / "run" / "record.json")
    across = record.groups_across
    # Rows 28 to 39 are the test part; those of class 0 stand first.
    assert unpacked_groups(record.group_codes, 12).tolist() == [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 5]
    assert across.test == 10 and across.words in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("padded", [False, True])
def test_test_sequences_that_training_has_seen_are_counted_in_the_record_and_on_the_page(tmp_path, undrawn, padded):
    """Each sequence twice: a random split divides some of the pairs. What stands past the end makes no difference."""
    once, length = np.random.default_rng(0).normal(size=(40, 4, 3)), np.tile(np.arange(40) % 3 + 2, 2)
    twice, path = np.concatenate([once, once]), tmp_path / "own.npz"
    if padded:
        twice[np.arange(4) >= length[:, None]] = np.nan
        twice[40:][np.arange(4) >= length[40:, None]] = 7
    y = np.tile(np.arange(40) % 2, 2)
    np.savez(path, x=twice, y=y, **({"length": length} if padded else {}))
    task = load_task(TaskSpec(name="own", source="file", options={"path": str(path)}))
    rows = {part: set(task.raw(part, np.arange(task.size(part))).x[:, 0, 0].tolist()) for part in PARTS}
    again = task.raw("test", np.arange(task.size("test"))).x[:, 0, 0].tolist()
    known = sum(value in rows["train"] | rows["validation"] for value in again)
    assert task.known_sequences == known > 5

    call = ["run", "--task", f"file:{path}", "--method", "pooled_linear", "--train", "epochs=1"]
    assert main([*call, "--out", str(tmp_path / "results" / "runs" / "own")]) == 0
    says = f"{known} of 24 test sequences are in training or validation too, number for number"
    assert f"own: {says}" in (tmp_path / "results" / "runs" / "own" / "log.txt").read_text()
    assert read_record(tmp_path / "results" / "runs" / "own" / "record.json").known_sequences == known
    assert f'<p class="box warn">{says}' in build_report(tmp_path / "results").read_text()


def test_sequences_are_not_read_from_a_disk_to_be_compared(tmp_path):
    x = np.ones((40, 4, 3))
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.arange(40) % 2)
    spec = TaskSpec(name="own", source="file", options={"path": str(tmp_path)}, normalise="none")
    assert load_task(spec).known_sequences == 0
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(40) % 2)
    inside = spec.model_copy(update={"options": {"path": str(tmp_path / "x.npz")}})
    assert load_task(inside).known_sequences == load_task(inside).size("test")


def test_a_class_that_is_never_tested_is_told_by_plan_and_in_the_log_of_a_run(tmp_path):
    """One sequence of class 2: a random split refuses it, one by groups leaves it in training."""
    y = np.where(np.arange(40) == 7, 2, np.arange(40) % 2)
    path = tmp_path / "own.npz"
    np.savez(path, x=np.random.default_rng(0).normal(size=(40, 4, 3)), y=y, group=np.arange(40) // 2)
    says = "classes without a test sequence: '2' (1 in all); the accuracy says nothing about them"
    spec = TaskSpec(name="own", source="file", options={"path": str(path)})
    assert check_task(spec, [0, 1]) == [says]
    assert check_task(spec.model_copy(update={"split": "leave_one_group_out", "fold": 0}), [0]) == []
    call = ["run", "--task", f"file:{path}", "--method", "pooled_linear", "--train", "epochs=1"]
    assert main([*call, "--out", str(tmp_path / "run")]) == 0
    assert f"own: {says}" in (tmp_path / "run" / "log.txt").read_text()


def test_the_page_warns_beside_the_task(tmp_path, undrawn):
    across = GroupsAcross(groups=8, test=2, test_sequences=9, validation=0)
    for task, found, part in (("digits", across, "a part of UCF11: 12 of 1,600 clips"), ("japanese_vowels", None, "")):
        record = synthetic(task, "vib_lstm", 2, 0).model_copy(update={"groups_across": found, "part_of": part})
        write_record(tmp_path / "runs" / task, record)
    page = build_report(tmp_path).read_text()
    says = "2 of 8 groups are on both sides of the test split (9 test sequences are of known groups)"
    assert page.count(f'<p class="box warn">{says}') == 1 and RULE in page
    assert page.count('<p class="box warn">The data are a part of UCF11: 12 of 1,600 clips') == 1
