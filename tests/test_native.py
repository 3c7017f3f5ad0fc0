"""To rely on: the compiled kernel computes what the pure path computes, and is used only where it is asked for."""

import ctypes
import re

import pytest
import torch

from squeezebench.base.errors import InputError
from squeezebench.nn.kernels import native
from squeezebench.nn.kernels.native import lstm as kernel
from squeezebench.nn.rnn.cells import cell_of
from squeezebench.nn.rnn.recurrence import recurrence

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="no C compiler")

SIZES = [(6, 5, 8), (1, 1, 1), (4, 1, 3), (3, 2, 130), (2, 7, 33)]  # T, B, H


def lstm_recurrence(gates, U, masks=None, h0=None, c0=None):
    return recurrence(cell_of("lstm"), gates, U, None, masks, (h0, c0))


@pytest.fixture(scope="module", autouse=True)
def built(tmp_path_factory):
    """Build anew, away from the package, and leave the switch as it was."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "FOLDER", tmp_path_factory.mktemp("native"))
        patch.setattr(native, "_library", None)
        yield native.build()


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    monkeypatch.delenv("SQUEEZEBENCH_NATIVE", raising=False)
    monkeypatch.setattr(native, "_on", None)
    torch.manual_seed(0)


@pytest.fixture
def steps(monkeypatch):
    """The calls of the kernel's two functions."""
    calls = []
    for name in ("forward_steps", "backward_steps"):
        function = getattr(kernel, name)
        monkeypatch.setattr(kernel, name, lambda *args, f=function, name=name: (calls.append(name), f(*args))[1])
    return calls


def leaf(*shape):
    return torch.randn(*shape).requires_grad_()


def example(T, B, H, masks=None, state=True):
    """gates, U, h0, c0 and four masks; None where left out."""
    shape = {None: None, "H": (H,), "BH": (B, H)}[masks]
    z = [leaf(*shape) if shape else None for _ in range(4)]
    return [leaf(T, B, 4 * H), leaf(4 * H, H), *((leaf(B, H), leaf(B, H)) if state else (None, None)), *z]


def results(inputs, dtype=torch.float32):
    """hidden, h_T, c_T, and the gradients of all inputs."""
    gates, U, h0, c0, *masks = (None if x is None else x.to(dtype) for x in inputs)
    hidden, (h_T, c_T) = lstm_recurrence(gates, U, None if masks[0] is None else masks, h0, c0)
    torch.manual_seed(1)
    loss = sum((y * torch.randn(y.shape)).sum() for y in (hidden, h_T, c_T))
    return [hidden, h_T, c_T, *torch.autograd.grad(loss, [x for x in inputs if x is not None])]


def both(inputs):
    native.disable()
    pure = results(inputs)
    native.enable()
    return results(inputs), pure


# ---------------------------------------------------------------------------------------------- equal values


@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize("masks", [None, "H", "BH"])
@pytest.mark.parametrize("state", [True, False])
def test_values_and_gradients_are_those_of_the_pure_path(T, B, H, masks, state, steps):
    inputs = example(T, B, H, masks, state)
    ours, pure = both(inputs)
    assert steps == ["forward_steps", "backward_steps"]
    exact = results(inputs, torch.float64)
    for a, b, c in zip(ours, pure, exact, strict=True):
        assert (a - b).abs().max() <= 4e-6 * (1 + b.abs().max())
        assert (a - c).abs().max() <= 2 * (b - c).abs().max() + 1e-6 * (1 + c.abs().max())  # no worse, but for luck


def test_over_the_whole_range_of_the_nonlinearities():
    B, H = 100, 41
    gates = torch.linspace(-20, 20, B * H).view(1, B, H).repeat(1, 1, 4).requires_grad_()
    inputs = [gates, torch.zeros(4 * H, H).requires_grad_(), *[None] * 6]
    ours, pure = both(inputs)
    for x, y in zip(ours, pure, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=5e-7)


@pytest.mark.parametrize("value", [100.0, -100.0, 1e30, -1e30, float("inf"), -float("inf")])
def test_saturated_gates(value):
    gates, U, *rest = example(3, 2, 20, "BH")
    gates = torch.full_like(gates, value).requires_grad_()
    for x, y in zip(*both([gates, U, *rest]), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-6)


def test_nan_spreads_as_on_the_pure_path():
    gates, U, *rest = example(4, 3, 40, "BH")
    with torch.no_grad():
        gates[1, 0, 7] = gates[2, 1, 90] = torch.nan
    for x, y in zip(*both([gates, U, *rest]), strict=True):
        assert x.isnan().any()
        assert torch.equal(x.isnan(), y.isnan())


def test_same_inputs_same_bits():
    inputs = example(5, 3, 37, "BH")
    native.enable()
    for x, y in zip(results(inputs), results(inputs), strict=True):
        assert torch.equal(x, y)


def test_second_derivatives_and_any_upstream():
    gates, U, *_ = example(3, 2, 5)
    native.enable()
    hidden, _ = lstm_recurrence(gates, U)
    (first,) = torch.autograd.grad(hidden.sum(), U, create_graph=True)  # the upstream gradient is one number, expanded
    (second,) = torch.autograd.grad(first.square().sum(), U)
    native.disable()
    (expected,) = torch.autograd.grad(lstm_recurrence(gates, U)[0].sum(), U, create_graph=True)
    torch.testing.assert_close(first, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(second, torch.autograd.grad(expected.square().sum(), U)[0], rtol=1e-4, atol=1e-4)


def test_bfloat16_autocast(steps):
    with torch.autocast("cpu", torch.bfloat16):
        ours, pure = both(example(4, 3, 20, "BH"))
    assert steps == ["forward_steps", "backward_steps"]
    for x, y in zip(ours, pure, strict=True):
        assert torch.nn.functional.cosine_similarity(x.flatten(), y.flatten(), dim=0) > 0.999


def test_other_dtypes_and_empty_batches_take_the_pure_path(steps):
    native.enable()
    results([None if x is None else x.detach().double().requires_grad_() for x in example(3, 2, 4)], torch.float64)
    results(example(3, 0, 4))
    assert steps == []


# ---------------------------------------------------------------------------------------------- the switch


def test_off_by_default(steps):
    assert native.available()
    results(example(2, 2, 3))
    assert not native.enabled()
    assert steps == []


@pytest.mark.parametrize(("value", "on"), [("1", True), ("0", False), ("", False)])
def test_the_environment_turns_it_on(monkeypatch, value, on):
    monkeypatch.setenv("SQUEEZEBENCH_NATIVE", value)
    assert native.enabled() is on


def test_what_is_wrong_is_said_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("SQUEEZEBENCH_NATIVE", "yes")
    with pytest.raises(InputError, match="must be 0 or 1, got 'yes'"):
        native.enabled()
    monkeypatch.setenv("SQUEEZEBENCH_NATIVE", "1")
    monkeypatch.setattr(native, "FOLDER", tmp_path)
    monkeypatch.setattr(native, "_library", None)
    for _ in range(2):  # not only the first time
        with pytest.raises(InputError, match=r"^the native kernel .* not built .* run `python -m squeezebench.*$"):
            results(example(2, 2, 3))
    monkeypatch.setattr(native, "compiler", lambda: None)
    with pytest.raises(InputError, match="needs a C compiler"):
        native.build()
    monkeypatch.setattr(native, "compiler", lambda: ["false"])
    with pytest.raises(InputError, match=r"^false does not compile"):
        native.build()
    assert not list(tmp_path.iterdir())


def test_building_twice_is_building_once(built):
    before = built.stat().st_mtime_ns
    assert native.build() == built
    assert built.stat().st_mtime_ns == before


def test_the_struct_is_the_source_s():
    struct = native.SOURCE.read_text().partition("typedef struct {")[2].partition("} Sequence;")[0]
    assert re.findall(r"\*(\w+);", struct) == list(kernel.TENSORS)
    assert ctypes.sizeof(kernel.Sequence) == 8 * (2 + len(kernel.TENSORS))
