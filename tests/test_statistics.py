"""The report's statistics, each recomputed here from the raw records with numpy and scipy, and their properties."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from synthetic_records import make, record, write

from squeezebench.report import build_report
from squeezebench.report.drawing.plot import Plot
from squeezebench.report.drawing.svg import style
from squeezebench.report.figures.ranks import differ, draw, rank
from squeezebench.report.gather import gather
from squeezebench.report.results import Results
from squeezebench.report.statistics.compare import compared
from squeezebench.report.statistics.groups import run_groups
from squeezebench.report.statistics.spread import over_seeds
from squeezebench.report.statistics.summary import hypervolume, summaries
from squeezebench.report.tables.summary import build

# Every number of the tables and figures is recomputed from its records in test_traced.py and test_traced_files.py.


def test_two_seeds_give_no_interval_and_three_do(tmp_path):
    ends, sizes = ["ratio_size_low", "ratio_size_high"], (1000, 1100, 900)
    for seed, (size, value) in enumerate(zip(sizes, (0.9, 0.8, 0.7), strict=True)):
        one = record("digits", "iss", 0, seed, accuracy={"validation": value, "test": value})
        write(tmp_path, one.model_copy(update={"counts": one.counts.model_copy(update={"lstm_total": size})}))
        if seed == 1:
            two = run_groups(gather(tmp_path)).iloc[0]
            assert two[[*ends, "test_accuracy_half_width"]].isna().all()
            assert math.isnan(over_seeds(np.array([0.9, 0.8])).p)  # nor a test
    three, t = run_groups(gather(tmp_path)).iloc[0], stats.t(2).ppf(0.975) / math.sqrt(3)
    assert three["test_accuracy_half_width"] == pytest.approx(0.1 * t)  # 0.1: standard deviation of 0.9, 0.8, 0.7
    low, high = three[ends] / (three["baseline_size"] / 1000)
    assert (low, high) == pytest.approx((math.exp(-0.1 * t), math.exp(0.1 * t)))  # 100 / 1000 of the sizes


# --- paired differences


def test_a_model_without_a_recurrence_is_a_control_of_every_size(tmp_path):
    for seed in range(3):
        for method, value in (("dense", 0.95), ("pooled_linear", 0.9), ("small_dense", 0.8), ("vib_lstm", 0.85)):
            noisy = value + 0.001 * seed
            write(tmp_path, record("digits", method, 4, seed, accuracy={"validation": noisy, "test": noisy}))
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered)
    mine = groups[groups["method"] == "vib_lstm"].iloc[0]
    assert groups.at[int(mine["control_group"]), "method"] == "pooled_linear"
    assert mine["control_difference"] == pytest.approx(-0.05)


def test_the_experiment_says_at_which_ratio_methods_are_compared(tmp_path):
    make(tmp_path, tasks=("digits", "basic_motions"), steps=3, seeds=5)
    plan = json.loads((tmp_path / "plan.json").read_text())
    plan["config"]["compare_at"] = {"digits": 4, "basic_motions": 5000}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    results = Results(gather(tmp_path))
    registered = results.chosen[results.chosen["registered"]]
    assert set(zip(registered["task"], registered["bracket"], strict=True)) == {("digits", 4.0)}
    assert set(results.summary.groupby("task")["compare_at"].first()) == {4.0, 5000.0}
    far = results.summary[results.summary["task"] == "basic_motions"].set_index("method")["accuracy_registered"]
    assert far["vib_lstm"] == -np.inf and far["pooled_linear"] > 0, "a model without a recurrence reaches every ratio"
    tested = results.groups[results.groups["small_p_holm"].notna()]
    assert set(tested["task"]) == {"digits"} and tested["small_level"].tolist() == pytest.approx([0.05 / 3] * 3)


def test_seeds_that_agree_to_the_last_sequence_are_no_proof(tmp_path):
    for seed in range(3):
        for method, value in (("dense", 0.9), ("iss", 0.905)):  # two of 400 sequences, in every seed
            write(tmp_path, record("digits", method, 0, seed, accuracy={"validation": value, "test": value}))
    gathered = gather(tmp_path)
    groups = compared(run_groups(gathered), gathered)
    iss = groups[groups["method"] == "iss"].iloc[0]
    half = stats.t(2).ppf(0.975) / 400 / math.sqrt(3)
    assert iss["dense_half_width"] == pytest.approx(half)
    assert iss["dense_p"] == pytest.approx(2 * stats.t(2).sf(0.005 * math.sqrt(3) * 400)) and iss["dense_p"] > 0.01


# --- the summary


def test_an_accuracy_of_the_summary_has_the_interval_of_the_setting_that_is_picked(tmp_path):
    """Two settings of one size: the one that is better on validation stands, with its own seeds' interval."""
    tests = {0: [0.9, 0.8, 0.7, 0.8], 1: [0.5, 0.6, 0.6, 0.5]}
    for step, values in tests.items():
        for seed, value in enumerate(values):
            one = record("digits", "tt_lstm", step + 1, seed, steps=3, accuracy={"validation": value, "test": value})
            write(tmp_path, one.model_copy(update={"counts": record("digits", "tt_lstm", 2, 0, steps=3).counts}))
    gathered = gather(tmp_path)
    row = summaries(run_groups(gathered), gathered).iloc[0]
    half = stats.t(3).ppf(0.975) * np.std(tests[0], ddof=1) / 2
    assert row["accuracy_10"] == row["accuracy_10_test_accuracy"] == pytest.approx(0.8)
    assert row["accuracy_10_test_accuracy_half_width"] == pytest.approx(half)
    assert row["accuracy_10_test_accuracy_covers"] == "seeds"
    cell = build(SimpleNamespace(summary=summaries(run_groups(gathered), gathered))).rows()[0][4]
    assert cell.text.replace("\N{NO-BREAK SPACE}", " ") == f"80.0 ± {100 * half:.1f} %"


@pytest.mark.usefixtures("undrawn")
def test_two_seeds_are_words_and_never_a_number(tmp_path):
    make(tmp_path, tasks=("digits",), steps=3, seeds=2)
    gathered = gather(tmp_path)
    summary = summaries(compared(run_groups(gathered), gathered), gathered)
    values = [name for name in summary if name.startswith(("hypervolume", "near_dense", "accuracy_"))]
    assert summary[values].isna().all(axis=None)
    cells = [row[2:7] for row in build(SimpleNamespace(summary=summary)).rows()]
    assert {cell.text for row in cells for cell in row} == {"not enough seeds"}
    page = build_report(tmp_path).read_text(encoding="utf-8")
    assert "(not enough seeds for an interval)" in page, "statements in words say so too"


POINTS = st.lists(st.tuples(st.floats(1, 1e5), st.floats(0, 1)), min_size=1, max_size=8)


def area(points: list[tuple[float, float]], chance: float = 0.1) -> float:
    ratios, accuracies = (np.array(part, float) for part in zip(*points, strict=True))
    return hypervolume(ratios, accuracies, accuracies, chance)


@given(POINTS)
def test_hypervolume_is_the_union_of_rectangles(points):
    edges = sorted({0.0, *(math.log10(ratio) for ratio, _ in points)})
    expected = sum(
        (right - left) * max(0.0, *(a - 0.1 for r, a in points if math.log10(r) >= right))
        for left, right in itertools.pairwise(edges)
    )
    assert area(points) == pytest.approx(expected, abs=1e-9)


@given(POINTS, st.tuples(st.floats(1, 1e5), st.floats(0, 1)), st.randoms())
def test_hypervolume_never_falls_with_a_point_more_and_knows_no_order(points, more, dice):
    assert area([*points, more]) >= area(points) - 1e-12
    shuffled = dice.sample(points, len(points))
    assert area(shuffled) == pytest.approx(area(points))
    assert area([(1.0, 1.0)]) == 0 and area([(0.5, 1.0)]) == 0, "no smaller than dense adds nothing"


@given(POINTS)
@settings(max_examples=30)
def test_models_without_a_size_or_an_accuracy_are_left_out(points):
    gone = [(math.inf, 1.0), (math.nan, 1.0), (10.0, math.nan)]
    assert area([*points, *gone]) == pytest.approx(area(points))


def test_test_accuracy_picks_nothing(tmp_path):
    by_test = hypervolume(np.array([10.0, 10.0]), np.array([0.8, 0.7]), np.array([0.2, 0.9]), 0.1)
    assert by_test == pytest.approx(0.1), "the setting that is best on validation, though it is worse on test"
    for step, (validation, tested) in enumerate([(0.8, 0.2), (0.7, 0.9)]):
        for seed in range(3):
            accuracy = {"validation": validation, "test": tested + 0.001 * seed}
            write(tmp_path, record("digits", "tt_lstm", step + 3, seed, accuracy=accuracy))
            write(tmp_path, record("digits", "dense", 0, seed, accuracy={"validation": 0.704, "test": 0.9}))
    gathered = gather(tmp_path)
    row = summaries(run_groups(gathered), gathered).iloc[0]
    assert row["accuracy_10"] == pytest.approx(0.201), "so in the summary"
    assert row["near_dense_test_accuracy"] == pytest.approx(0.901), "dense - 0.5 is one on validation, too"


# --- ranks


def summary_of(scores: dict[str, list[float]]) -> pd.DataFrame:
    lines = [
        {
            "task": f"t{n}",
            "protocol": "sound",
            "method": method,
            "method_label": method.upper(),
            "accuracy_registered": value,
        }
        for method, values in scores.items()
        for n, value in enumerate(values)
    ]
    return pd.DataFrame(lines)


def test_a_method_that_reaches_the_ratio_on_no_setting_shares_the_worst_rank():
    found = rank(summary_of({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.3, -np.inf], "c": [0.3, 0.4, -np.inf]}))
    assert found.words == "" and found.left_out == []
    assert found.ranks.to_numpy().tolist() == [[3, 2, 1], [3, 2, 1], [1, 2.5, 2.5]]
    assert found.p == stats.friedmanchisquare([0.1, 0.2, 0.3], [0.2, 0.3, -1], [0.3, 0.4, -1]).pvalue
    nobody = rank(summary_of({"a": [0.1, -np.inf], "b": [0.2, -np.inf], "c": [0.3, -np.inf]}))
    assert len(nobody.scores) == 1, "a task on which no method reaches the ratio ranks nothing"


def test_ranks_need_three_tasks_and_three_complete_methods():
    two = rank(summary_of({"a": [0.1, 0.2], "b": [0.2, 0.3], "c": [0.3, 0.4]}))
    assert "Not enough data sets" in two.words
    holes = rank(summary_of({"a": [0.1, 0.2, 0.3], "b": [0.2, 0.3, 0.2], "c": [0.3, np.nan, 0.4]}))
    assert "Not enough methods: 2 methods" in holes.words and holes.left_out == ["c"], "it did not run everywhere"
    drawn = draw(SimpleNamespace(summary=summary_of({"a": [0.1, 0.2]}), gathered=SimpleNamespace(data_of={})))
    assert "Not enough data sets" in drawn.words
    with style():
        assert drawn.words in Plot.finish(drawn, "ranks", "ranks", {}).svg


def test_what_differs_is_told_apart_and_what_does_not_is_joined():
    steps = np.arange(10) / 100
    clear = rank(summary_of({"a": list(0.9 - steps), "b": list(0.5 - steps), "c": list(0.1 - steps)}))
    matrix = differ(clear)
    assert clear.ranks.mean().tolist() == [1, 2, 3] and clear.p < 0.001
    assert matrix.at["a", "c"] < 0.01 and matrix.at["a", "a"] == 1
    dice = np.random.default_rng(1)
    alike = rank(summary_of({name: list(dice.random(10)) for name in "abc"}))
    assert alike.p > 0.05 and (differ(alike) == 1).all(axis=None)
    tied = rank(summary_of({name: [0.5, 0.5, 0.5] for name in "abc"}))
    assert tied.p == 1 and tied.ranks.mean().tolist() == [2, 2, 2]


DIAGRAM = """
import sys
from types import SimpleNamespace
from test_statistics import summary_of
from squeezebench.report.drawing.plot import Plot
from squeezebench.report.drawing.svg import style
from squeezebench.report.figures.ranks import draw
scores = {name: [0.1 * place + 0.07 * (place * task % 5) for task in range(5)] for place, name in enumerate("abcdefgh")}
looks = dict.fromkeys(scores, SimpleNamespace(colour="#333333"))
with style():
    drawing = draw(SimpleNamespace(summary=summary_of(scores), looks=looks, gathered=SimpleNamespace(data_of={})))
    sys.stdout.write(Plot.finish(drawing, "ranks", "ranks", {}).svg)
"""


def test_the_diagram_is_the_same_in_every_process(capsys):
    """Whatever order sets of names have there."""
    exec(DIAGRAM, {})
    here = capsys.readouterr().out
    words, environment = [sys.executable, "-c", DIAGRAM], os.environ | {"PYTHONHASHSEED": "1"}
    there = subprocess.run(
        words, cwd=Path(__file__).parent, env=environment, check=True, capture_output=True, text=True
    )
    assert here == there.stdout and "<svg" in here
