"""The decompositions of a trained matrix, all in float64.

They are ours and not tensorly's (0.10.0), which gives the same errors but takes longer: at rank 16, one thread, for
matrices of 320 x 256, 1280 x 8192 and 4096 x 2048, a truncated SVD takes 1.4, 22 and 1.8 times as long, a tensor train
2.7, 13 and 16 times, and a Tucker decomposition 1.7, 8 and 11 times. tensorly's tensor ring needs the product of two
ranks to be at most the first mode, which the published ranks are not, and it has no hierarchical Tucker form. Figures:
benchmarks/decomposition.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor

SWEEPS = 3  # of a Tucker decomposition


def leading_basis(matrix: Tensor, rank: int) -> Tensor:
    """Orthonormal (rows, rank): the leading left singular vectors, completed where there are fewer columns.

    From the eigenvectors of the smaller Gram matrix, since the other side can be hundreds of thousands long.
    In float64 that resolves singular values down to 1e-8 of the largest, far below what any truncation keeps,
    and the basis itself is orthonormal to rounding, so that nothing is lost at full rank.
    """
    rows, columns = matrix.shape
    if rows <= columns:
        return torch.linalg.eigh(matrix @ matrix.T).eigenvectors.flip(1)[:, :rank]
    right = torch.linalg.eigh(matrix.T @ matrix).eigenvectors.flip(1)[:, :rank]
    span = matrix @ right
    if rank > columns:
        generator = torch.Generator().manual_seed(0)
        extra = torch.randn(rows, rank - columns, generator=generator, dtype=matrix.dtype).to(matrix.device)
        span = torch.cat([span, extra], dim=1)
    return torch.linalg.qr(span).Q


def tensor_train(tensor: Tensor, ranks: Sequence[int]) -> list[Tensor]:
    """TT-SVD (Oseledets 2011, Algorithm 1): a core (r_{k-1}, size_k, r_k) per axis, `ranks` r_1 .. r_{d-1}"""
    cores, left, rest = [], 1, tensor
    for size, rank in zip(tensor.shape[:-1], ranks, strict=True):
        rest = rest.reshape(left * size, -1)
        basis = leading_basis(rest, rank)
        cores.append(basis.reshape(left, size, rank))
        rest, left = basis.T @ rest, rank
    return [*cores, rest.reshape(left, tensor.shape[-1], 1)]


def tucker(tensor: Tensor, ranks: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """Core and one orthonormal frame (size_k, r_k) per axis: HOSVD, then SWEEPS of orthogonal iteration.

    De Lathauwer et al. 2000. Each sweep fits the frame of every axis to the tensor projected on the others.
    """
    axes = range(tensor.dim())
    frames = [leading_basis(unfold(tensor, k), ranks[k]) for k in axes]
    for _ in range(SWEEPS):
        for k in axes:
            others = project(tensor, [frame if axis != k else None for axis, frame in enumerate(frames)])
            frames[k] = leading_basis(unfold(others, k), ranks[k])
    return project(tensor, frames), frames


def unfold(tensor: Tensor, axis: int) -> Tensor:
    """(size of the axis, all others)."""
    return tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1)


def project(tensor: Tensor, frames: Sequence[Tensor | None]) -> Tensor:
    """Each axis contracted with the rows of its frame (size_k, r_k); None leaves the axis as it is."""
    for axis in sorted(range(tensor.dim()), key=lambda axis: _shrinks(frames[axis])):
        if frames[axis] is not None:
            tensor = torch.tensordot(tensor, frames[axis], dims=([axis], [0])).movedim(-1, axis)
    return tensor


def _shrinks(frame: Tensor | None) -> float:
    return 1.0 if frame is None else frame.shape[1] / frame.shape[0]


def paired(weight: Tensor, in_modes: Sequence[int], out_modes: Sequence[int]) -> Tensor:
    """W (O, D) as a tensor with one axis m_k n_k per pair of modes, the input mode slower."""
    d = len(in_modes)
    order = [axis for k in range(d) for axis in (d + k, k)]
    tensor = weight.reshape(*out_modes, *in_modes).permute(order)
    return tensor.reshape([m * n for m, n in zip(in_modes, out_modes, strict=True)])


def same_norms(cores: Sequence[Tensor]) -> list[Tensor]:
    """The same product, with the norm shared out: every core gets the same root mean square."""
    scales = [core.square().mean().sqrt().item() for core in cores]
    if min(scales) == 0:
        return list(cores)
    common = prod(scale ** (1 / len(scales)) for scale in scales)
    return [core * (common / scale) for core, scale in zip(cores, scales, strict=True)]
