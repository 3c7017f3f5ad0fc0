"""Modes and ranks: integers into balanced modes, checks with helpful messages, the rank of a budget."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from numbers import Integral


def balanced_modes(size: int, order: int) -> tuple[int, ...]:
    """`order` integers that multiply to `size`, as equal as its divisors allow (least sum), largest first.

    57,600 with four modes is 16 * 16 * 15 * 15; a prime leaves ones: 13 with three modes is 13 * 1 * 1.
    """
    if size < 1 or order < 1:
        raise ValueError(f"size and order must be at least 1, got size {size} and order {order}")
    return _least_sum(size, order, size)


@cache
def _least_sum(size: int, order: int, highest: int) -> tuple[int, ...] | None:
    """The factors of `size`, each at most `highest`, in descending order; None where there are none."""
    if order == 1:
        return (size,) if size <= highest else None
    best = None
    for first in (d for d in _divisors(size) if d**order >= size and d <= highest):
        if best is not None and first >= sum(best):
            break
        others = _least_sum(size // first, order - 1, first)
        if others is not None and (best is None or first + sum(others) < sum(best)):
            best = (first, *others)
    return best


def _divisors(size: int) -> list[int]:
    small = [d for d in range(1, int(size**0.5) + 1) if size % d == 0]
    return sorted({*small, *(size // d for d in small)})


def gate_modes(hidden_modes: Sequence[int], gates: int) -> tuple[int, ...]:
    """Output modes of all gates at once: the first hidden mode times the number of gates (4 LSTM, 3 GRU).

    The output vector (gates * H) then holds one contiguous block of H per gate.
    """
    first, *others = check_modes("hidden_modes", hidden_modes)
    if gates < 1:
        raise ValueError(f"gates must be at least 1, got {gates}")
    return (gates * first, *others)


def check_modes(name: str, modes: Sequence[int], size: int | None = None) -> tuple[int, ...]:
    """The modes as a tuple; ValueError unless positive integers (that multiply to `size`, where given)."""
    modes = tuple(int(m) if isinstance(m, Integral) else m for m in modes)
    if not modes or any(not isinstance(m, int) or m < 1 for m in modes):
        raise ValueError(f"{name} must be integers of at least 1, got {_product(modes)}")
    if size is not None and prod(modes) != size:
        nearest = _product(balanced_modes(size, len(modes)))
        raise ValueError(
            f"{name} {_product(modes)} multiply to {prod(modes)}, not {size}; with {len(modes)} modes, "
            f"{size} = {nearest}"
        )
    return modes


def check_pairs(in_modes: Sequence[int], out_modes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Both as tuples; ValueError unless each input mode has its output mode."""
    in_modes, out_modes = check_modes("in_modes", in_modes), check_modes("out_modes", out_modes)
    if len(in_modes) != len(out_modes):
        raise ValueError(
            f"in_modes {_product(in_modes)} and out_modes {_product(out_modes)} must be as many; "
            f"fill the shorter one with modes of 1"
        )
    return in_modes, out_modes


def check_rank(name: str, rank: int, highest: int) -> int:
    """The rank; ValueError unless it is an integer between 1 and `highest`."""
    if isinstance(rank, bool) or not isinstance(rank, Integral) or not 1 <= rank <= highest:
        raise ValueError(f"{name} must be an integer between 1 and {highest} (what the modes allow), got {rank}")
    return int(rank)


def rank_for_budget(count: Callable[[int], int], budget: int, highest: int) -> int:
    """The largest rank up to `highest` whose `count(rank)` parameters fit into `budget`.

    `count` must not decrease with the rank. ValueError where even rank 1 is too large.
    """
    if count(1) > budget:
        raise ValueError(
            f"no rank meets a budget of {budget} parameters: rank 1 already needs {count(1)}; "
            f"raise the budget or choose more or more balanced modes"
        )
    return bisect_right(range(1, highest + 1), budget, key=count)


def _product(modes: Sequence[int]) -> str:
    return " * ".join(str(m) for m in modes) or "none"
