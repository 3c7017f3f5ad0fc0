"""Tensor Train (Yang, Krompass, Tresp, ICML 2017, arXiv 1707.01786; the form of Novikov et al. 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from squeezebench.nn.factorized.base import TensorMap, check_weight, set_cores, spread_ranks
from squeezebench.nn.factorized.contraction import letters
from squeezebench.nn.factorized.decomposition import paired, same_norms, tensor_train
from squeezebench.nn.factorized.modes import check_pairs, check_rank
from squeezebench.nn.registry import register


@register
class TensorTrainMap(TensorMap):
    """W(j, i) = G_1[j_1, i_1] G_2[j_2, i_2] ... G_d[j_d, i_d] with j over input and i over output modes.

    Core k is (r_{k-1}, m_k, n_k, r_k) with r_0 = r_d = 1. `ranks` are the d - 1 bonds between cores, or one
    integer for all of them (lowered at the ends, where a bond cannot carry more than the modes on its shorter
    side).
    """

    name = "tt"

    ranks: tuple[int, ...]

    def _letters(self) -> tuple[str, str, list[str]]:
        d = len(self.in_modes)
        m, n, r = letters(d), letters(d, d), letters(d - 1, 2 * d)
        return m, n, [r[k - 1 : k] + m[k] + n[k] + r[k : k + 1] for k in range(d)]

    def tensors(self) -> list[Tensor]:
        if len(self.cores) == 1:
            return [self.cores[0][0, ..., 0]]
        first, *middle, last = self.cores
        return [first[0], *middle, last[..., 0]]

    @staticmethod
    def highest_rank(in_modes: Sequence[int], out_modes: Sequence[int]) -> int:
        """What the widest bond can carry."""
        return max(_limits(*check_pairs(in_modes, out_modes)), default=1)

    @staticmethod
    def _checked(
        in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        in_modes, out_modes = check_pairs(in_modes, out_modes)
        ranks = spread_ranks("ranks", ranks, _limits(in_modes, out_modes)) if len(in_modes) > 1 else ()
        padded = (1, *ranks, 1)
        for k in range(len(ranks)):  # a bond wider than one of its cores is redundant, and no SVD yields it
            left, right = (
                padded[k] * in_modes[k] * out_modes[k],
                in_modes[k + 1] * out_modes[k + 1] * padded[k + 2],
            )
            check_rank(f"ranks[{k}]", ranks[k], min(left, right))
        return in_modes, out_modes, ranks

    @staticmethod
    def _shapes(in_modes: tuple[int, ...], out_modes: tuple[int, ...], ranks: tuple[int, ...]) -> list[tuple[int, ...]]:
        padded = (1, *ranks, 1)
        return [(padded[k], m, n, padded[k + 1]) for k, (m, n) in enumerate(zip(in_modes, out_modes, strict=True))]

    @classmethod
    def from_dense(
        cls, weight: Tensor, in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int]
    ) -> TensorTrainMap:
        """TT-SVD of the weight (O, D); exact at the highest ranks, else within sqrt(d - 1) of the best."""
        built = cls(in_modes, out_modes, ranks)
        tensor = paired(check_weight(weight, built.in_features, built.out_features), built.in_modes, built.out_modes)
        cores = same_norms(tensor_train(tensor, built.ranks))
        set_cores(built, [core.reshape(p.shape) for core, p in zip(cores, built.cores, strict=True)], weight.dtype)
        return built


def _limits(in_modes: tuple[int, ...], out_modes: tuple[int, ...]) -> list[int]:
    sizes = [m * n for m, n in zip(in_modes, out_modes, strict=True)]
    return [min(prod(sizes[:k]), prod(sizes[k:])) for k in range(1, len(sizes))]
