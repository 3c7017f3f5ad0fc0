"""Intervals cover what they say, tests reject as often as they say, and the power is the one that is printed: measured
on synthetic experiments whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from squeezebench.report.statistics.compare import holm
from squeezebench.report.statistics.power import POINT, detectable, seeds_needed, why_undecided
from squeezebench.report.statistics.spread import Spread, by_group, covered, over_both, over_seeds

SEEDS, SEQUENCES = 5, 300
LEVEL = 1.8  # of the score above which a sequence is classified correctly
# Standard deviations of what a score is made of: the seed, the sequence, the sequence for this method, the rest (1).
SEED, SEQUENCE, METHOD = 0.15, 1.2, 0.6


def scores(dice: np.random.Generator, methods: int = 1, seeds: int = SEEDS) -> np.ndarray:
    """(methods, seeds, sequences) correct or not, of methods that are equally good; another call has other seeds and
    another test part."""
    shape = (methods, seeds, SEQUENCES)
    score = LEVEL + SEQUENCE * dice.normal(size=SEQUENCES) + METHOD * dice.normal(size=(methods, 1, SEQUENCES))
    return score + SEED * dice.normal(size=(methods, seeds, 1)) + dice.normal(size=shape) > 0


TRUTH = stats.norm.cdf(LEVEL / np.sqrt(1 + SEED**2 + SEQUENCE**2 + METHOD**2))


def share_covered(spreads: list[Spread], truth: float) -> float:
    return float(np.mean([abs(spread.mean - truth) <= spread.half for spread in spreads]))


@pytest.mark.parametrize(("seeds", "alone"), [(3, 0.95), (5, 0.9), (10, 0.8)])
def test_the_interval_of_an_accuracy_covers_seeds_and_test_sequences(seeds, alone):
    dice = np.random.default_rng(seeds)
    tables = [scores(dice, seeds=seeds)[0] for _ in range(1000)]
    assert 0.93 < share_covered([over_both(table) for table in tables], TRUTH) < 0.975
    assert share_covered([over_seeds(table.mean(axis=1)) for table in tables], TRUTH) < alone


def test_a_paired_test_rejects_equal_methods_in_five_of_a_hundred_experiments():
    dice = np.random.default_rng(1)
    pairs = [over_both(np.subtract(*scores(dice, 2).astype(int))) for _ in range(1000)]
    assert 0.03 < np.mean([pair.p < 0.05 for pair in pairs]) < 0.065
    assert 0.935 < share_covered(pairs, 0.0) < 0.97


GROUP_SIZES = {
    "25 equal": np.full(25, 12),
    "25 unequal": np.arange(2, 27),
    "10 unequal": np.arange(6, 62, 6),
    "60 equal": np.full(60, 12),
}


def grouped(dice: np.random.Generator, sizes: np.ndarray, group: float, gap: float = 0.0) -> np.ndarray:
    """(seeds, sequences) difference of two methods, -1, 0 or 1, that are equally good but for `gap`; group: standard
    deviation between groups, and half of it between groups by seed."""
    groups, sequences = np.repeat(np.arange(len(sizes)), sizes), sizes.sum()
    shared = gap + group * dice.normal(size=len(sizes))[groups] + 0.6 * dice.normal(size=sequences)
    own = 0.1 * dice.normal(size=(SEEDS, 1)) + group / 2 * dice.normal(size=(SEEDS, len(sizes)))[:, groups]
    score = shared + own + 0.6 * dice.normal(size=(SEEDS, sequences))
    return (np.abs(score) > 1) * np.sign(score).astype(int)


@pytest.mark.parametrize("kind", GROUP_SIZES)
def test_a_paired_test_rejects_in_five_of_a_hundred_test_parts_whose_groups_differ(kind):
    sizes, dice = GROUP_SIZES[kind], np.random.default_rng(6)
    groups, tables = np.repeat(np.arange(len(sizes)), sizes), [grouped(dice, sizes, 0.3) for _ in range(1500)]
    rejected = np.mean([over_both(table, groups).p < 0.05 for table in tables])
    as_independent = np.mean([over_both(table).p < 0.05 for table in tables])
    assert 0.025 < rejected < 0.075, "groups count"
    assert as_independent > 0.09, "why sequences must not count as independent"


@pytest.mark.parametrize("kind", GROUP_SIZES)
def test_groups_that_do_not_differ_cost_little(kind):
    """Level and power are those of independent sequences, but for the fewer degrees of freedom of ten groups."""
    sizes, dice = GROUP_SIZES[kind], np.random.default_rng(7)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    for gap, loss in ((0.0, 0.02), (0.15, 0.15 if len(sizes) == 10 else 0.05)):
        tables = [grouped(dice, sizes, 0.0, gap) for _ in range(600)]
        by_groups, alone = (np.mean([over_both(t, of).p < 0.05 for t in tables]) for of in (groups, None))
        assert alone - loss < by_groups < alone + 0.02, gap


def test_groups_of_one_sequence_are_sequences():
    table = scores(np.random.default_rng(8))[0]
    alone, grouped = over_both(table), over_both(table, np.arange(SEQUENCES))
    assert replace(grouped, covers=alone.covers) == alone
    assert (alone.covers, grouped.covers) == ("seeds and test sequences", "seeds and test groups")


def test_of_a_few_groups_the_interval_says_that_it_covers_no_others():
    table, place = scores(np.random.default_rng(8))[0], np.arange(SEQUENCES)
    for size, of in ((150, "these 2 groups"), (SEQUENCES, "this one group")):
        few = over_both(table, place // size)
        assert few.covers == f"seeds and test sequences of {of}"
        assert replace(few, covers="") == replace(over_both(table), covers="")
    assert over_both(table, place // 30).covers == "seeds and test groups", "ten are enough"
    assert covered(["seeds and test groups", "seeds and test sequences", "seeds and test groups"]) == (
        "seeds and test groups, test sequences"
    )
    assert covered(["seeds", "seeds and test groups"]) == "seeds"


def test_groups_keep_the_means_and_their_number_is_that_of_equal_ones():
    dice = np.random.default_rng(9)
    table, sizes = scores(dice)[0], np.array([3, 57, *[30] * 8])
    groups = dice.permutation(np.repeat(np.arange(10), sizes))
    units, number = by_group(table, groups)
    assert units.mean(axis=1) == pytest.approx(table.mean(axis=1))
    assert number == pytest.approx(300**2 / (sizes**2).sum())
    by_hand = sum((table.mean(axis=0)[groups == k] - table.mean()).sum() ** 2 for k in range(10)) / 300**2
    assert units.mean(axis=0).var(ddof=10 / number) / 10 == pytest.approx(by_hand / (1 - 1 / number))


def test_the_corrected_tests_reject_any_in_five_of_a_hundred_experiments(monkeypatch):
    """Three methods against a control on two tasks: six comparisons, those of a task share the control and the test
    part."""
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels calls it each time: most of the time
    dice, wrong = np.random.default_rng(2), 0
    for _ in range(250):
        tasks = [scores(dice, 4).astype(int) for _ in range(2)]
        p = pd.Series([over_both(task[method] - task[0]).p for task in tasks for method in (1, 2, 3)])
        wrong += (holm(p) < 0.05).any()
    assert 0.02 < wrong / 250 < 0.07


def test_drawing_both_anew_comes_to_the_same_for_many_seeds_and_is_too_narrow_for_five():
    """Why intervals are not percentiles of a bootstrap."""
    dice = np.random.default_rng(3)

    def deviation(table: np.ndarray) -> float:
        rows, columns = (dice.integers(n, size=(250, n)) for n in table.shape)
        return float(np.std([table[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]))

    many = scores(dice, seeds=100)[0]
    assert deviation(many) == pytest.approx(over_both(many).error, rel=0.12)
    covered = []
    for _ in range(150):
        table = 0.3 * dice.normal(size=(SEEDS, 1)) + 0.3 * dice.normal(size=(SEEDS, SEQUENCES))  # seeds decide
        covered.append((abs(table.mean()) <= 1.96 * deviation(table), abs(table.mean()) <= over_both(table).half))
    resampled, closed = np.mean(covered, axis=0)
    assert resampled < 0.9 < 0.92 < closed


@pytest.mark.parametrize(("seed", "sequence", "rest", "level"), [
    (0.006, 0.02, 0.15, 0.05), (0.001, 0.2, 0.15, 0.05), (0.006, 0.1, 0.15, 0.005),
])  # fmt: skip
def test_the_detectable_difference_is_found_in_four_of_five_experiments(seed, sequence, rest, level):
    per_seed, shared = seed**2 + rest**2 / SEQUENCES, sequence**2 / SEQUENCES
    spread = Spread(SEEDS, 0.0, per_seed, shared, sequences=SEQUENCES)
    own = per_seed / SEEDS
    degrees = (own + shared) ** 2 / (own**2 / (SEEDS - 1) + shared**2 / (SEQUENCES - 1))
    smallest = detectable(spread.error, degrees, level)
    dice, shape = np.random.default_rng(4), (SEEDS, SEQUENCES)
    found = [
        over_both(smallest + seed * dice.normal(size=(SEEDS, 1)) + sequence * dice.normal(size=SEQUENCES)
                  + rest * dice.normal(size=shape)).p < level
        for _ in range(500)
    ]  # fmt: skip
    assert 0.75 < np.mean(found) < 0.86


@pytest.mark.parametrize("level", [0.05, 0.0025])
@pytest.mark.parametrize("degrees", [4, 6.5, 30])
def test_the_detectable_difference_is_that_of_the_noncentral_t_distribution(degrees, level):
    t = stats.t.ppf(1 - level / 2, degrees)
    assert stats.nct.sf(t, degrees, detectable(1.0, degrees, level)) == pytest.approx(0.8, abs=0.01)


def test_the_seeds_that_one_point_needs():
    n = seeds_needed(0.02**2, 0.0, np.nan, 0.05)
    smallest = [detectable(0.02 / np.sqrt(seeds), seeds - 1, 0.05) for seeds in (n - 1, n)]
    assert smallest[0] > POINT >= smallest[1] and n == 34
    assert seeds_needed(0.02**2, 0.01**2, 400, 0.05) == np.inf, "the test part is too small for any number of seeds"
    own, shared = 0.02**2 / np.array([70, 71]), 0.0025**2  # ten test groups: few degrees of freedom, however many seeds
    degrees = (own + shared) ** 2 / (own**2 / [69, 70] + shared**2 / 9)
    before, enough = detectable(np.sqrt(own + shared), degrees, 0.05)
    assert before > POINT >= enough and seeds_needed(0.02**2, 0.0025**2, 10, 0.05) == 71
    assert seeds_needed(0.0, 0.0, np.nan, 0.05) == 2
    assert (why_undecided(0.02, 0.01), why_undecided(0.008, 0.01)) == ("too little power", "near the bound")


def test_seeds_that_agree_and_sequences_that_never_differ_have_no_spread_but_one_sequence():
    table = np.zeros((3, 400), int)
    assert (over_both(table).p, over_both(table).error) == (1.0, pytest.approx(1 / 400 / np.sqrt(3)))
    table[:, :2] = 1  # two of 400 sequences, in every seed
    pair = over_both(table)
    assert pair.error == pytest.approx(np.sqrt(table[0].var(ddof=1) / 400 + (1 / 400) ** 2 / 3)) and pair.p > 0.1
