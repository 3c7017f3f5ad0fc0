"""Linear maps: equality with the dense matrix, gradients, memory, start, decomposition."""

import itertools
import json
from math import prod

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from squeezebench.nn.factorized.block_term import BlockTermMap
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.expression import expression
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap, tree
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.factorized.modes import gate_modes
from squeezebench.nn.factorized.tensor_ring import TensorRingMap
from squeezebench.nn.factorized.tensor_train import TensorTrainMap
from squeezebench.nn.registry import module_from_spec

PUBLISHED = {  # UCF11 end to end, 57,600 -> 256, four gates; test_tensor_methods has the printed numbers of parameters
    "tt": (TensorTrainMap, ((8, 20, 20, 18), gate_modes((4, 4, 4, 4), 4), 4)),
    "bt": (BlockTermMap, ((8, 20, 20, 18), gate_modes((4, 4, 4, 4), 4), 4, 2)),
    "tr": (TensorRingMap, ((4, 2, 5, 8, 6, 5, 3, 2), gate_modes((4, 4, 2, 4, 2), 4), (10,) + (5,) * 12)),
    "ht": (HierarchicalTuckerMap, ((8, 10, 10, 9, 8), gate_modes((4, 4, 2, 4, 2), 4), 4, 5)),
}
SMALL = {
    "dense": (DenseMap, (24, 16)),
    "low_rank": (LowRankMap, (24, 16, 3)),
    "tt": (TensorTrainMap, ((4, 3, 2), (4, 2, 2), 3)),
    "tr": (TensorRingMap, ((4, 3, 2), (4, 4), (3, 2, 2, 3, 2))),
    "bt": (BlockTermMap, ((4, 3, 2), (4, 2, 2), (3, 2, 2), 2)),
    "ht": (HierarchicalTuckerMap, ((4, 3, 2), (4, 2, 2), 3, 4)),
}
every_small = pytest.mark.parametrize("name", SMALL)
every_tensor = pytest.mark.parametrize("name", ["tt", "tr", "bt", "ht"])


def build(name, **options):
    cls, arguments = SMALL[name]
    return cls(*arguments, **options)


@st.composite
def maps(draw):
    """Any map, of any order up to 5, with any ranks that it accepts."""
    seed = draw(st.integers(0, 2**16))
    torch.manual_seed(seed)
    name = draw(st.sampled_from(list(SMALL)))
    if name in ("dense", "low_rank"):
        shape = draw(st.integers(1, 30)), draw(st.integers(1, 30))
        return DenseMap(*shape) if name == "dense" else LowRankMap(*shape, draw(st.integers(1, min(shape))))
    d = draw(st.integers(2 if name == "ht" else 1, 5))
    modes = st.lists(st.integers(1, 4), min_size=d, max_size=d).map(tuple)
    i, j = draw(modes), draw(modes)
    rank = st.integers(1, 3)
    if name == "tt":
        return TensorTrainMap(i, j, min(draw(rank), TensorTrainMap.highest_rank(i, j)))
    if name == "tr":
        j = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
        return TensorRingMap(i, j, min(draw(rank), TensorRingMap.highest_rank(i, j)))
    if name == "bt":
        ranks = [draw(st.integers(1, min(3, m * n))) for m, n in zip(i, j, strict=True)]
        return BlockTermMap(i, j, ranks, draw(rank))
    highest = HierarchicalTuckerMap.highest_rank(i, j)
    leaf, inner = min(draw(rank), highest), min(draw(rank), highest)
    try:
        return HierarchicalTuckerMap(i, j, leaf, inner)
    except ValueError:  # more than any leaf, or any inner node, of these modes can carry
        return HierarchicalTuckerMap(i, j, 1, 1)


@given(maps(), st.integers(1, 40), st.sampled_from([torch.float64, torch.float32]))
def test_forward_is_the_dense_matrix(module, rows, dtype):
    module = module.to(dtype)
    x = torch.randn(rows, module.in_features, dtype=dtype)
    expected = x.double() @ module.dense().double().T
    error = (module(x) - expected).norm() / expected.norm().clamp_min(1e-30)
    assert error < (1e-12 if dtype == torch.float64 else 1e-5)


@given(maps())
def test_count_and_spec_describe_the_module(module):
    assert type(module).count(**module.settings()) == sum(p.numel() for p in module.parameters())
    again = module_from_spec(json.loads(json.dumps(module.spec())))
    again.load_state_dict(module.state_dict())
    assert torch.equal(again.dense(), module.dense())


@given(maps(), st.integers(1, 20))
def test_gradients_are_those_of_the_dense_matrix(module, rows):
    module = module.double()
    x = torch.randn(rows, module.in_features, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(rows, module.out_features, dtype=torch.float64)
    variables = [x, *module.parameters()]
    found = torch.autograd.grad(module(x), variables, upstream)
    expected = torch.autograd.grad(x @ module.dense().T, variables, upstream)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    assert all(gradient.abs().sum() > 0 for gradient in found)


def paper_entry(module, i, j):
    """W(j, i) by the formula of the paper, one entry at a time; i over input, j over output modes."""
    if module.name == "tt":
        matrix = torch.eye(1, dtype=torch.float64)
        for core, a, b in zip(module.cores, i, j, strict=True):
            matrix = matrix @ core[:, a, b]
        return matrix.item()
    if module.name == "tr":
        matrix = torch.eye(module.ranks[0], dtype=torch.float64)
        for core, a in zip(module.cores, (*i, *j), strict=True):
            matrix = matrix @ core[:, a]
        return matrix.trace().item()
    if module.name == "bt":
        total = 0.0
        for n in range(module.blocks):
            value = module.core[n]
            for factor, a, b in zip(module.factors, i, j, strict=True):
                value = torch.tensordot(value, factor[n, a, b], dims=([0], [0]))
            total += value.item()
        return total
    d, nodes = len(i), tree(len(i))

    def vector(index):
        if index < d:
            return module.frames[index][:, i[index], j[index]]
        node = nodes[index - d]
        return module.transfers[index - d] @ vector(node.right) @ vector(node.left)

    return vector(d).item()


@every_tensor
def test_dense_is_the_formula_of_the_paper(name):
    module = build(name, std=1.0).double().requires_grad_(False)
    W = module.dense().reshape(*module.out_modes, *module.in_modes)
    generator = torch.Generator().manual_seed(1)
    entries = list(itertools.product(*map(range, W.shape)))
    for k in torch.randperm(len(entries), generator=generator)[:60].tolist():
        j, i = entries[k][: len(module.out_modes)], entries[k][len(module.out_modes) :]
        assert W[entries[k]].item() == pytest.approx(paper_entry(module, i, j), rel=1e-9, abs=1e-12)


def test_tree_of_hierarchical_tucker_halves_at_every_node():
    spans = [(node.start, node.stop) for node in tree(5)]
    assert spans == [(0, 5), (0, 2), (2, 5), (3, 5)]
    transfers = HierarchicalTuckerMap(*PUBLISHED["ht"][1]).transfers
    assert sum(t.numel() for t in transfers) == 285


class Allocations(TorchDispatchMode):
    """How many elements each tensor has that is computed inside, views of `x` apart."""

    def __init__(self, x):
        super().__init__()
        self.x, self.elements = x.untyped_storage().data_ptr(), set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (list, tuple)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() != self.x:
                self.elements.add(tensor.numel())
        return result


@every_tensor
def test_blocks_of_rows_bound_the_memory_and_change_nothing(name):
    torch.manual_seed(3)
    module = build(name).double()
    x = torch.randn(200, module.in_features, dtype=torch.float64)
    whole = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    module.max_elements = 500  # forward in blocks, and intermediates computed again in the backward pass
    with Allocations(x) as made, torch.no_grad():
        y = module(x)
    assert max(made.elements - {y.numel()}) <= 500  # nothing but the result itself is larger
    blocks = torch.autograd.grad(module(x).square().sum(), list(module.parameters()))
    for one, other in zip(whole, blocks, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@every_small
def test_no_gradient_of_x_is_computed_unless_asked_for(name):
    def flops(requires_grad):
        module = build(name)
        x = torch.randn(64, module.in_features, requires_grad=requires_grad)
        with FlopCounterMode(display=False) as counter:
            module(x).sum().backward()
        return counter.get_total_flops()

    assert flops(False) < flops(True)


@every_tensor
def test_the_published_shapes_are_not_charged_for_a_bad_order(name):
    cls, arguments = PUBLISHED[name]
    module = cls(*arguments)
    x = torch.randn(96, module.in_features)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(x)
    dense = 2 * 96 * module.in_features * module.out_features
    assert counter.get_total_flops() < 0.2 * dense


def test_a_letter_in_three_places_is_refused():
    """The products of an expression would sum over it too early."""
    with pytest.raises(ValueError, match="ab,bc->acb: each letter must stand in two places, not b"):
        expression(("ab", "bc"), "acb", (("a", 2), ("b", 3), ("c", 4)))


@every_small
def test_any_leading_axes(name):
    module = build(name)
    x = torch.randn(3, 5, module.in_features)
    assert module(x).shape == (3, 5, module.out_features)
    torch.testing.assert_close(module(x)[1, 2], module(x[1, 2]))
    assert module(x[:0]).shape == (0, 5, module.out_features)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), module(x), rtol=0.1, atol=0.1 * module(x).std().item())


@every_small
def test_random_start_keeps_the_variance_of_the_dense_layer(name):
    """Mean of W^2 over 1,000 draws within 15 % of std^2, and of y^2 within 15 % of D std^2."""
    torch.manual_seed(0)
    std, squares, outputs = 0.05, [], []
    for _ in range(1000):
        module = build(name, std=std).requires_grad_(False)
        squares.append(module.dense().square().mean())
        outputs.append(module(torch.randn(4, module.in_features)).square().mean())
    assert torch.stack(squares).mean().item() == pytest.approx(std**2, rel=0.15)
    assert torch.stack(outputs).mean().item() == pytest.approx(24 * std**2, rel=0.15)


FULL = {
    "dense": (DenseMap, ()),
    "low_rank": (LowRankMap, (16,)),
    "tt": (TensorTrainMap, ((4, 3, 2), (4, 2, 2), (16, 4))),
    "tr": (TensorRingMap, ((4, 3, 2), (4, 4), (1, 4, 12, 16, 4))),
    "tr_closed": (TensorRingMap, ((4, 3, 2), (4, 4), (4, 16, 8, 4, 16))),
    "bt": (BlockTermMap, ((4, 3, 2), (4, 2, 2), (16, 6, 4))),
    "ht": (HierarchicalTuckerMap, ((4, 3, 2), (4, 2, 2), (16, 6, 4), (16,))),
}


@pytest.mark.parametrize("name", FULL)
def test_decomposition_is_exact_at_full_rank(name):
    torch.manual_seed(5)
    cls, arguments = FULL[name]
    weight = torch.randn(16, 24, dtype=torch.float64)
    torch.testing.assert_close(cls.from_dense(weight, *arguments).dense(), weight, rtol=1e-8, atol=1e-8)
    assert cls.from_dense(weight.float(), *arguments).dense().dtype == torch.float32


@pytest.mark.parametrize("name", ["low_rank", "tt", "bt", "ht"])
def test_decomposition_finds_a_matrix_of_its_own_form(name):
    torch.manual_seed(6)
    arguments = {
        "low_rank": (24, 16, 3), "tt": ((4, 3, 2), (4, 2, 2), 3),
        "bt": ((4, 3, 2), (4, 2, 2), (3, 3, 2)), "ht": ((4, 3, 2), (4, 2, 2), 3, 3),
    }[name]  # fmt: skip
    cls = SMALL[name][0]
    weight = cls(*arguments, std=1.0).double().dense().detach()
    found = cls.from_dense(weight, *(arguments[2:] if name == "low_rank" else arguments))
    assert (found.dense() - weight).norm() < 1e-6 * weight.norm()


def test_low_rank_start_is_the_truncated_svd():
    torch.manual_seed(7)
    weight = torch.randn(16, 24, dtype=torch.float64)
    tail = torch.linalg.svdvals(weight)[5:].norm()
    assert (LowRankMap.from_dense(weight, 5).dense() - weight).norm().item() == pytest.approx(tail.item(), rel=1e-6)


@pytest.mark.parametrize("name", ["tt", "bt"])
def test_decomposition_is_as_good_as_tensorly(name):
    decomposition = pytest.importorskip("tensorly.decomposition")
    weight = torch.randn(16, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    paired = weight.reshape(4, 2, 2, 4, 3, 2).permute(3, 0, 4, 1, 5, 2).reshape(16, 6, 4).numpy()
    if name == "tt":
        module = TensorTrainMap.from_dense(weight, (4, 3, 2), (4, 2, 2), (5, 3))
        theirs = decomposition.tensor_train(paired, [1, 5, 3, 1]).to_tensor()
    else:
        module = BlockTermMap.from_dense(weight, (4, 3, 2), (4, 2, 2), (5, 3, 3))
        theirs = decomposition.tucker(paired, [5, 3, 3]).to_tensor()
    error = (module.dense() - weight).norm().item()
    assert error < 1.02 * ((theirs - paired) ** 2).sum() ** 0.5


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("tt", ((4, 3, 2), (4, 2, 2), (8, 3))),
        ("tr", ((4, 3, 2), (4, 4), (2, 4, 4, 4, 2))),
        ("bt", ((4, 3, 2), (4, 2, 2), 4, 3)),
        ("ht", ((4, 3, 2), (4, 2, 2), (6, 5, 4), 6)),
    ],
)
def test_truncated_decomposition_beats_nothing_and_trains_on(name, arguments):
    torch.manual_seed(8)
    weight = torch.randn(16, 24)
    module = SMALL[name][0].from_dense(weight, *arguments)
    assert (module.dense() - weight).norm() < 0.95 * weight.norm()
    module(torch.randn(8, 24)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TensorTrainMap((4, 4), (4, 4), 17), r"ranks must be an integer between 1 and 16 .*got 17"),
        (lambda: TensorTrainMap((4, 4), (4, 4), 0), r"ranks must be an integer between 1 and 16 .*got 0"),
        (lambda: TensorTrainMap((2, 2, 2), (1, 2, 2), (3, 2)), r"ranks\[0\] must be .* between 1 and 2"),
        (lambda: TensorTrainMap((2, 2, 2), (2, 2, 2), (2, 2, 2)), r"one integer or 2 of them, got 3"),
        (lambda: TensorTrainMap((4, 4), (4, 4, 4), 2), r"as many; fill .* modes of 1"),
        (lambda: TensorRingMap((4, 2), (4,), (9, 2, 2)), r"ranks\[0\] must be .* between 1 and"),
        (lambda: BlockTermMap((2, 2), (2, 2), (5, 1)), r"ranks\[0\] must be .* between 1 and 4"),
        (lambda: BlockTermMap((2, 2), (2, 2), 2, 0), r"blocks must be at least 1, got 0"),
        (lambda: HierarchicalTuckerMap((4,), (4,), 1, 1), r"at least 2 modes, got 1"),
        (lambda: HierarchicalTuckerMap((4, 4, 4), (4, 4, 4), 2, (5,)), r"inner_ranks\[0\] must be .* 1 and 4"),
        (lambda: LowRankMap(8, 6, 7), r"rank must be an integer between 1 and 6 .*got 7"),
        (lambda: LowRankMap(8, 6, 2, std=0.0), r"std must be positive"),
        (lambda: build("tt")(torch.zeros(2, 23)), r"x must end in 24 features \(D\), got shape \(2, 23\)"),
        (lambda: TensorTrainMap.from_dense(torch.zeros(4, 4), (4, 4), (4, 4), 2), r"weight must be \(16, 16\)"),
        (
            lambda: TensorRingMap.from_dense(torch.zeros(8, 8), (4, 2), (4, 2), (4, 4, 4, 4)),
            r"ranks\[0\] \* ranks\[2\] must be at most min\(D, O\) = 8 .*got 4 \* 4 = 16",
        ),
        (lambda: module_from_spec({"map": "cp"}), r"no map 'cp' is registered; there are bt, .*tr, tt$"),
    ],
)
def test_bad_input_is_one_clear_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["tt", "bt", "ht"])
def test_one_integer_rank_is_lowered_where_the_modes_allow_less(name):
    arguments = {"tt": (8,), "bt": (12,), "ht": (8, 8)}[name]
    cls = SMALL[name][0]
    module = cls((4, 3, 2), (4, 2, 2), *arguments)
    assert prod((4, 3, 2)) == module.in_features
    assert min(module.settings()["leaf_ranks" if name == "ht" else "ranks"]) == 4
