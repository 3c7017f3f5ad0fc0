"""Choosing an input-to-hidden map by name, modes and ranks: random, or the decomposition of a trained matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from torch import Tensor, nn

from squeezebench.nn.factorized.block_term import BlockTermMap
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.factorized.modes import balanced_modes, check_modes, gate_modes, rank_for_budget
from squeezebench.nn.factorized.tensor_ring import TensorRingMap
from squeezebench.nn.factorized.tensor_train import TensorTrainMap

MAPS = {
    "tt": TensorTrainMap,
    "tr": TensorRingMap,
    "bt": BlockTermMap,
    "ht": HierarchicalTuckerMap,
    "low_rank": LowRankMap,
}


@dataclass(frozen=True)
class MapChoice:
    """One way to write the matrix (G*H, D) of a layer with G gates.

    in_modes multiply to D, hidden_modes to H (None: `order` balanced ones); the first output mode carries the gates.
    rank: of every bond, lowered where the modes allow less; budget: the largest rank whose parameters fit into it.
    ring_rank: the bond that closes a tensor ring (None: rank); inner_rank: of a hierarchical Tucker tree's inner
    nodes (None: rank); blocks: N of a block-term map.
    """

    kind: str
    rank: int | Sequence[int] = 4
    order: int = 3
    in_modes: Sequence[int] | None = None
    hidden_modes: Sequence[int] | None = None
    budget: int | None = None
    ring_rank: int | None = None
    inner_rank: int | None = None
    blocks: int = 2

    def modes(self, inputs: int, hidden: int, gates: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(input modes, output modes). Raises ValueError with the nearest possible ones."""
        given = check_modes("in_modes", self.in_modes, inputs) if self.in_modes else None
        of_hidden = check_modes("hidden_modes", self.hidden_modes, hidden) if self.hidden_modes else None
        given = given or balanced_modes(inputs, len(of_hidden) if of_hidden else self.order)
        of_hidden = of_hidden or balanced_modes(hidden, len(given))
        return given, gate_modes(of_hidden, gates)

    def arguments(self, inputs: int, hidden: int, gates: int) -> tuple[Any, ...]:
        """What the map's constructor takes."""
        cls = MAPS[self.kind]
        shape = (inputs, gates * hidden) if self.kind == "low_rank" else self.modes(inputs, hidden, gates)
        bonds = len(shape[0]) + len(shape[1]) if self.kind == "tr" else 0
        if self.budget is None:
            return *shape, *self._ranks(self.rank, bonds)
        highest = cls.highest_rank(*shape)
        if bonds and self.ring_rank is not None:  # wider bonds beside it would be redundant
            highest = min(highest, self.ring_rank * min(shape[0][0], shape[1][-1]))
        return *shape, *self._ranks(
            rank_for_budget(lambda rank: cls.count(*shape, *self._ranks(rank, bonds)), self.budget, highest), bonds
        )

    def _ranks(self, rank: int | Sequence[int], bonds: int) -> tuple[Any, ...]:
        """The ranks as the constructor of the map takes them; `bonds` of a tensor ring."""
        if self.kind == "tr" and self.ring_rank is not None:
            return ([self.ring_rank, *[rank] * (bonds - 1)],)
        if self.kind == "bt":
            return (rank, self.blocks)
        if self.kind == "ht":
            return (rank, rank if self.inner_rank is None else self.inner_rank)
        return (rank,)

    def count(self, inputs: int, hidden: int, gates: int) -> int:
        """Parameters by the closed form of the map's paper."""
        return MAPS[self.kind].count(*self.arguments(inputs, hidden, gates))

    def random(self, inputs: int, hidden: int, gates: int) -> nn.Module:
        """Random cores whose matrix has the entry variance of the dense layer's start, 2 / (D + H)."""
        return MAPS[self.kind](*self.arguments(inputs, hidden, gates), std=sqrt(2 / (inputs + hidden)))

    def decompose(self, weight: Tensor, gates: int) -> nn.Module:
        """The decomposition of a trained matrix (G*H, D)."""
        rows, inputs = weight.shape
        arguments = self.arguments(inputs, rows // gates, gates)
        return MAPS[self.kind].from_dense(weight, *(arguments[2:] if self.kind == "low_rank" else arguments))
