"""Tensor Ring (Pan et al., AAAI 2019, arXiv 1811.07503)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from squeezebench.nn.factorized.base import TensorMap, check_weight, set_cores, spread_ranks
from squeezebench.nn.factorized.contraction import letters
from squeezebench.nn.factorized.decomposition import leading_basis, same_norms, tensor_train
from squeezebench.nn.factorized.modes import check_modes, check_rank
from squeezebench.nn.registry import register


@register
class TensorRingMap(TensorMap):
    """W(i_1..i_n, j_1..j_m) = Trace(U_1[i_1] ... U_n[i_n] V_1[j_1] ... V_m[j_m]), one core per mode.

    Core k is (R_{k-1}, mode_k, R_k), the n input cores first; R_{n+m} = R_0 closes the ring. `ranks` are R_0
    .. R_{n+m-1}, so ranks[0] is the ring closure and ranks[n] joins inputs to outputs; or one integer for
    all.
    """

    name = "tr"

    ranks: tuple[int, ...]

    def _letters(self) -> tuple[str, str, list[str]]:
        n, length = len(self.in_modes), len(self.ranks)
        mode, r = letters(length), letters(length, length)
        return mode[:n], mode[n:], [r[k] + mode[k] + r[(k + 1) % length] for k in range(length)]

    def tensors(self) -> list[Tensor]:
        return list(self.cores)

    @staticmethod
    def highest_rank(in_modes: Sequence[int], out_modes: Sequence[int]) -> int:
        """min(D, O): with more, even the rank of W cannot use them."""
        return min(prod(check_modes("in_modes", in_modes)), prod(check_modes("out_modes", out_modes)))

    @staticmethod
    def _checked(
        in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int]
    ) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        in_modes, out_modes = check_modes("in_modes", in_modes), check_modes("out_modes", out_modes)
        modes = (*in_modes, *out_modes)
        ranks = spread_ranks("ranks", ranks, [min(prod(in_modes), prod(out_modes))] * len(modes))
        for k in range(len(modes)):  # a bond wider than what its core has on its other sides is redundant
            left = ranks[k - 1] * modes[k - 1]
            right = modes[k] * ranks[(k + 1) % len(ranks)]
            check_rank(f"ranks[{k}]", ranks[k], min(left, right))
        return in_modes, out_modes, ranks

    @staticmethod
    def _shapes(in_modes: tuple[int, ...], out_modes: tuple[int, ...], ranks: tuple[int, ...]) -> list[tuple[int, ...]]:
        modes = (*in_modes, *out_modes)
        return [(ranks[k], modes[k], ranks[(k + 1) % len(ranks)]) for k in range(len(modes))]

    @classmethod
    def from_dense(
        cls, weight: Tensor, in_modes: Sequence[int], out_modes: Sequence[int], ranks: int | Sequence[int]
    ) -> TensorRingMap:
        """The ring cut at R_0 and at R_n: a truncated SVD of rank R_0 R_n, then TT-SVD of both halves.

        The usual TR-SVD (tensorly's) starts at the first mode and needs R_0 R_1 <= I_1, which the published
        ranks break (50 > 4); this cut needs R_0 R_n <= min(D, O) and works for them.
        """
        built = cls(in_modes, out_modes, ranks)
        W = check_weight(weight, built.in_features, built.out_features)
        n, R = len(built.in_modes), (*built.ranks, built.ranks[0])
        closing, joining = R[0], R[n]
        if closing * joining > min(W.shape):
            raise ValueError(
                f"ranks[0] * ranks[{n}] must be at most min(D, O) = {min(W.shape)} for a dense pretraining, "
                f"got {closing} * {joining} = {closing * joining}"
            )
        U = leading_basis(W, closing * joining)  # (O, R_0 R_n)
        V = U.T @ W  # (R_0 R_n, D)
        root = V.norm(dim=1).sqrt().clamp_min(1e-12)
        inputs = (V / root[:, None]).reshape(closing, joining, *built.in_modes).movedim(1, -1)  # (R_0, I.., R_n)
        outputs = (U * root).reshape(*built.out_modes, closing, joining).movedim(-1, 0)  # (R_n, J.., R_0)
        cores = same_norms([*_chain(inputs, R[1:n]), *_chain(outputs, R[n + 1 : -1])])
        set_cores(built, cores, weight.dtype)
        return built


def _chain(tensor: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """TT-SVD of a tensor whose first and last axis are open bonds: they join the first and the last mode."""
    left, right, modes = tensor.shape[0], tensor.shape[-1], tensor.shape[1:-1]
    sizes = list(modes)
    sizes[0] *= left
    sizes[-1] *= right
    cores = tensor_train(tensor.reshape(sizes), ranks)
    bonds = (left, *ranks, right)
    return [core.reshape(bonds[k], mode, bonds[k + 1]) for k, (core, mode) in enumerate(zip(cores, modes, strict=True))]
