"""The contraction of several tensors in a good order, as matrix products that copy as little as they can.

In the networks of maps every letter stands in two places (two tensors, or a tensor and the result). So each pair of
tensors is contracted by one matrix product, and einsum's general form is not needed: it sorts the summed letters its
own way, which copies both operands; here they stay in the order of the larger one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import opt_einsum
from torch import Tensor

WRITE = 64  # what writing (and later permuting) one element costs, in multiply-accumulates; measured on CPUs


@dataclass(frozen=True)
class Product:
    """One matrix product: the two tensors that it takes, the larger one first, and how their axes are ordered."""

    taken: tuple[int, int]  # places in the list of tensors that are left; the result goes to its end
    rows: tuple[int, ...]  # axes of the larger that stay
    columns: tuple[int, ...]  # axes of the smaller that stay
    summed: tuple[tuple[int, ...], tuple[int, ...]]  # the same letters in each of the two, in one order
    letters: str  # all that take part; the product of their sizes is its multiply-accumulates
    result: str

    def __call__(self, large: Tensor, small: Tensor) -> Tensor:
        kept = [large.shape[axis] for axis in self.rows] + [small.shape[axis] for axis in self.columns]
        width = prod(large.shape[axis] for axis in self.summed[0])
        left = large.permute(self.rows + self.summed[0]).reshape(-1, width)
        right = small.permute(self.summed[1] + self.columns).reshape(width, -1)
        return (left @ right).reshape(kept)


@dataclass(frozen=True)
class Expression:
    """Tensors of these words -> one tensor; `cost` in multiply-accumulates, writing included."""

    products: tuple[Product, ...]
    order: tuple[int, ...]  # of the axes of the last product, as the output has them
    cost: float
    largest: int  # elements of the largest intermediate
    written: int  # elements of all intermediates together

    def __call__(self, *tensors: Tensor) -> Tensor:
        left = list(tensors)
        for product in self.products:
            large, small = (left[place] for place in product.taken)
            for place in sorted(product.taken, reverse=True):
                del left[place]
            left.append(product(large, small))
        return left[0].permute(self.order)


@lru_cache(maxsize=1024)
def expression(words: tuple[str, ...], output: str, sizes: tuple[tuple[str, int], ...]) -> Expression:
    """The pairwise contraction of `words` into `output`, in the order that opt_einsum finds for these sizes.

    Raises ValueError if a letter does not stand in exactly two places.
    """
    size = dict(sizes)
    if wrong := sorted(letter for letter, places in Counter("".join(words) + output).items() if places != 2):
        raise ValueError(f"{','.join(words)}->{output}: each letter must stand in two places, not {', '.join(wrong)}")
    search = opt_einsum.DynamicProgramming(minimize=f"combo-{WRITE}")
    path = search([frozenset(word) for word in words], frozenset(output), size) if len(words) > 1 else []
    left, products = list(words), []
    for pair in path:
        products.append(_product(left, tuple(pair), size))
        for place in sorted(pair, reverse=True):
            del left[place]
        left.append(products[-1].result)
    macs = sum(prod(size[letter] for letter in product.letters) for product in products)
    written = [prod(size[letter] for letter in word) for word in [p.result for p in products] or left]
    order = tuple(left[0].index(letter) for letter in output)
    return Expression(tuple(products), order, macs + WRITE * sum(written), max(written), sum(written))


def _product(words: list[str], pair: tuple[int, ...], size: dict[str, int]) -> Product:
    def elements(place: int) -> int:
        return prod(size[letter] for letter in words[place])

    first, second = sorted(pair, key=elements, reverse=True)
    large, small = words[first], words[second]
    summed = [letter for letter in large if letter in small]
    rows = [letter for letter in large if letter not in small]
    columns = [letter for letter in small if letter not in large]
    return Product(
        (first, second),
        tuple(large.index(letter) for letter in rows),
        tuple(small.index(letter) for letter in columns),
        (tuple(large.index(letter) for letter in summed), tuple(small.index(letter) for letter in summed)),
        "".join([*rows, *summed, *columns]),
        "".join([*rows, *columns]),
    )


def costs(of: Expression, sizes: dict[str, int]) -> Iterator[tuple[int, str]]:
    """(multiply-accumulates, the letters that take part) of each product that sums over something."""
    for product in of.products:
        if product.summed[0]:
            yield prod(sizes[letter] for letter in product.letters), product.letters
