"""Modes and ranks: what a user types in a config, and what they are told when it cannot be."""

from math import prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeezebench.nn.factorized.modes import balanced_modes, check_modes, gate_modes, rank_for_budget
from squeezebench.nn.factorized.tensor_train import TensorTrainMap


@given(st.integers(1, 60_000), st.integers(1, 6))
def test_balanced_modes_multiply_to_the_size(size, order):
    modes = balanced_modes(size, order)
    assert prod(modes) == size
    assert len(modes) == order
    assert list(modes) == sorted(modes, reverse=True)


@given(st.integers(1, 400))
def test_balanced_modes_have_the_least_sum(size):
    triples = [(a, b, size // a // b) for a in range(1, size + 1) for b in range(1, size + 1) if size % (a * b) == 0]
    assert sum(balanced_modes(size, 3)) == min(map(sum, triples))


def test_balanced_modes_of_the_published_sizes():
    assert balanced_modes(57_600, 4) == (16, 16, 15, 15)
    assert balanced_modes(2048, 3) == (16, 16, 8)
    assert balanced_modes(256, 4) == (4, 4, 4, 4)
    assert balanced_modes(13, 3) == (13, 1, 1)  # a prime leaves ones


def test_gate_modes_multiply_the_first_mode_only():
    assert gate_modes((4, 4, 2), 4) == (16, 4, 2)
    assert gate_modes((4, 4, 2), 3) == (12, 4, 2)


def test_wrong_product_names_modes_that_fit():
    with pytest.raises(ValueError, match=r"8 \* 20 \* 20 \* 17 multiply to 54400, not 57600.*16 \* 16 \* 15 \* 15"):
        check_modes("in_modes", (8, 20, 20, 17), 57_600)


@pytest.mark.parametrize("modes", [(), (4, 0), (4, -2), (4, 2.5)])
def test_modes_must_be_positive_integers(modes):
    with pytest.raises(ValueError, match="in_modes must be integers of at least 1"):
        check_modes("in_modes", modes)


@given(st.integers(100, 200_000))
def test_rank_for_budget_is_the_largest_that_fits(budget):
    def count(rank):
        return TensorTrainMap.count((8, 8, 8), (16, 4, 4), rank)

    highest = TensorTrainMap.highest_rank((8, 8, 8), (16, 4, 4))
    if count(1) > budget:
        with pytest.raises(ValueError, match=f"no rank meets a budget of {budget}.*rank 1 already needs {count(1)}"):
            rank_for_budget(count, budget, highest)
        return
    rank = rank_for_budget(count, budget, highest)
    assert count(rank) <= budget
    assert rank == highest or count(rank + 1) > budget
