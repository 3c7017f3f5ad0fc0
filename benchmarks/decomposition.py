"""Our decompositions of a trained matrix against tensorly's: seconds, and the error of the result.

    python -m benchmarks.decomposition [--orders 3 4] [--ranks 4 16] [--repeats 3] [--threads 1] [--json FILE]

Both run on the same tensors in float64, tensorly with its PyTorch backend. Errors are ||W - W'|| / ||W||. The matrix
has singular values that fall as 1/k, so that a truncation has something to keep. `--svd`: of tensorly; its
default computes the whole decomposition of each unfolding, where ours takes eigenvectors of the smaller Gram matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import tensorly
import torch
from tensorly.decomposition import tensor_ring, tucker
from tensorly.decomposition import tensor_train as tensor_train_of_tensorly
from tensorly.tenalg import svd_interface
from torch import Tensor

from benchmarks.timing import compare, machine, parser_of, write_json
from squeezebench.nn.factorized import decomposition
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap
from squeezebench.nn.factorized.modes import balanced_modes, gate_modes
from squeezebench.nn.factorized.tensor_ring import TensorRingMap

SHAPES = ((320, 256), (1280, 8192), (4096, 2048))  # (O, D), O for the four gates of an LSTM
Decompose = Callable[[], object]


def matrix(rows: int, columns: int) -> Tensor:
    """(rows, columns) with singular values 1, 1/2, 1/3, ..."""
    generator = torch.Generator().manual_seed(rows)
    count = min(rows, columns)
    left, right = (
        torch.linalg.qr(torch.randn(size, count, generator=generator, dtype=torch.float64)).Q
        for size in (rows, columns)
    )
    return (left / torch.arange(1, count + 1)) @ right.T


def _error(tensor: Tensor, again: Tensor) -> float:
    return ((tensor - again).norm() / tensor.norm()).item()


def low_rank(weight: Tensor, rank: int, svd: str) -> tuple[Decompose, Decompose, Callable, Callable]:
    def ours():
        basis = decomposition.leading_basis(weight, rank)
        return basis, basis.T @ weight

    def theirs():
        left, values, right = svd_interface(weight, svd, n_eigenvecs=rank)
        return left * values, right

    return ours, theirs, lambda factors: factors[0] @ factors[1], lambda factors: factors[0] @ factors[1]


def trains(tensor: Tensor, ranks: list[int], svd: str) -> tuple[Decompose, Decompose, Callable, Callable]:
    def ours():
        return decomposition.tensor_train(tensor, ranks)

    def theirs():
        return list(tensor_train_of_tensorly(tensor, [1, *ranks, 1], svd=svd))

    return ours, theirs, tensorly.tt_to_tensor, tensorly.tt_to_tensor


def tuckers(tensor: Tensor, ranks: list[int], svd: str) -> tuple[Decompose, Decompose, Callable, Callable]:
    def ours():
        return decomposition.tucker(tensor, ranks)

    def theirs():
        return tucker(tensor, ranks, n_iter_max=3, tol=0, svd=svd)

    return ours, theirs, tensorly.tucker_to_tensor, tensorly.tucker_to_tensor


def rings(weight: Tensor, inputs, outputs, rank: int, svd: str) -> tuple[Decompose, Decompose, Callable, Callable]:
    tensor = weight.reshape(*outputs, *inputs)

    def ours():
        return TensorRingMap.from_dense(weight, inputs, outputs, [rank] * (len(inputs) + len(outputs)))

    def theirs():
        return tensor_ring(tensor, [rank] * (tensor.dim() + 1), svd=svd)

    return ours, theirs, lambda factors: factors.dense().reshape(tensor.shape), tensorly.tr_to_tensor


def cases(weight: Tensor, order: int, rank: int, svd: str):
    """(name, the tensor, ours, tensorly's or None, and how each is multiplied out)."""
    rows, columns = weight.shape
    inputs, outputs = balanced_modes(columns, order), gate_modes(balanced_modes(rows // 4, order), 4)
    tensor = decomposition.paired(weight, inputs, outputs)
    sizes = tensor.shape
    bonds = [min(rank, prod(sizes[:k]), prod(sizes[k:])) for k in range(1, order)]
    yield "TT", tensor, *trains(tensor, bonds, svd)
    yield "Tucker (BT)", tensor, *tuckers(tensor, [min(rank, size) for size in sizes], svd)
    yield "TR", weight.reshape(*outputs, *inputs), *rings(weight, inputs, outputs, rank, svd)

    def tree():
        return HierarchicalTuckerMap.from_dense(weight, inputs, outputs, rank, rank)

    yield "HT", weight, tree, None, lambda factors: factors.dense(), None


def measured(name: str, tensor: Tensor, ours, theirs, of_ours, of_theirs, repeats: int) -> dict[str, object]:
    """Seconds and errors; the reason in place of them if a side cannot decompose this tensor."""
    row: dict[str, object] = {"decomposition": name}
    steps = {}
    for side, step, multiply in (("ours", ours, of_ours), ("tensorly", theirs, of_theirs)):
        try:
            if step is not None:
                row[f"{side}_error"] = _error(tensor, multiply(step()))
                steps[side] = step
        except ValueError as error:
            row[f"{side}_error"] = str(error).split(". ")[0][:60]
    for side, timing in compare(steps, repeats=repeats, warmup=0).items():
        row[f"{side}_seconds"] = timing.median
    return row


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--orders", type=int, nargs="+", default=(3, 4))
    parser.add_argument("--ranks", type=int, nargs="+", default=(4, 16))
    parser.add_argument("--svd", default="truncated_svd", choices=("truncated_svd", "symeig_svd", "randomized_svd"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    with tensorly.backend_context("pytorch"), torch.no_grad():
        for shape in SHAPES:
            weight = matrix(*shape)
            work = [(2, rank, ("low rank", weight, *low_rank(weight, rank, options.svd))) for rank in options.ranks]
            work += [
                (o, r, case) for o in options.orders for r in options.ranks for case in cases(weight, o, r, options.svd)
            ]
            for order, rank, case in work:
                row = {"shape": list(shape), "order": order, "rank": rank} | measured(*case, options.repeats)
                rows.append(row)
                print(_line(row), flush=True)
    write_json(options.json, {"machine": machine(), "rows": rows})


def _line(row: dict) -> str:
    rows, columns = row["shape"]
    text = f"{row['decomposition']:12} {rows:5} x {columns:<5} order {row['order']} rank {row['rank']:<3}"
    for side in ("ours", "tensorly"):
        seconds, error = row.get(f"{side}_seconds"), row.get(f"{side}_error", "has none")
        text += f"  {side} " + (f"{seconds:8.4f} s, error {error:.4f}" if seconds is not None else str(error))
    return text


if __name__ == "__main__":
    main()
