"""The metric table: every value is where it says, and scores that old records get from their confusion matrix."""

from __future__ import annotations

import math

import pytest
import synthetic_records

from squeezebench.report.gather import gather
from squeezebench.report.statistics.groups import run_groups
from squeezebench.schema.metrics import BY_PATH, METRICS, balanced_accuracy, macro_f1
from squeezebench.schema.record import Record


def with_confusion(confusion) -> Record:
    return Record(status="ok", task="t", method="m", settings={}, seed=0, confusion=confusion)


@pytest.mark.parametrize(
    ("confusion", "f1", "recall"),
    [
        # F1: 2*8/(10+9), 2*4/(5+6); recall: 8/10, 4/5
        ([[8, 2], [1, 4]], (16 / 19 + 8 / 11) / 2, 0.8),
        # the second class is never predicted: F1 4/5, 0; recall 1, 0
        ([[2, 0], [1, 0]], 0.4, 0.5),
        # the second class has no sequence but is predicted: F1 2*3/(4+3), 0; recall of the first alone
        ([[3, 1], [0, 0]], 3 / 7, 0.75),
        # the third class is neither true nor predicted
        ([[1, 0, 0], [0, 1, 0], [0, 0, 0]], 1.0, 1.0),
        (None, None, None),
        ([[1, 0]], None, None),  # not square
    ],
)
def test_scores_of_classes_by_hand(confusion, f1, recall):
    record = with_confusion(confusion)
    assert macro_f1(record) == pytest.approx(f1) and balanced_accuracy(record) == pytest.approx(recall)


def test_a_group_has_the_mean_of_the_scores_of_its_seeds(tmp_path):
    records = synthetic_records.make(tmp_path, tasks=("digits",), methods=("dense",))
    group = run_groups(gather(tmp_path)).iloc[0]
    for name, score in (("macro_f1", macro_f1), ("balanced_accuracy", balanced_accuracy)):
        assert group[f"{name}_mean"] == pytest.approx(sum(map(score, records)) / len(records))
        assert group[f"{name}_half_width"] > 0


def test_every_entry_is_in_the_record():
    """A path that no record has, as after a field was renamed, would read as missing for ever."""
    record = synthetic_records.record("digits", "vib_lstm", 1, 0)
    absent = {metric.path for metric in METRICS if metric.value(record) is None}
    expected = {
        "reason",
        "model_digest",
        "accuracy.test_final_epoch",
        "kept.structure",
        "kept.of_structure",
        "ratio.input_to_hidden",
        "predictions",
        "group_codes",
    }
    of_images = {f"{part}.{name}" for part in ("counts", "baseline.counts", "ratio") for name in ("weights", "neurons")}
    shape = {path for path in BY_PATH if path.startswith("shape.")}
    assert absent <= expected | of_images | shape and len(BY_PATH) == len(METRICS)


def test_cells_of_the_table_of_runs():
    record = synthetic_records.record("digits", "dense", 0, 0)
    kept = record.kept.model_copy(update={"hidden": [3, 4], "structure": [9, 7]})
    two_layers = record.model_copy(update={"kept": kept})
    assert BY_PATH["kept.hidden"].cell(two_layers) == 7 and BY_PATH["kept.structure"].cell(two_layers) == "9-7"
    assert BY_PATH["cost.latency_quartiles_ms.10.1"].cell(record) == record.cost.latency_quartiles_ms["10"][1]
    assert math.isnan(BY_PATH["cost.bytes"].cell(record.model_copy(update={"cost": None})))
