"""To rely on: the compiled kernel of small layers computes what PyTorch's operators compute, and says where it ran."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from squeezebench.base.errors import InputError
from squeezebench.nn.kernels import native
from squeezebench.nn.kernels.native import lstm as kernel
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.recurrence import recurrence

SIZES = [(6, 5, 8), (1, 1, 1), (4, 1, 3), (2, 7, 33)]  # T, B, H


def lstm_recurrence(gates, U, masks=None, h0=None, c0=None):
    return recurrence(cell_of("lstm"), gates, U, None, masks, (h0, c0))


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    monkeypatch.delenv("SQUEEZEBENCH_NATIVE", raising=False)
    monkeypatch.setattr(native, "_on", None)
    monkeypatch.setattr(native, "_ran", False)
    torch.manual_seed(0)


def leaf(*shape):
    return torch.randn(*shape).requires_grad_()


def example(T, B, H, masks=None, state=True):
    """gates, U, h0, c0 and four masks; None where left out. All but U and c0 are no contiguous blocks."""
    shape = {None: None, "H": (H,), "BH": (B, H)}[masks]
    z = [leaf(*shape) if shape else None for _ in range(4)]
    gates, h0 = torch.randn(B, T, 4 * H).transpose(0, 1).requires_grad_(), torch.randn(H, B).t().requires_grad_()
    return [gates, leaf(4 * H, H), *((h0, leaf(B, H)) if state else (None, None)), *z]


def results(inputs, dtype=torch.float32):
    """hidden, h_T, c_T, and the gradients of all inputs; upstream, a gradient that is no contiguous block."""
    gates, U, h0, c0, *masks = (None if x is None else x.to(dtype) for x in inputs)
    hidden, (h_T, c_T) = lstm_recurrence(gates, U, None if masks[0] is None else masks, h0, c0)
    torch.manual_seed(1)
    loss = sum((y.t() * torch.randn(y.t().shape)).sum() for y in (hidden.flatten(1), h_T, c_T))
    return [hidden, h_T, c_T, *torch.autograd.grad(loss, [x for x in inputs if x is not None])]


def both(inputs, compute=results):
    """What the kernel gives, and what PyTorch's operators give."""
    with native.switched(False):
        expected = compute(inputs)
    assert not native.ran()
    ours = compute(inputs)
    assert native.ran()
    return ours, expected


# ---------------------------------------------------------------------------------------------- equal values


@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize("masks", [None, "H", "BH"])
@pytest.mark.parametrize("state", [True, False])
def test_values_and_gradients_are_those_of_pytorch_s_operators(T, B, H, masks, state):
    inputs = example(T, B, H, masks, state)
    ours, expected = both(inputs)
    exact = results(inputs, torch.float64)
    for a, b, c in zip(ours, expected, exact, strict=True):
        assert (a - b).abs().max() <= 4e-6 * (1 + b.abs().max())
        assert (a - c).abs().max() <= 2 * (b - c).abs().max() + 1e-6 * (1 + c.abs().max())  # no worse, but for luck
    with torch.no_grad():
        z = None if masks is None else inputs[4:]
        hidden, states = lstm_recurrence(*inputs[:2], z, *inputs[2:4])
    for a, b in zip((hidden, *states), ours[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)  # without gradients, the same steps


def test_over_the_whole_range_of_the_nonlinearities():
    B, H = 100, 41
    gates = torch.linspace(-20, 20, B * H).view(1, B, H).repeat(1, 1, 4).requires_grad_()
    for x, y in zip(*both([gates, torch.zeros(4 * H, H).requires_grad_(), *[None] * 6]), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize("value", [100.0, -100.0, 1e30, -1e30, float("inf"), -float("inf")])
def test_saturated_gates(value):
    gates, U, *rest = example(3, 2, 20, "BH")
    gates = torch.full_like(gates, value).requires_grad_()
    for x, y in zip(*both([gates, U, *rest]), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


def test_nan_spreads_as_in_pytorch_s_operators():
    gates, U, *rest = example(4, 3, 40, "BH")
    with torch.no_grad():
        gates[1, 0, 7] = gates[2, 1, 90] = torch.nan
    for x, y in zip(*both([gates, U, *rest]), strict=True):
        assert x.isnan().any()
        assert torch.equal(x.isnan(), y.isnan())


def test_same_inputs_same_bits_with_any_number_of_threads():
    inputs, threads = example(5, 3, 37, "BH"), torch.get_num_threads()
    first = results(inputs)
    torch.set_num_threads(2)
    again = results(inputs)
    torch.set_num_threads(threads)
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


def test_second_derivatives_and_any_upstream():
    def derivatives(inputs):
        gates, U = inputs
        hidden, _ = lstm_recurrence(gates, U)
        (first,) = torch.autograd.grad(hidden.sum(), U, create_graph=True)  # the upstream gradient: one number expanded
        return first, *torch.autograd.grad(first.square().sum(), U)

    for x, y in zip(*both(example(3, 2, 5)[:2], derivatives), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


def test_everything_else_takes_pytorch_s_operators():
    small = example(3, 2, 4, "BH")
    results([x.detach().double().requires_grad_() for x in small], torch.float64)
    results(example(3, 0, 4))
    results(example(2, 2, kernel.LARGEST + 1))
    with torch.autocast("cpu", torch.bfloat16):
        results(small)
    with FlopCounterMode(display=False) as counter:
        results(small)
    assert counter.get_total_flops() == 3 * 2 * (3 * 2 * 16 * 4)  # h U^T, and the gradients of h and U, in 3 steps
    assert not native.ran()


# ---------------------------------------------------------------------------------------------- the switch


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", True), (None, True)])
def test_it_is_on_unless_the_environment_turns_it_off(monkeypatch, value, on):
    if value is not None:
        monkeypatch.setenv("SQUEEZEBENCH_NATIVE", value)
    results(example(2, 2, 3))
    assert native.enabled() is native.ran() is on
    native.forget()
    assert not native.ran()


def test_a_wrong_value_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("SQUEEZEBENCH_NATIVE", "yes")
    with pytest.raises(InputError, match="must be 0 or 1, got 'yes'"):
        native.enabled()


def test_without_llvm_or_with_one_that_fails_pytorch_s_operators_run(monkeypatch, caplog):
    def fails(_functions):
        raise RuntimeError("LLVM ERROR: no such processor")

    monkeypatch.setattr("squeezebench.nn.kernels.native.vectors.compiled", fails)
    native._compiled.cache_clear()
    try:
        for _ in range(2):
            results(example(2, 2, 3))
    finally:
        native._compiled.cache_clear()
    assert caplog.text.count("no such processor") == 1 and not native.ran()
    monkeypatch.setattr(native, "_available", lambda: False)
    native.prepare()
    results(example(2, 2, 3))
    assert not native.enabled() and not native.ran()
