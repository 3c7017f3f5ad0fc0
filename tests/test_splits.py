"""Splits: disjoint, complete, stratified, whole groups; validation rotates and the test part never moves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refusal_of

from squeezebench.base.errors import InputError
from squeezebench.data.dataset import Dataset
from squeezebench.data.splits import make_split
from squeezebench.schema.experiment import validated
from squeezebench.schema.task import TaskSpec

SHARES = st.floats(0.1, 0.6)


def dataset(y, group=None, subset=None) -> Dataset:
    y = np.asarray(y, np.int64)
    classes = tuple(f"c{label}" for label in range(int(y.max()) + 1))
    subset = None if subset is None else np.asarray(subset)
    return Dataset("synthetic", np.zeros((len(y), 1, 1)), y, classes, group=group, subset=subset)


@st.composite
def labelled(draw):
    """2 to 5 classes with 3 to 40 examples each, shuffled."""
    counts = draw(st.lists(st.integers(3, 40), min_size=2, max_size=5))
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(np.repeat(np.arange(len(counts)), counts))


@st.composite
def grouped(draw):
    """Every class in at least 4 groups of 1 to 6 sequences; groups belong to one class or to all."""
    classes, groups = draw(st.integers(2, 4)), draw(st.integers(4, 10))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    y, group = [], []
    per_class = draw(st.booleans())
    for label in range(classes):
        for number in range(groups):
            size = int(generator.integers(1, 7))
            y += [label] * size
            group += [f"{label if per_class else ''}g{number}"] * size
    return np.array(y), np.array(group)


def parts(split):
    return split.train, split.validation, split.test


def assert_partition(split, rows):
    together = np.concatenate(parts(split))
    assert sorted(together.tolist()) == sorted(np.asarray(rows).tolist())
    assert all(len(part) and (np.diff(part) > 0).all() for part in parts(split))


@given(labelled(), SHARES, SHARES, st.integers(0, 5), st.integers(0, 5))
def test_random_split_is_a_stratified_partition(y, test_share, validation_share, split_seed, seed):
    split = make_split(
        dataset(y), "random", test_share=test_share, validation_share=validation_share, split_seed=split_seed, seed=seed
    )
    assert_partition(split, np.arange(len(y)))
    for label in np.unique(y):
        of_class = int((y == label).sum())
        in_test = int((y[split.test] == label).sum())
        assert (y[split.train] == label).any() and in_test >= 1
        assert abs(in_test - test_share * of_class) <= 1 + 1e-9  # one example of rounding


@settings(max_examples=40)
@given(labelled(), st.integers(0, 3), st.integers(0, 50), st.integers(0, 50))
def test_the_test_part_does_not_depend_on_the_runs_seed(y, split_seed, one, other):
    data = dataset(y)
    first = make_split(data, "random", split_seed=split_seed, seed=one)
    second = make_split(data, "random", split_seed=split_seed, seed=other)
    assert (first.test == second.test).all()
    assert make_split(data, "random", split_seed=split_seed, seed=one).digest == first.digest
    same = all((a == b).all() for a, b in zip(parts(first), parts(second), strict=True))
    assert same == (first.digest == second.digest)


@given(grouped(), SHARES, st.integers(0, 5), st.integers(0, 20))
def test_no_group_is_on_two_sides(made, share, split_seed, seed):
    y, group = made
    data = dataset(y, group)
    split = make_split(data, "group", test_share=share, split_seed=split_seed, seed=seed)
    assert_partition(split, np.arange(len(y)))
    sets = [set(group[part]) for part in parts(split)]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
    assert set(y[split.train]) == set(y)
    other = make_split(data, "group", test_share=share, split_seed=split_seed, seed=seed + 1)
    assert (other.test == split.test).all()


def test_group_split_is_balanced_and_rotates():
    """UCF101's shape: 14 classes of 25 groups, 4 to 7 clips each; groups are numbered anew in each class."""
    generator = np.random.default_rng(0)
    sizes = generator.integers(4, 8, size=(14, 25))
    y = np.repeat(np.arange(14), sizes.sum(1))
    group = np.repeat(np.arange(14 * 25), sizes.reshape(-1))
    data = dataset(y, group)
    splits = [make_split(data, "group", seed=seed) for seed in range(5)]
    counts = np.bincount(y)
    assert np.abs(np.bincount(y[splits[0].test]) / counts - 0.3).max() < 0.08
    for split in splits:
        assert abs(len(split.validation) / (len(y) - len(split.test)) - 0.2) < 0.04
        assert (np.bincount(y[split.validation], minlength=14) > 0).all()
    assert len({split.digest for split in splits}) == 5


def test_validation_rotates_over_few_groups_too():
    """Ten subjects who all do everything: the best-balanced subject must not be validation for every seed."""
    y = np.tile(np.repeat(np.arange(3), 5), 10)
    group = np.repeat(np.arange(10), 15)
    data = dataset(y, group)
    held = {frozenset(group[make_split(data, "group", seed=seed).validation].tolist()) for seed in range(8)}
    assert len(held) >= 4


@settings(max_examples=40)
@given(labelled(), st.integers(0, 5))
def test_official_split_keeps_the_given_test_part(y, seed):
    subset = np.where(np.arange(len(y)) % 3 == 2, "test", "train")
    subset[:2] = ["", "train"]
    data = dataset(np.concatenate([y, y]), subset=np.concatenate([subset, np.full(len(y), "train")]))
    split = make_split(data, "official", seed=seed)
    assert_partition(split, np.flatnonzero(data.subset != ""))
    assert (split.test == np.flatnonzero(data.subset == "test")).all()


def test_official_split_carves_validation_by_group_where_there_are_groups():
    y = np.tile([0, 1], 40)
    group = np.repeat(np.arange(20), 4)
    data = dataset(y, group, np.where(group < 14, "train", "test"))
    split = make_split(data, None)
    assert set(group[split.test]) == set(range(14, 20))
    assert not set(group[split.train]) & set(group[split.validation])


def test_official_validation_is_drawn_at_random_if_every_group_of_train_is_in_test():
    y = np.tile([0, 1], 40)
    group = np.repeat(np.arange(4), 20)
    data = dataset(y, group, np.where(np.arange(80) % 20 < 4, "test", "train"))
    split = make_split(data, "official")
    assert_partition(split, np.arange(80))
    assert set(group[split.validation]) == set(group[split.train]) == set(range(4))


def test_official_validation_part_is_kept_for_every_seed():
    y = np.tile([0, 1], 6)
    data = dataset(y, subset=np.array(["train"] * 4 + ["validation"] * 4 + ["test"] * 4))
    assert make_split(data, "official", seed=0).digest == make_split(data, "official", seed=9).digest


def test_a_class_with_one_training_example_stays_in_train():
    """Some archive sets have such classes (DiatomSizeReduction); validation then simply lacks the class."""
    y = np.array([0] * 6 + [1] + [0, 1])
    split = make_split(dataset(y, subset=["train"] * 7 + ["test"] * 2), "official")
    assert 6 in split.train


@settings(max_examples=40)
@given(grouped(), SHARES, st.integers(0, 20))
def test_each_group_is_left_out_exactly_once(made, share, seed):
    y, group = made
    data = dataset(y, group)
    numbers = np.array([int(name.rpartition("g")[2]) for name in group])  # of g3 and of 0g3: 3
    folds = len(np.unique(numbers))
    tested = []
    for fold in range(folds):
        split = make_split(data, "leave_one_group_out", fold=fold, validation_share=share, seed=seed)
        assert_partition(split, np.arange(len(y)))
        sets = [set(group[part]) for part in parts(split)]
        assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])
        assert set(y[split.train]) == set(y) == set(y[split.test])  # one number is left out of every class
        assert set(numbers[split.test]) == {fold}
        other = make_split(data, "leave_one_group_out", fold=fold, validation_share=share, seed=seed + 1)
        assert (other.test == split.test).all()
        tested += split.test.tolist()
    assert sorted(tested) == list(range(len(y)))
    with pytest.raises(InputError, match=f"there are {folds} groups to leave out: 0..{folds - 1}"):
        make_split(data, "leave_one_group_out", fold=folds)


def test_folds_are_in_the_order_of_their_numbers():
    """Subjects who do everything are one fold each, whatever they are called; g2 comes before g10."""
    y = np.tile([0, 1, 2], 11)
    subjects = np.repeat([30, 1, 2, 7, 5, 4, 11, 9, 8, 6, 3], 3)
    for group in (subjects, np.char.add("subject-", subjects.astype(str))):
        held = [make_split(dataset(y, group), "leave_one_group_out", fold=fold).test for fold in range(11)]
        assert [int(subjects[rows[0]]) for rows in held] == sorted(set(subjects.tolist()))
        assert all(len(rows) == 3 for rows in held)


def test_groups_of_one_class_whose_numbers_never_come_back_are_folds_of_their_own():
    y = np.repeat([0, 1], 6)
    group = np.char.add("video", (np.arange(12) // 2).astype(str))
    assert [len(make_split(dataset(y, group), "leave_one_group_out", fold=fold).test) for fold in range(6)] == [2] * 6


def test_unused_sequences_are_in_no_fold():
    y, group = np.tile([0, 1], 10), np.repeat(np.arange(5), 4)
    data = dataset(y, group, np.where(np.arange(20) % 4 == 0, "", "train"))
    split = make_split(data, "leave_one_group_out", fold=2)
    assert_partition(split, np.flatnonzero(data.subset != ""))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"split": "leave_one_group_out"}, "leave_one_group_out needs fold"),
        ({"split": "group", "fold": 1}, "fold is for split: leave_one_group_out only"),
        ({"split": "leave_one_group_out", "fold": -1}, "greater than or equal to 0"),
    ],
)
def test_a_task_with_a_fold_that_makes_no_sense_is_refused(spec, message):
    assert message in refusal_of(validated, TaskSpec, {"name": "digits", **spec}, "tasks: digits")


def test_validation_has_about_its_share():
    y = np.repeat(np.arange(10), 100)
    split = make_split(dataset(y), "random", test_share=0.3, validation_share=0.2)
    assert [len(part) for part in parts(split)] == [560, 140, 300]


@pytest.mark.parametrize(
    ("data", "rule", "message"),
    [
        (dataset([0, 1] * 5), "official", "there is no official split"),
        (dataset([0, 1] * 5, subset=["train"] * 10), "official", "subset has no test part; mark its sequences"),
        (dataset([0, 1] * 5, subset=["test"] * 10), "official", "subset has no train part"),
        (dataset([0, 1] * 5), "group", "needs groups"),
        (dataset([0] * 9 + [1] * 2), "random", "class 'c1' has 2 example(s); a random split needs at least 3"),
        (dataset([0, 1] * 5, group=np.zeros(10, int)), "group", "too few groups per class to cut a test part off"),
        (dataset([0, 1] * 4, group=np.arange(8) // 4), "group", "too few groups per class to cut a validation part"),
        (dataset([0, 1, 0, 1], subset=["train", "train", "test", "test"]), "official", "too few examples per class"),
        (dataset([0, 1] * 5), "leave_one_group_out", "split: leave_one_group_out needs groups"),
        (
            dataset([0, 1] * 6, group=np.arange(12) // 4),
            "leave_one_group_out",
            "needs fold, the group to leave out: 0..2",
        ),
    ],
)
def test_what_cannot_be_split_is_refused_in_one_line(data, rule, message):
    assert message in refusal_of(make_split, data, rule)
