"""The predictions of each test sequence: small, checked against the confusion matrix, and compared one by one."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pandas as pd
import pytest
from synthetic_records import answered, record, write

from squeezebench.report.gather import gather
from squeezebench.report.overview import task_facts
from squeezebench.report.statistics.compare import compared
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.predictions import (
    confusion_of,
    packed,
    packed_groups,
    predictions_moved,
    unpacked,
    unpacked_groups,
)
from squeezebench.tools.verify.comparison import differences, in_words
from squeezebench.tools.verify.consistency import inconsistencies

DICE = np.random.default_rng(0)
LABELS = DICE.integers(0, 14, 524)
PREDICTED = np.where(DICE.random(524) < 0.94, LABELS, DICE.integers(0, 14, 524))
CONFUSION = confusion_of(LABELS, PREDICTED, 14)


def text_of(*numbers: int) -> str:
    return base64.b64encode(zlib.compress(np.array(numbers, "<u2").tobytes())).decode()


def test_what_is_packed_comes_back_in_the_order_of_the_true_class():
    text = packed(LABELS, PREDICTED)
    labels, predicted = unpacked(text, CONFUSION.tolist())
    order = np.argsort(LABELS, kind="stable")
    assert labels.tolist() == LABELS[order].tolist() and predicted.tolist() == PREDICTED[order].tolist()
    assert len(text) < 200, "a record takes about 5,000 bytes"
    assert CONFUSION.sum() == 524 and CONFUSION[3, 5] == ((LABELS == 3) & (PREDICTED == 5)).sum()


@pytest.mark.parametrize(("text", "words"), [
    ("not base64!", "not base64 of a zlib stream"),
    (base64.b64encode(b"no zlib").decode(), "not base64 of a zlib stream"),
    (text_of(0, 1), "2 predictions for 3 test sequences"),
    (text_of(0, 1, 1), "do not add up to the confusion matrix"),
    (text_of(0, 1, 7), "do not add up to the confusion matrix"),
    (base64.b64encode(zlib.compress(b"\0" * (1 << 26))).decode(), "too long"),
])  # fmt: skip
def test_damaged_predictions_are_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        unpacked(text, [[1, 0], [1, 1]])


def test_groups_come_back_as_numbers_in_the_order_of_the_predictions():
    names = np.array(
        [f"v_{label}_g{number:02d}" for label, number in zip(LABELS, DICE.integers(1, 8, 524), strict=True)]
    )
    text = packed_groups(LABELS, names)
    groups, ordered = unpacked_groups(text, 524), names[np.argsort(LABELS, kind="stable")]
    assert len(set(zip(groups.tolist(), ordered.tolist(), strict=True))) == len(set(names)) == groups.max() + 1
    assert groups[0] == 0 and packed_groups(LABELS, None) is None
    by_class = names[np.lexsort((names, LABELS))]  # as clips of one video stand beside each other
    assert len(packed_groups(np.sort(LABELS), by_class)) < 200
    many = np.arange(70_000)
    assert np.array_equal(unpacked_groups(packed_groups(many, many), 70_000), many), "16 bits are too few"


def differences_of(*numbers: int) -> str:
    return base64.b64encode(zlib.compress(np.array(numbers, "<i4").tobytes())).decode()


@pytest.mark.parametrize(("text", "words"), [
    ("not base64!", "the groups are not base64 of a zlib stream"),
    (differences_of(0, 1), "2 groups for 3 test sequences"),
    (differences_of(0, 2, 0), "not counted in the order"),
    (differences_of(1, 0, 0), "not counted in the order"),
    (differences_of(0, -1, 0), "not counted in the order"),
])  # fmt: skip
def test_damaged_groups_are_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        unpacked_groups(text, 3)
    one = answered(record("digits", "iss", 1, 0)).model_copy(update={"group_codes": text})
    assert "group_codes" in {gap.what for gap in inconsistencies(one)}


def test_groups_of_the_test_part_are_what_an_interval_covers(tmp_path):
    """Records of before schema 5 do not know the groups that the others know; other groups are another test part."""
    labels = np.repeat(np.arange(10), 40)
    known = {name: packed_groups(labels, np.arange(400) // size) for name, size in (("many", 8), ("few", 200))}
    for task in (*known, "none", "mixed", "other"):
        for seed in range(5):
            for method in ("dense", "iss"):
                of = {"mixed": known["many"] if seed else None, "other": known["few" if seed else "many"]}
                codes = {"group_codes": of.get(task, known.get(task)), "task": task}
                write(tmp_path, answered(record("digits", method, 0, seed)).model_copy(update=codes))
    gathered = gather(tmp_path)
    frame = run_groups(gathered)
    groups = compared(frame, gathered).set_index(["task", "method"])
    covers = groups.xs("iss", level="method")[["test_accuracy_covers", "dense_covers"]].T.to_dict("list")
    few = "seeds and test sequences of these 2 groups"
    assert covers == {"many": ["seeds and test groups"] * 2, "mixed": ["seeds and test groups"] * 2, "few": [few] * 2,
                      "none": ["seeds and test sequences"] * 2, "other": ["seeds"] * 2}  # fmt: skip
    halves = groups["dense_half_width"].xs("iss", level="method")
    assert halves["few"] == halves["none"] and halves["many"] == halves["mixed"] != halves["none"]
    assert task_facts("few", gathered).endswith("intervals cover the seeds and test sequences of these 2 groups")


def test_a_record_agrees_with_its_predictions():
    one = answered(record("digits", "iss", 1, 0))
    assert "predictions" not in {gap.what for gap in inconsistencies(one)}
    confusion = [list(row) for row in one.confusion]
    confusion[0][0], confusion[0][1] = confusion[0][0] - 1, confusion[0][1] + 1
    (gap,) = (gap for gap in inconsistencies(one.model_copy(update={"confusion": confusion}))
              if gap.what == "predictions")  # fmt: skip
    assert gap.measured == "the predictions do not add up to the confusion matrix"


def test_on_another_machine_one_sequence_may_be_classified_differently():
    one = answered(record("digits", "iss", 1, 0))
    _, predicted = unpacked(one.predictions, one.confusion)
    for moved, wrong in ((1, 0), (2, 1)):
        other = predicted.copy()
        other[:moved] = (other[:moved] + 3) % 10
        text = text_of(*other)
        assert predictions_moved(one.predictions, text) == moved
        gaps = list(differences(one, {"predictions": text}, exact=False))
        assert len(gaps) == wrong and len(list(differences(one, {"predictions": text}))) == 1
    assert in_words(gaps[0]) == ("the class of each test sequence", "2 of them differ")


def test_stored_predictions_put_the_test_part_into_the_intervals(tmp_path):
    """Two methods differ in the same 12 of 400 sequences in every seed: sure for this test part, not for another."""
    for seed in range(5):
        for method, wrong in (("dense", 20), ("iss", 26)):
            right = np.ones(400, bool)
            right[:20] = False
            right[20:wrong] = False
            if method == "iss":
                right[:3] = True  # and 3 that only this one gets right
            write(tmp_path, answered(record("digits", method, 0, seed), right))
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered).set_index("method")
    iss = groups.loc["iss"]
    assert iss["dense_difference"] == pytest.approx(-3 / 400) and iss["dense_covers"] == "seeds and test sequences"
    gaps = np.array([1] * 3 + [-1] * 6 + [0] * 391)
    assert iss["dense_half_width"] == pytest.approx(1.97 * np.sqrt(gaps.var(ddof=1) / 400), rel=0.02)
    assert 0.2 < iss["dense_p"] < 0.5
    assert iss["test_accuracy_half_width"] > 0.02 and iss["test_accuracy_covers"] == "seeds and test sequences"


def test_records_without_predictions_are_analysed_by_their_seeds(tmp_path):
    for seed in range(5):
        write(tmp_path, answered(record("digits", "dense", 0, seed)))
        one = answered(record("digits", "iss", 0, seed))
        write(tmp_path, one if seed else one.model_copy(update={"predictions": None}))
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered).set_index("method")
    assert groups["test_accuracy_covers"].to_dict() == {"dense": "seeds and test sequences", "iss": "seeds"}
    assert groups.loc["iss", "dense_covers"] == "seeds"
    tests = pd.Series([run["test"] for _, run in gathered.runs.sort_values(["method", "seed"]).iterrows()])
    gaps = tests[5:].to_numpy() - tests[:5].to_numpy()
    assert groups.loc["iss", "dense_half_width"] == pytest.approx(2.776 * gaps.std(ddof=1) / np.sqrt(5), rel=1e-3)
