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


STAGES_50 = (3, 4, 6, 3)  # blocks of ResNet-50
ADDED = {300: ((1024, 3, 6, 6), (1024, 1, 0, 1)), 512: ((1024, 3, 6, 2),) * 2}  # ITPCC, Table 2
READ = {300: (2, 3), 512: (2,)}  # stages whose maps SSD's heads read, so that they are of the original's sizes
EXTRA = {300: ((256, 512, 3, 2, 1), (128, 256, 3, 2, 1), (128, 256, 3, 1, 0)),
         512: ((256, 512, 3, 2, 1), *((128, 256, 3, 2, 1),) * 3, (128, 256, 4, 1, 1))}  # fmt: skip
BOXES = {300: (4, 6, 6, 6, 4, 4), 512: (4, 6, 6, 6, 6, 4, 4)}  # default boxes of a place
VOC = 20  # classes


class _Count:
    """Multiply-accumulates of square convolutions one after another, and numbers that batch norms make."""

    def __init__(self) -> None:
        self.macs = self.normalised = 0

    def conv(self, read: int, out: int, kernel: int, side: int, stride: int = 1, padding: int = 0, dilation: int = 1,
             norm: bool = False) -> int:  # fmt: skip
        """The side of the map that it makes; norm: a batch norm follows."""
        side = (side + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        self.macs += read * out * kernel**2 * side**2
        self.normalised += out * side**2 if norm else 0
        return side


def _resnet50(count: _Count, side: int) -> list[tuple[int, int]]:
    """(channels, side) of the map after each stage."""
    side = count.conv(3, 64, 7, side, 2, 3, norm=True)
    side = (side - 1) // 2 + 1  # the pooling
    read, maps = 64, []
    for stage, blocks in enumerate(STAGES_50):
        inner = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            if not block:
                count.conv(read, 4 * inner, 1, side, stride, norm=True)
            count.conv(read, inner, 1, side, norm=True)
            side = count.conv(inner, inner, 3, side, stride, 1, norm=True)
            count.conv(inner, 4 * inner, 1, side, norm=True)
            read = 4 * inner
        maps.append((read, side))
    return maps


def ssd_resnet50(size: int, norm: int = 0) -> int:
    """Operations of SSD300 or SSD512 on an unpruned ResNet-50 with ITPCC's added layers, 20 classes.

    Multiply-accumulates of the convolutions, and `norm` operations for each number that a batch norm makes. The
    supplement names the added layers. Which maps the heads read follows from the original head's map sizes.
    """
    count = _Count()
    stages = _resnet50(count, size)
    channels, side = stages[-1]
    for out, kernel, padding, dilation in ADDED[size]:
        side = count.conv(channels, out, kernel, side, 1, padding, dilation)
        channels = out
    maps = [*(stages[number - 1] for number in READ[size]), (channels, side)]
    for inner, out, kernel, stride, padding in EXTRA[size]:
        count.conv(channels, inner, 1, side)
        side = count.conv(inner, out, kernel, side, stride, padding)
        channels = out
        maps.append((channels, side))
    for (channels, side), boxes in zip(maps, BOXES[size], strict=True):
        count.conv(channels, boxes * (VOC + 1 + 4), 3, side, 1, 1)
    return count.macs + norm * count.normalised
