"""What a method is held against in the first sentence of a report: who may be its partner, and what is said if none is.

Each case is a folder of synthetic records whose accuracies and sizes are given.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import counts, record, write

from squeezebench.report import build_report
from squeezebench.report.gather import gather
from squeezebench.report.headline import headline
from squeezebench.report.results import Results
from squeezebench.report.statistics.verdicts import headlines

NOISE = (0.001, -0.001, 0.0005, 0.0, 0.0005, 0.0002, -0.0007, 0.0003, -0.0002, 0.0004)
DENSE = counts(8, 64, 10)


def add(folder: Path, method: str, accuracy: float, ratio: float = 1.0, seeds=range(5), of: dict | None = None, **more):
    """Finished runs of one setting, with so many times fewer LSTM parameters than dense. of: further settings."""
    lstm, given = round(DENSE["lstm_total"] / ratio), {"ratio": ratio} | (of or {})
    own = DENSE | {"lstm_total": lstm, "model_total": lstm + 100}
    for seed in seeds:
        value = accuracy + NOISE[seed]
        run = record("digits", method, 0, seed, accuracy={"train": 1.0, "validation": value, "test": value})
        changed = {"counts": own, "settings": run.settings | given, "varied": given} | more
        run = run.model_copy(update=changed)
        write(folder, run, f"runs/{run.protocol}/{run.task}/{method}/{given}/seed-{seed}")


def said(folder: Path, task: str = "digits") -> tuple[str, dict[str, str]]:
    """The first sentence, and what is said in brief, by kind."""
    results = Results(gather(folder))
    return headline(task, results), {one.kind: one.text for one in headlines(task, results.groups, results.chosen)}


def test_a_method_that_overshoots_is_held_against_the_controls_at_the_ratio(tmp_path):
    """A pick at 11.2x has no control of its size but one at 30x; the one at 10x is as small as was asked."""
    add(tmp_path, "dense", 0.95)
    add(tmp_path, "vib_lstm", 0.92, 11.2)
    add(tmp_path, "magnitude", 0.94, 10.0)
    add(tmp_path, "magnitude", 0.85, 30.0)
    text, brief = said(tmp_path)
    assert "It is 2.0 points below Magnitude (10.0×) [" in text and text.endswith(": worse, after Holm's correction.")
    assert "best control at 10× or more (Magnitude, 10.0×)" in brief["best_control"]


@pytest.mark.parametrize("method", ["small_dense", "random_units"])
def test_to_beat_a_control_that_has_not_learnt_is_nothing(tmp_path, method):
    add(tmp_path, "dense", 0.95)
    add(tmp_path, "vib_lstm", 0.80, 10.0)
    add(tmp_path, method, 0.105, 10.0)
    text, brief = said(tmp_path)
    assert "better" not in text and "no small dense LSTM of its size has run and learnt" in text
    assert "best_control" not in brief and not brief["equal_size"].startswith("Better")


@pytest.mark.parametrize(("total", "shown"), [(1000, True), (518409, False)])
def test_a_control_without_a_recurrence_is_a_partner_if_the_whole_of_it_is_no_larger(tmp_path, total, shown):
    add(tmp_path, "dense", 0.95)
    add(tmp_path, "vib_lstm", 0.90, 10.0)
    add(tmp_path, "pooled_linear", 0.92, of={"ratio": None},
        counts=counts(8, 0, 10) | {"head": total, "model_total": total})  # fmt: skip
    assert ("2.0 points below Mean-pooled, linear (no LSTM)" in said(tmp_path)[0]) == shown


def test_seeds_that_are_not_shared_or_too_few_carry_nothing(tmp_path):
    add(tmp_path, "dense", 0.95)
    add(tmp_path, "vib_lstm", 0.93, 10.0)
    add(tmp_path, "magnitude", 0.94, 10.0, seeds=range(5, 10))
    text, _ = said(tmp_path)
    assert "It is" not in text and text.endswith(
        "A control is better on validation: Magnitude (10.0×), 94.0\xa0% [93.9, 94.1]."
    )
    few = tmp_path / "few"
    for method, accuracy, ratio in (("dense", 0.95, 1.0), ("vib_lstm", 0.93, 10.0), ("magnitude", 0.90, 10.0)):
        add(few, method, accuracy, ratio, seeds=[0])
    text, _ = said(few)
    assert "It is 3.0 points above Magnitude (10.0×), the best on validation" in text
    assert text.endswith("; 1 seed carries no verdict.")


def test_one_lucky_seed_is_neither_the_reference_nor_a_partner(tmp_path):
    for method, accuracy, ratio in (("dense", 0.95, 1.0), ("small_dense", 0.90, 10.0), ("vib_lstm", 0.945, 10.0)):
        add(tmp_path, method, accuracy, ratio)
    lucky = {"seeds": [0], "of": {"learning_rate": 0.01}}
    add(tmp_path, "dense", 0.97, **lucky)
    add(tmp_path, "small_dense", 0.94, 10.0, **lucky)
    text, _ = said(tmp_path)
    assert "0.5 points below dense [" in text and "4.5 points above a small dense LSTM of equal size [" in text
    assert "better than the small dense LSTM" in text


def test_what_was_to_be_of_the_registered_size_stands_for_its_method(tmp_path):
    """Though one of 30x is better on validation. Of small dense models of one size the best on validation is held
    against it."""
    for method, accuracy, ratio in (("dense", 0.95, 1.0), ("vib_lstm", 0.94, 10.0), ("vib_lstm", 0.945, 30.0)):
        add(tmp_path, method, accuracy, ratio)
    for rate, accuracy in ((0.1, 0.90), (0.01, 0.88)):
        add(tmp_path, "small_dense", accuracy, 10.0, of={"learning_rate": rate})
    text, _ = said(tmp_path)
    assert "1.0 points below dense [" in text and "4.0 points above a small dense LSTM of equal size [" in text


def test_the_mean_over_folds_is_compared_with_the_best_control_of_each(tmp_path):
    """And a task without folds beside them keeps its own partners."""
    for fold in range(3):
        for method, accuracy, ratio in (("dense", 0.93, 1.0), ("vib_lstm", 0.80, 10.0), ("small_dense", 0.70, 10.0),
                                        ("magnitude", 0.90, 10.0)):  # fmt: skip
            add(tmp_path, method, accuracy + fold / 100, ratio, task=f"mine.fold-{fold}")
    for method, accuracy, ratio in (("dense", 0.95, 1.0), ("vib_lstm", 0.90, 10.0), ("magnitude", 0.92, 10.0)):
        add(tmp_path, method, accuracy, ratio)
    whole = Results(gather(tmp_path)).whole
    text = headline("mine", whole)
    assert "It is 10.0 points below the best control of each fold [" in text and "over 3 folds" in text
    assert "It is 2.0 points below Magnitude (10.0×) [" in headline("digits", whole)


@pytest.mark.parametrize("protocols", [("as_released",), ("paper", "as_released")])
def test_a_page_of_other_protocols_says_which_and_counts_its_own_comparisons(tmp_path, protocols):
    for protocol in protocols:
        for method, accuracy, ratio in (("dense", 0.95, 1.0), ("small_dense", 0.90, 10.0), ("vib_lstm", 0.93, 10.0)):
            add(tmp_path, method, accuracy, ratio, protocol=protocol)
    for method, accuracy, ratio in (("dense", 0.95, 1.0), ("small_dense", 0.90, 10.0), ("iss", 0.93, 10.0)):
        add(tmp_path, method, accuracy, ratio, task="japanese_vowels")
    text, brief = said(tmp_path)
    mark = {"as_released": "as released", "paper": "paper's protocol"}[protocols[0]]
    assert f"VIB-LSTM ({mark}) (10.0×) scores" in text
    assert "over 1 comparison (" in brief["equal_size"]
    assert len(protocols) == 1 or build_report(tmp_path).is_file()
