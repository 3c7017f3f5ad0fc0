"""Closed-form sizes: the counting rules that the papers use, and their inverses.

d inputs, h hidden units, b bias vectors per gate. PyTorch keeps two (b_ih and b_hh), Keras one; the papers' figures
leave no doubt that theirs is 4h(d+h+2) (Appendix Table 3 of VIB-LSTM has all digits).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from squeezebench.base.errors import InputError
from squeezebench.schema.reference import Figure

BIASES = {2: "two biases", 1: "one bias", 0: "no bias"}
CLASSES = 10  # of MNIST


def lstm(d: int, h: int, biases: int = 2) -> int:
    """Parameters of one LSTM layer: 4h(d+h+b)."""
    return 4 * h * (d + h + biases)


def head(features: int, classes: int) -> int:
    """A fully connected layer with bias."""
    return features * classes + classes


def exact_pairs(size: int, biases: int = 2) -> list[tuple[int, int]]:
    """All (d, h) with 4h(d+h+b) = `size`; h from large to small."""
    quarter, rest = divmod(size, 4)
    hs = [h for h in range(1, math.isqrt(quarter) + 1) if quarter % h == 0] if not rest else []
    pairs = [(quarter // h - h - biases, h) for h in hs]
    return sorted((pair for pair in pairs if pair[0] > 0), key=lambda pair: -pair[1])


def nearest_hidden(size: Fraction | int, d: int, biases: int = 2) -> int:
    """The h whose LSTM with d inputs comes nearest to `size` parameters."""
    below = max(1, (math.isqrt((d + biases) ** 2 + int(size)) - (d + biases)) // 2)  # h^2 + (d+b)h = size/4
    return min((below, below + 1), key=lambda h: abs(lstm(d, h, biases) - size))


def nearest_inputs(size: Fraction | int, h: int, biases: int = 2) -> int:
    """The d whose LSTM with h hidden units comes nearest to `size` parameters."""
    return max(1, round(Fraction(size) / (4 * h)) - h - biases)


def common_checkpoints(before: int, after: int) -> int:
    """In how many ways both sizes can belong to one number of inputs, by one rule of counting biases, with hidden units
    removed between them."""
    number = 0
    for biases in BIASES:
        starts = dict(exact_pairs(before, biases))
        number += sum(h <= starts.get(d, 0) for d, h in exact_pairs(after, biases))
    return number


def solved_backwards(figure: Figure, d: int, h: int) -> str:
    """Which other sizes would print this figure."""
    if figure.step == 1:
        with_h = [f"({a}, {h}) with {name}" for biases, name in BIASES.items()
                  for a, b in exact_pairs(int(figure.value), biases) if b == h]  # fmt: skip
        others = [f"({a}, {b})" for a, b in exact_pairs(int(figure.value)) if b != h]
        if pairs := with_h + others * (len(others) <= 6):
            return "exact for " + ", ".join(pairs)
    return (
        f"would need {_span(hidden_that_print(figure, d))} hidden units at {d} inputs, or "
        f"{_span(inputs_that_print(figure, h))} inputs at {h} hidden units"
    )


def hidden_that_print(figure: Figure, d: int) -> list[int]:
    """Every h whose size with d inputs, rounded or cut off, gives the printed figure."""
    centre = nearest_hidden(figure.value, d)
    reach = math.ceil(figure.step / (4 * (d + 2 * centre))) + 2
    return [h for h in range(max(1, centre - reach), centre + reach) if figure.fit(lstm(d, h))]


def inputs_that_print(figure: Figure, h: int) -> list[int]:
    """Every d whose size with h hidden units, rounded or cut off, gives the printed figure."""
    centre = nearest_inputs(figure.value, h)
    reach = math.ceil(figure.step / (4 * h)) + 2
    return [d for d in range(max(1, centre - reach), centre + reach) if figure.fit(lstm(d, h))]


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "no whole number of"
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def tensor_cores(
    kind: str, inputs: Sequence[int], outputs: Sequence[int], ranks: Sequence[int], blocks: int = 1
) -> int:
    """Core parameters of a tensorised input-to-hidden map (the first output mode holds the four gates).

    tt: Yang et al. 2017, sum of m_k n_k r_{k-1} r_k with ranks r_0 ... r_d. bt: Ye et al. 2018, N (sum of
    m_k n_k R_k + product of R_k). tr: Pan et al. 2019, one core R_{k-1} mode R_k for each mode, ring closed. ht: Yin
    et al. 2020, leaves m_k n_k r and transfer tensors of a binary tree; ranks are (leaf, inner).
    """
    pairs = [m * n for m, n in zip(inputs, outputs, strict=True)] if kind != "tr" else []
    if kind == "tt":
        return sum(pair * ranks[k] * ranks[k + 1] for k, pair in enumerate(pairs))
    if kind == "bt":
        return blocks * (sum(pair * rank for pair, rank in zip(pairs, ranks, strict=True)) + math.prod(ranks))
    if kind == "tr":
        modes = [*inputs, *outputs]
        after = [*ranks[1:], ranks[0]]
        return sum(before * mode * then for before, mode, then in zip(ranks, modes, after, strict=True))
    if kind == "ht":
        leaf, inner = ranks
        return sum(pairs) * leaf + _transfers(len(pairs), leaf, inner, parent=1)
    raise ValueError(f"no tensor layer of kind {kind!r}")


def _transfers(leaves: int, leaf: int, inner: int, parent: int) -> int:
    """Transfer tensors r_parent r_left r_right of a balanced binary tree over so many leaves."""
    if leaves == 1:
        return 0
    halves = ((leaves + 1) // 2, leaves // 2)
    left, right = (leaf if half == 1 else inner for half in halves)
    below = sum(_transfers(half, leaf, inner, inner) for half in halves)
    return parent * left * right + below


def _widths(structure: str) -> list[int]:
    """The widths of `97-71-33`. Raises InputError for another text than a structure of three or four layers."""
    widths = [int(part) for part in structure.split("-") if part.isdigit()]
    if len(widths) not in (3, 4) or "-".join(map(str, widths)) != structure:
        raise InputError(f"{structure!r} is not a structure of three layers (LeNet-300-100) or four (LeNet-5)")
    return widths


def weights(structure: str) -> int:
    """Weights without biases of a fully connected a-b-c-10, or of LeNet-5: two convolutions of 5 x 5, what the first
    fully connected layer reads, and its width."""
    if len(widths := _widths(structure)) == 3:
        a, b, c = widths
        return a * b + b * c + CLASSES * c
    a, b, c, d = widths
    return 25 * a + 25 * a * b + c * d + CLASSES * d


def neurons(structure: str) -> int:
    """Numbers that one image's forward pass keeps; LeNet-5: maps of 24 x 24 and 8 x 8, pooled to 12 x 12 and 4 x 4."""
    if len(widths := _widths(structure)) == 3:
        return sum(widths)
    a, b, c, d = widths
    return (24**2 + 12**2) * a + (8**2 + 4**2) * b + c + d


def macs(structure: str) -> int:
    """Multiply-accumulates of one image through LeNet-5."""
    a, b, c, d = _widths(structure)
    return 25 * a * 24**2 + 25 * a * b * 8**2 + c * d + CLASSES * d
