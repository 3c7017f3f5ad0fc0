"""Hierarchical Tucker (Yin et al. 2020, arXiv 2005.04366; FDHT: Yin et al., CVPR 2021, arXiv 2104.05758)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from numbers import Integral

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.base import TensorMap, check_weight, set_cores, spread_ranks
from squeezebench.nn.factorized.contraction import letters
from squeezebench.nn.factorized.decomposition import leading_basis, paired, project, same_norms, unfold
from squeezebench.nn.factorized.modes import check_pairs, check_rank
from squeezebench.nn.registry import register


@register
class HierarchicalTuckerMap(TensorMap):
    """A binary tree over the d pairs of modes, halved at every node (the left half is the smaller one).

    Leaf k is a frame U_k (r_k, m_k, n_k); each inner node is a transfer tensor (r_parent, r_left, r_right),
    the root (r_left, r_right) since its r_parent is 1. `leaf_ranks` are r_1 .. r_d. `inner_ranks` are the
    r_parent of the inner nodes below the root, in pre-order (node, left half, right half). One integer stands
    for all of a kind and is lowered where a node cannot carry as much.

    FDHT is this map with D + H input features: input-to-hidden and hidden-to-hidden as one matrix.
    """

    name = "ht"
    arguments = ("in_modes", "out_modes", "leaf_ranks", "inner_ranks")

    leaf_ranks: tuple[int, ...]
    inner_ranks: tuple[int, ...]

    def _hold(self, cores: list[nn.Parameter]) -> None:
        d = len(self.in_modes)
        self.frames, self.transfers = nn.ParameterList(cores[:d]), nn.ParameterList(cores[d:])

    def _letters(self) -> tuple[str, str, list[str]]:
        d, nodes = len(self.in_modes), tree(len(self.in_modes))
        m, n, leaf, inner = letters(d), letters(d, d), letters(d, 2 * d), letters(len(nodes) - 1, 3 * d)
        bond = [*leaf, "", *inner]  # by index: the leaves, the root, the other inner nodes
        words = [bond[d + k] + bond[node.left] + bond[node.right] for k, node in enumerate(nodes)]
        return m, n, [*(leaf[k] + m[k] + n[k] for k in range(d)), *words]

    def tensors(self) -> list[Tensor]:
        return [*self.frames, *self.transfers]

    @staticmethod
    def highest_rank(in_modes: Sequence[int], out_modes: Sequence[int]) -> int:
        """What the widest edge of the tree can carry, for one rank at all leaves and inner nodes."""
        sizes = _sizes(*check_pairs(in_modes, out_modes))
        edges = [sizes[k : k + 1] for k in range(len(sizes))]
        edges += [sizes[node.start : node.stop] for node in tree(len(sizes))[1:]]
        return max(_between(edge, sizes) for edge in edges)

    @staticmethod
    def _checked(
        in_modes: Sequence[int],
        out_modes: Sequence[int],
        leaf_ranks: int | Sequence[int],
        inner_ranks: int | Sequence[int],
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        in_modes, out_modes = check_pairs(in_modes, out_modes)
        sizes = _sizes(in_modes, out_modes)
        nodes = tree(len(sizes))
        leaf_ranks = spread_ranks("leaf_ranks", leaf_ranks, [_between([size], sizes) for size in sizes])
        below = [_between(sizes[node.start : node.stop], sizes) for node in nodes[1:]]
        exact = not isinstance(inner_ranks, Integral)
        ranks = spread_ranks("inner_ranks", inner_ranks, below) if below or exact else ()
        return in_modes, out_modes, leaf_ranks, _bounded_by_children(nodes, leaf_ranks, ranks, exact)

    @staticmethod
    def _shapes(
        in_modes: tuple[int, ...],
        out_modes: tuple[int, ...],
        leaf_ranks: tuple[int, ...],
        inner_ranks: tuple[int, ...],
    ) -> list[tuple[int, ...]]:
        """Of the frames and then of the transfer tensors."""
        d = len(in_modes)
        rank = [(r,) for r in leaf_ranks] + [()] + [(r,) for r in inner_ranks]  # the root has no parent
        frames = [(r, m, n) for r, m, n in zip(leaf_ranks, in_modes, out_modes, strict=True)]
        transfers = [(*rank[d + k], *rank[node.left], *rank[node.right]) for k, node in enumerate(tree(d))]
        return [*frames, *transfers]

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        in_modes: Sequence[int],
        out_modes: Sequence[int],
        leaf_ranks: int | Sequence[int],
        inner_ranks: int | Sequence[int],
    ) -> HierarchicalTuckerMap:
        """Truncated HOSVD from the leaves to the root (Grasedyck 2010); exact at the highest ranks.

        Each leaf keeps the leading left singular vectors of its unfolding. The tensor is projected on them,
        and each inner node, deepest first, does the same for the pair of axes of its two children.
        """
        built = cls(in_modes, out_modes, leaf_ranks, inner_ranks)
        core = paired(check_weight(weight, built.in_features, built.out_features), built.in_modes, built.out_modes)
        frames = [leading_basis(unfold(core, k), rank) for k, rank in enumerate(built.leaf_ranks)]
        core = project(core, frames)

        nodes = tree(len(built.in_modes))
        transfers: dict[int, Tensor] = {}
        axes = list(range(len(frames)))  # which node each axis of `core` belongs to
        for k in reversed(range(1, len(nodes))):  # pre-order backwards: children before their parent
            left, right = axes.index(nodes[k].left), axes.index(nodes[k].right)
            pair = core.movedim((left, right), (0, 1))
            basis = leading_basis(pair.reshape(pair.shape[0] * pair.shape[1], -1), built.inner_ranks[k - 1])
            transfers[k] = basis.T.reshape(-1, *pair.shape[:2])
            core = torch.tensordot(transfers[k], pair, dims=([1, 2], [0, 1]))
            axes = [len(frames) + k, *(node for node in axes if node not in (nodes[k].left, nodes[k].right))]
        transfers[0] = core if axes == [nodes[0].left, nodes[0].right] else core.T

        leaves = [frame.T.reshape(p.shape) for frame, p in zip(frames, built.frames, strict=True)]
        set_cores(built, same_norms([*leaves, *(transfers[k] for k in range(len(nodes)))]), weight.dtype)
        return built


@dataclass(frozen=True)
class Node:
    """An inner node over modes start .. stop-1; children by index: below d a leaf, else d + inner node."""

    start: int
    stop: int
    left: int
    right: int


def tree(d: int) -> list[Node]:
    """The inner nodes of the halved tree over d modes in pre-order, the root first."""
    nodes: list[Node] = []

    def grow(start: int, stop: int) -> int:
        if stop - start == 1:
            return start
        index = len(nodes)
        nodes.append(Node(start, stop, -1, -1))
        middle = (start + stop) // 2
        nodes[index] = Node(start, stop, grow(start, middle), grow(middle, stop))
        return d + index

    grow(0, d)
    return nodes


def _sizes(in_modes: tuple[int, ...], out_modes: tuple[int, ...]) -> list[int]:
    if len(in_modes) < 2:
        raise ValueError("hierarchical Tucker needs at least 2 modes, got 1")
    return [m * n for m, n in zip(in_modes, out_modes, strict=True)]


def _between(inside: Sequence[int], sizes: Sequence[int]) -> int:
    """The rank of an edge of the tree is at most the entries on its smaller side."""
    return min(prod(inside), prod(sizes) // prod(inside))


def _bounded_by_children(
    nodes: Sequence[Node], leaf_ranks: tuple[int, ...], ranks: Sequence[int], exact: bool
) -> tuple[int, ...]:
    """Inner ranks of at most r_left r_right: a larger one is an error if exact, and is lowered otherwise."""
    d, ranks = len(leaf_ranks), list(ranks)
    for k in reversed(range(1, len(nodes))):  # children before their parent
        left, right = (leaf_ranks[c] if c < d else ranks[c - d - 1] for c in (nodes[k].left, nodes[k].right))
        if exact:
            check_rank(f"inner_ranks[{k - 1}]", ranks[k - 1], left * right)
        ranks[k - 1] = min(ranks[k - 1], left * right)
    return tuple(ranks)
