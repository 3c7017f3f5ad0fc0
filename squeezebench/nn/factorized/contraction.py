"""Planned contractions: y = x W^T, W a network of small cores that is built only where that is cheapest.

Everything depends on the order. At the published shapes a bad order costs 40 to 80 times a good one, so the
order is chosen once per (network, power of two of the number of rows) by an estimate of its cost, and kept.

The input x is by far the largest tensor here, so it is touched exactly once and never permuted. A plan is

    front   some cores are merged into one matrix over a window of input modes: (window, open letters)
    z       = x times front, with x only viewed as (rows * modes before, window, modes after)
    rest    z is contracted with the remaining cores

and the candidates are every window that ends with the last mode, with the cores of those modes alone or with
neighbours whose absorption narrows the front; "all cores", which is the dense matrix; and every single mode with
its cores alone. After such a mode z keeps the bonds beside the modes after it, where the next product sums over
both without a copy. Orders inside `front` and `rest` come from opt_einsum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import opt_einsum
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from squeezebench.nn.factorized.expression import WRITE, Expression, costs, expression

ROW = opt_einsum.get_symbol(0)  # the letter of the rows of x
CACHE_BLOCK = 2**20  # elements: on a CPU, intermediates of about this size stay in cache and off the page allocator
MAX_ELEMENTS = 2**27  # elements of intermediates kept at a time: 512 MiB in float32


@dataclass(frozen=True)
class Network:
    """The einsum of a map: one letter per input mode, output mode and bond; one word of letters per core."""

    inputs: str
    outputs: str
    cores: tuple[str, ...]
    sizes: tuple[tuple[str, int], ...]


def network(inputs: str, outputs: str, cores: Sequence[str], tensors: Sequence[Tensor]) -> Network:
    """A network whose sizes are read off its tensors."""
    sizes = {ltr: n for word, t in zip(cores, tensors, strict=True) for ltr, n in zip(word, t.shape, strict=True)}
    return Network(inputs, outputs, tuple(cores), tuple(sizes.items()))


def letters(count: int, start: int = 0) -> str:
    """`count` distinct letters, none of them ROW; `start` skips letters that are already used."""
    return "".join(opt_einsum.get_symbol(1 + start + i) for i in range(count))


@dataclass(frozen=True)
class Plan:
    """One way to apply a network to x; see the module's docstring for `front`, z and `rest`."""

    window: str  # the input modes that the front covers
    front_cores: tuple[int, ...]
    rest_cores: tuple[int, ...]
    front: Expression
    rest: Expression | None  # None where the front holds all cores
    z_shape: tuple[int, ...]  # of one row: the input modes before the window, the front's open letters, the modes after
    window_size: int
    after_size: int  # of the input modes after the window
    front_size: int
    out_features: int
    row_peak: int  # elements of the largest intermediate, for one row of x
    row_total: int  # elements of all intermediates together, for one row of x
    cost: float  # forward and backward, in multiply-accumulates


def apply(net: Network, x: Tensor, cores: Sequence[Tensor], max_elements: int = MAX_ELEMENTS) -> Tensor:
    """y (rows, O) = x (rows, D) times the network.

    Rows are taken in blocks so that no intermediate exceeds `max_elements` (on a CPU: the cache). Where the
    intermediates kept for the backward pass would exceed it all together, they are computed again instead.
    """
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return _apply(net, x, cores, max_elements, x.dtype)
    with torch.autocast(kind, enabled=False):  # not every contraction is on autocast's list: cast by hand
        return _apply(net, x, cores, max_elements, torch.get_autocast_dtype(kind))


def _apply(net: Network, x: Tensor, cores: Sequence[Tensor], max_elements: int, dtype: torch.dtype) -> Tensor:
    rows = x.shape[0]
    plan = plan_for(net, bucket(rows), max_elements)
    front = plan.front(*(cores[i] for i in plan.front_cores)).reshape(plan.window_size, -1)
    operands = [front, *(cores[i] for i in plan.rest_cores)]
    if dtype != x.dtype:
        x, operands = x.to(dtype), [operand.to(dtype) for operand in operands]

    limit = min(CACHE_BLOCK, max_elements) if x.device.type == "cpu" else max_elements
    block = max(1, limit // plan.row_peak)
    if rows <= block:
        return _block(plan, x, *operands)
    parts = x.split(-(-rows // -(-rows // block)))  # equal blocks
    if torch.is_grad_enabled() and rows * plan.row_total > max_elements:
        return torch.cat([checkpoint(_block, plan, part, *operands, use_reentrant=False) for part in parts])
    return torch.cat([_block(plan, part, *operands) for part in parts])


def bucket(rows: int) -> int:
    """The number of rows that is planned for: the next power of two."""
    return 1 << max(rows - 1, 0).bit_length()


def _block(plan: Plan, x: Tensor, front: Tensor, *rest: Tensor) -> Tensor:
    if plan.after_size == 1:
        z = x.reshape(-1, plan.window_size) @ front
    else:  # one small product for each value of the modes before: matmul would fold them into one, and copy x for it
        x_window = x.reshape(-1, plan.window_size, plan.after_size)
        z = torch.bmm(front.T.expand(len(x_window), -1, -1), x_window)
    if rest:
        z = plan.rest(z.reshape(x.shape[0], *plan.z_shape), *rest)
    return z.reshape(x.shape[0], plan.out_features)


def materialise(net: Network, cores: Sequence[Tensor]) -> Tensor:
    """The dense matrix W (O, D)."""
    sizes = dict(net.sizes)
    whole = expression(net.cores, net.outputs + net.inputs, net.sizes)
    return whole(*cores).reshape(prod(sizes[ltr] for ltr in net.outputs), -1)


@lru_cache(maxsize=1024)
def plan_for(net: Network, rows: int, max_elements: int = MAX_ELEMENTS) -> Plan:
    """The cheapest plan for this many rows whose front fits into `max_elements`."""
    plans = [_plan(net, rows, window, group) for window, group in _candidates(net)]
    fitting = [plan for plan in plans if plan.front_size <= max_elements]
    if not fitting:
        return min(plans, key=lambda plan: plan.front_size)
    return min(fitting, key=lambda plan: plan.cost)


def _candidates(net: Network) -> Iterator[tuple[str, frozenset[int]]]:
    sizes = dict(net.sizes)
    seen = set()
    for k in range(1, len(net.inputs) + 1):
        suffix = net.inputs[-k:]
        group = frozenset(i for i, word in enumerate(net.cores) if set(word) & set(suffix))
        while group is not None:
            if (suffix, group) not in seen:
                seen.add((suffix, group))
                yield suffix, group
            group = _absorb(net, sizes, suffix, group)
    everything = frozenset(range(len(net.cores)))
    if (net.inputs, everything) not in seen:
        yield net.inputs, everything
    for mode in net.inputs[:-1]:
        yield mode, frozenset(i for i, word in enumerate(net.cores) if mode in word)


def _absorb(net: Network, sizes: dict[str, int], suffix: str, group: frozenset[int]) -> frozenset[int] | None:
    """The group with the neighbour that narrows its open letters most, or None where no neighbour does."""
    before = set(net.inputs) - set(suffix)
    wider = [
        group | {i}
        for i, word in enumerate(net.cores)
        if i not in group and not set(word) & before and set(word) & set(_open(net, suffix, group))
    ]
    width = {g: prod(sizes[ltr] for ltr in _open(net, suffix, g)) for g in (*wider, group)}
    best = min(wider, key=width.__getitem__, default=None)
    return best if best is not None and width[best] <= width[group] else None


def _open(net: Network, window: str, group: Iterable[int]) -> str:
    """Letters of the group's cores that are still needed once they are merged: the outputs in their order beside the
    modes before the window, which stay rows of the next product, and the bonds beside the modes after it.
    """
    group = set(group)
    inside = "".join(net.cores[i] for i in sorted(group))
    outside = {ltr for i, word in enumerate(net.cores) if i not in group for ltr in word}
    bonds = [ltr for ltr in dict.fromkeys(inside) if ltr in outside and ltr not in net.outputs]
    outputs = [ltr for ltr in net.outputs if ltr in inside]
    return "".join([*bonds, *outputs] if net.inputs.endswith(window) else [*outputs, *bonds])


def _plan(net: Network, rows: int, window: str, group: frozenset[int]) -> Plan:
    sizes = dict(net.sizes)
    before, _, after = net.inputs.partition(window)
    front_cores = tuple(sorted(group))
    rest_cores = tuple(i for i in range(len(net.cores)) if i not in group)
    opened = _open(net, window, group)

    front = expression(tuple(net.cores[i] for i in front_cores), window + opened, net.sizes)

    def size_of(word: str) -> int:
        return prod(sizes[ltr] for ltr in word)

    z_elements = size_of(before) * size_of(opened) * size_of(after)
    gradients = size_of(before) * size_of(window + opened) if after else 0  # of the front, before they are summed
    first = rows * (size_of(net.inputs) * size_of(opened) + WRITE * max(z_elements, gradients))
    rest = None
    if rest_cores:
        words = (ROW + before + opened + after, *(net.cores[i] for i in rest_cores))
        rest = expression(words, ROW + net.outputs, (*net.sizes, (ROW, rows)))
    return Plan(
        window=window,
        front_cores=front_cores,
        rest_cores=rest_cores,
        front=front,
        rest=rest,
        z_shape=tuple(sizes[ltr] for ltr in before + opened + after),
        window_size=size_of(window),
        after_size=size_of(after),
        front_size=size_of(window + opened),
        out_features=size_of(net.outputs),
        row_peak=max(z_elements, gradients, -(-rest.largest // rows) if rest else 1),
        row_total=z_elements + (-(-rest.written // rows) if rest else 0),
        cost=2 * first + 3 * (front.cost + (rest.cost if rest else 0)),  # x @ front needs no gradient of x
    )


def macs(net: Network, rows: int, max_elements: int = MAX_ELEMENTS) -> int:
    """Multiply-accumulates of `apply` on `rows` rows: the front, x @ front, and z with the remaining cores."""
    plan, sizes = plan_for(net, bucket(rows), max_elements), dict(net.sizes)
    block = max(1, min(CACHE_BLOCK, max_elements) // plan.row_peak)  # rows taken at a time, CPU
    pieces = -(-rows // block)
    front = sum(product for product, _ in costs(plan.front, sizes))
    inputs = prod(sizes[letter] for letter in net.inputs)
    total = front + rows * inputs * plan.front_size // plan.window_size
    if plan.rest is None:
        return total
    return total + sum(
        product * (rows if ROW in letters else pieces) for product, letters in costs(plan.rest, sizes | {ROW: 1})
    )
