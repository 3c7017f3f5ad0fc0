"""To rely on: unmasked, the recurrences are PyTorch's; masked, the paper's; and so are their gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from squeezebench.nn.kernels import gemm
from squeezebench.nn.kernels.gemm import linear, plain
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.recurrence import recurrence

T, B, D, H = 4, 3, 2, 5


def lstm_recurrence(gates, U, masks=None, h0=None, c0=None):
    return recurrence(cell_of("lstm"), gates, U, None, masks, (h0, c0))


def gru_recurrence(gates, U, b_hn, masks=None, h0=None):
    hidden, (h_T,) = recurrence(cell_of("gru"), gates, U, b_hn, masks, (h0,))
    return hidden, h_T


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def leaf(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def lstm_outputs(gates, U, h0=None, c0=None, *masks):
    hidden, (h_T, c_T) = lstm_recurrence(gates, U, masks or None, h0, c0)
    return hidden, h_T, c_T


def gru_outputs(gates, U, b_hn, h0=None, *masks):
    return gru_recurrence(gates, U, b_hn, masks or None, h0)


def lstm_inputs(mask_shape=None, dtype=torch.float64):
    masks = [leaf(*mask_shape, dtype=dtype) for _ in range(4)] if mask_shape else []
    shapes = (T, B, 4 * H), (4 * H, H), (B, H), (B, H)  # gates, U, h0, c0
    return *(leaf(*shape, dtype=dtype) for shape in shapes), *masks


def gru_inputs(mask_shape=None, dtype=torch.float64):
    masks = [leaf(*mask_shape, dtype=dtype) for _ in range(3)] if mask_shape else []
    shapes = (T, B, 3 * H), (3 * H, H), (H,), (B, H)  # gates, U, b_hn, h0
    return *(leaf(*shape, dtype=dtype) for shape in shapes), *masks


CASES = [
    pytest.param(function, inputs, shape, id=f"{name}-{shape}")
    for name, function, inputs in [("lstm", lstm_outputs, lstm_inputs), ("gru", gru_outputs, gru_inputs)]
    for shape in (None, (H,), (B, H))
]


def gradients(function, inputs):
    outputs = function(*inputs)
    torch.manual_seed(1)
    return torch.autograd.grad(sum((y * torch.randn_like(y)).sum() for y in outputs), inputs)


# ---------------------------------------------------------------------------------------------- equal values


@pytest.mark.parametrize("ones", [None, (H,), (B, H)])
@pytest.mark.parametrize("grad", [True, False])
def test_without_masks_it_is_nn_lstm(ones, grad):
    lstm = torch.nn.LSTM(D, H).double()
    x, h0, c0 = torch.randn(T, B, D).double(), torch.randn(B, H).double(), torch.randn(B, H).double()
    masks = None if ones is None else (torch.ones(ones, dtype=torch.float64),) * 4
    with torch.set_grad_enabled(grad):
        gates = linear(x, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0)
        hidden, (h_T, c_T) = lstm_recurrence(gates, lstm.weight_hh_l0, masks, h0, c0)
        expected, (eh, ec) = lstm(x, (h0[None], c0[None]))
    for ours, theirs in ((hidden, expected), (h_T, eh[0]), (c_T, ec[0])):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ones", [None, (H,), (B, H)])
@pytest.mark.parametrize("grad", [True, False])
def test_without_masks_it_is_nn_gru(ones, grad):
    gru = torch.nn.GRU(D, H).double()
    x, h0 = torch.randn(T, B, D).double(), torch.randn(B, H).double()
    masks = None if ones is None else (torch.ones(ones, dtype=torch.float64),) * 3
    with torch.set_grad_enabled(grad):
        bias = gru.bias_ih_l0 + F.pad(gru.bias_hh_l0[: 2 * H], (0, H))
        hidden, h_T = gru_recurrence(
            linear(x, gru.weight_ih_l0, bias), gru.weight_hh_l0, gru.bias_hh_l0[2 * H :], masks, h0
        )
        expected, eh = gru(x, h0[None])
    torch.testing.assert_close(hidden, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(h_T, eh[0], rtol=1e-12, atol=1e-12)


def test_masked_lstm_is_equation_8_of_the_paper():
    gates, U, h, c, z_i, z_f, z_g, z_o = (t.detach() for t in lstm_inputs((H,)))
    ours = lstm_recurrence(gates, U, (z_i, z_f, z_g, z_o), h, c)[0]
    for t in range(T):
        i, f, g, o = (gates[t] + h @ U.T).split(H, 1)
        c = z_f * torch.sigmoid(f) * c + z_i * torch.sigmoid(i) * (z_g * torch.tanh(g))
        h = z_o * torch.sigmoid(o) * torch.tanh(c)
        torch.testing.assert_close(ours[t], h)


@pytest.mark.parametrize(("function", "inputs", "shape"), CASES)
def test_all_paths_agree(function, inputs, shape):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-6)):
        tensors = inputs(shape, dtype)
        trained = function(*tensors)
        with torch.no_grad():
            inferred = function(*tensors)
        with plain():
            expected = function(*tensors)
        for a, b, c in zip(trained, inferred, expected, strict=True):
            torch.testing.assert_close(a, c, rtol=tolerance, atol=tolerance)
            torch.testing.assert_close(b, c, rtol=tolerance, atol=tolerance)


def test_some_masks_may_be_none():
    gates, U, h0, c0 = lstm_inputs()
    z_o = leaf(H)
    some, _ = lstm_recurrence(gates, U, (None, None, None, z_o), h0, c0)
    ones = torch.ones(H, dtype=torch.float64)
    all_, _ = lstm_recurrence(gates, U, (ones, ones, ones, z_o), h0, c0)
    torch.testing.assert_close(some, all_)
    some.sum().backward()
    assert z_o.grad.shape == (H,)


def test_a_zero_mask_removes_the_unit():
    gates, U, *_ = lstm_inputs()
    keep = torch.tensor([1.0, 0, 1, 0, 1], dtype=torch.float64)
    kept = keep.nonzero()[:, 0]
    rows = torch.cat([kept + k * H for k in range(4)])
    masked, _ = lstm_recurrence(gates, U, (None, None, None, keep))
    small, _ = lstm_recurrence(gates[..., rows], U[rows][:, kept])
    torch.testing.assert_close(masked[..., kept], small)


# ------------------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(("function", "inputs", "shape"), CASES)
def test_first_and_second_derivatives(function, inputs, shape):
    assert torch.autograd.gradcheck(function, inputs(shape))
    assert torch.autograd.gradgradcheck(function, inputs(shape), fast_mode=True)


@pytest.mark.parametrize(("function", "inputs", "shape"), CASES)
def test_float32_gradients_are_those_of_plain_autograd(function, inputs, shape):
    tensors = inputs(shape, torch.float32)
    ours = gradients(function, tensors)
    with plain():
        expected = gradients(function, tensors)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(
    steps=st.integers(1, 4),
    batch=st.integers(1, 4),
    width=st.integers(1, 6),
    gates_too=st.booleans(),
    lstm=st.booleans(),
)
def test_any_shape_and_any_subset_of_gradients(steps, batch, width, gates_too, lstm):
    count = 4 if lstm else 3
    gates = torch.randn(steps, batch, count * width, dtype=torch.float64, requires_grad=gates_too)
    U = leaf(count * width, width)

    def last():
        return lstm_recurrence(gates, U)[1][1] if lstm else gru_recurrence(gates, U, None)[1]

    wanted = [U, gates] if gates_too else [U]
    ours = torch.autograd.grad(last().sum(), wanted)
    with plain():
        expected = torch.autograd.grad(last().sum(), wanted, allow_unused=True, materialize_grads=True)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("function", "inputs", "shape"), CASES)
def test_same_inputs_same_bits(function, inputs, shape):
    tensors = inputs(shape, torch.float32)
    for a, b in zip(gradients(function, tensors), gradients(function, tensors), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("function", "inputs", "shape"), CASES)
def test_bfloat16_autocast(function, inputs, shape):
    tensors = inputs(shape, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = function(*tensors)
        low = gradients(function, tensors)
    assert all(y.dtype == torch.float32 for y in outputs)  # the state keeps its precision
    for a, b in zip(low, gradients(function, tensors), strict=True):
        assert a.dtype == torch.float32
        assert F.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.99


def test_inputs_are_left_alone_and_the_graph_can_be_kept():
    tensors = lstm_inputs((B, H))
    before = copy.deepcopy(tensors)
    loss = lstm_outputs(*tensors)[0].sum()
    first = torch.autograd.grad(loss, tensors, retain_graph=True)
    for a, b in zip(first, torch.autograd.grad(loss, tensors), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(tensors, before, strict=True):
        assert torch.equal(a, b)


def test_function_transforms_fall_back_to_plain_autograd():
    gates, U, *_ = (t.detach() for t in lstm_inputs())
    ours = torch.func.grad(lambda u: lstm_recurrence(gates, u)[0].sum())(U)
    U.requires_grad_()
    (expected,) = torch.autograd.grad(lstm_recurrence(gates, U)[0].sum(), U)
    torch.testing.assert_close(ours, expected)


def test_what_does_not_fit_is_said():
    gates, U, *_ = lstm_inputs()
    with pytest.raises(ValueError, match="expected gates"):
        lstm_recurrence(gates[..., :-1], U)
    with pytest.raises(ValueError, match="4 masks, got 1"):
        lstm_recurrence(gates, U, (torch.ones(H),))


# ---------------------------------------------------------------------------------------------------- linear


LARGE = [(6, 1100, 1000), (300, 1100, 1000)]  # few rows and many: both take oneDNN where there is one


@pytest.mark.parametrize(("rows", "d", "k"), [(7, 3, 5), (7, 5, 3), *LARGE])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_f_linear(rows, d, k, bias):
    shapes = [(2, rows, d), (k, d), (k,)] if bias else [(2, rows, d), (k, d)]
    inputs = [leaf(*shape, dtype=torch.float32) for shape in shapes]
    ours, expected = linear(*inputs), F.linear(*inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-3)
    assert ours.is_contiguous()
    dy = torch.randn_like(ours)
    ours, expected = torch.autograd.grad(ours, inputs, dy), torch.autograd.grad(expected, inputs, dy)
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


def test_linear_derivatives():
    inputs = (leaf(2, 3, 4), leaf(5, 4), leaf(5))
    assert torch.autograd.gradcheck(linear, inputs)
    assert torch.autograd.gradgradcheck(linear, inputs)


def test_linear_under_autocast():
    x, w = leaf(6, 4, dtype=torch.float32), leaf(5, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, w).dtype == torch.bfloat16


def test_large_recurrence_takes_the_fast_products_and_agrees():
    gates = leaf(6, 2, 4 * 520, dtype=torch.float32)
    U = (torch.randn(4 * 520, 520) / 23).requires_grad_()
    ours = gradients(lstm_outputs, (gates, U))
    with plain():
        expected = gradients(lstm_outputs, (gates, U))
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_memory_kept_for_gradients_is_never_taken_from_somebody(monkeypatch):
    monkeypatch.setattr(gemm, "_KEEP_FROM", 0)
    w = torch.nn.Parameter(torch.randn(20, 30))

    def gradient():
        """What one more step adds to ``w.grad``."""
        x = torch.randn(4, 30)
        linear(x, w).sum().backward()
        return x.sum(0).expand(20, 30)

    first = gradient()
    row, w.grad = w.grad[0], None  # a view of the first gradient lives on
    second = gradient()
    torch.testing.assert_close(row, first[0])
    torch.testing.assert_close(w.grad, second)
    third = gradient()  # accumulates
    torch.testing.assert_close(w.grad, second + third)

    w.grad = row = None
    fourth = gradient()
    torch.testing.assert_close(w.grad, fourth)
    address, w.grad = w.grad.data_ptr(), None
    gradient()
    assert w.grad.data_ptr() == address  # nobody else had it: used again
    gemm.drop_gradients([w])
    assert w.grad is None and w not in gemm._STORAGES


@pytest.mark.parametrize("use_plain", [False, True])
@pytest.mark.parametrize("width", [8, 520])  # below and above the size for oneDNN's operator
def test_flops_are_counted(use_plain, width):
    steps, batch, features = 4, 2, 2000
    x, h0 = torch.randn(steps, batch, features), torch.zeros(batch, width)
    w, U = torch.randn(4 * width, features), torch.randn(4 * width, width)

    def run():
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            lstm_recurrence(linear(x, w), U, None, h0, h0)
        return counter.get_total_flops()

    if use_plain:
        with plain():
            flops = run()
    else:
        flops = run()
    assert flops == 2 * steps * batch * 4 * width * (features + width)
