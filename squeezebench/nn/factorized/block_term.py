"""Block term decomposition (Ye et al., CVPR 2018, arXiv 1712.05134)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from squeezebench.nn.factorized.base import TensorMap, check_weight, set_cores, spread_ranks
from squeezebench.nn.factorized.contraction import letters
from squeezebench.nn.factorized.decomposition import paired, project, same_norms, tucker
from squeezebench.nn.factorized.modes import check_pairs
from squeezebench.nn.registry import register


@register
class BlockTermMap(TensorMap):
    """W = sum_{n=1..N} G_n x_1 A_n^(1) x_2 ... x_d A_n^(d), a sum of N Tucker blocks.

    All blocks are stacked: `core` is (N, R_1 .. R_d) and factor k is (N, I_k, J_k, R_k). `ranks` are R_1 ..
    R_d, or one integer for all (lowered where I_k J_k is less).
    """

    name = "bt"
    arguments = ("in_modes", "out_modes", "ranks", "blocks")

    ranks: tuple[int, ...]
    blocks: int

    def _hold(self, cores: list[nn.Parameter]) -> None:
        self.core, self.factors = cores[0], nn.ParameterList(cores[1:])

    def _letters(self) -> tuple[str, str, list[str]]:
        d = len(self.in_modes)
        i, j, r = letters(d), letters(d, d), letters(d, 2 * d)
        return i, j, [r, *(i[k] + j[k] + r[k] for k in range(d))]

    def tensors(self) -> list[Tensor]:
        return [self.core, *self.factors]

    def terms(self) -> list[list[Tensor]]:
        """The blocks: a letter for them in the network would make each product a batched one, with copies."""
        return [list(block) for block in zip(*(tensor.unbind() for tensor in self.tensors()), strict=True)]

    @staticmethod
    def highest_rank(in_modes: Sequence[int], out_modes: Sequence[int]) -> int:
        """The largest I_k J_k."""
        return max(i * j for i, j in zip(*check_pairs(in_modes, out_modes), strict=True))

    @staticmethod
    def _checked(
        in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int], blocks: int = 1
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
        in_modes, out_modes = check_pairs(in_modes, out_modes)
        if blocks < 1:
            raise ValueError(f"blocks must be at least 1, got {blocks}")
        return (
            in_modes,
            out_modes,
            spread_ranks("ranks", ranks, [i * j for i, j in zip(in_modes, out_modes, strict=True)]),
            blocks,
        )

    @staticmethod
    def _shapes(
        in_modes: tuple[int, ...], out_modes: tuple[int, ...], ranks: tuple[int, ...], blocks: int
    ) -> list[tuple[int, ...]]:
        return [
            (blocks, *ranks),
            *((blocks, i, j, r) for i, j, r in zip(in_modes, out_modes, ranks, strict=True)),
        ]

    @classmethod
    def from_dense(
        cls,
        weight: Tensor,
        in_modes: Sequence[int],
        out_modes: Sequence[int],
        ranks: int | Sequence[int],
        blocks: int = 1,
    ) -> BlockTermMap:
        """Blocks fitted greedily: each is the Tucker decomposition of what the earlier ones leave.

        Exact with one block of full ranks. Greedy is not the best fit of N blocks together; fine-tuning
        moves on from there.
        """
        built = cls(in_modes, out_modes, ranks, blocks)
        W = check_weight(weight, built.in_features, built.out_features)
        rest = paired(W, built.in_modes, built.out_modes)
        fitted = []
        for _ in range(built.blocks):
            core, factors = tucker(rest, built.ranks)
            rest = rest - project(core, [factor.T for factor in factors])
            fitted.append(same_norms([core, *factors]))
        stacked = [torch.stack(parts) for parts in zip(*fitted, strict=True)]
        shapes = [p.shape for p in built.parameters()]
        set_cores(built, [part.reshape(shape) for part, shape in zip(stacked, shapes, strict=True)], weight.dtype)
        return built
