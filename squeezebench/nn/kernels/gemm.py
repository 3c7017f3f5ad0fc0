"""Dense products on the CPU, as fast as PyTorch allows: ``linear`` for all steps, ``step_product`` for one.

Three measured facts explain the gain over ``F.linear`` in float32 on one thread:

* oneDNN's product, called through the private operator ``mkldnn._linear_pointwise``, is faster than the default
  BLAS on large matrices. It reorders its *second* operand first. For few rows we therefore compute ``(W x^T)^T``:
  the few rows are reordered and the large weight is read in place (2x at 16 x 2048 x 8192).
* The page faults of fresh memory for a gradient of hundreds of megabytes cost almost as much as its arithmetic.
  We keep the memory from one step to the next, and reuse it as soon as no tensor refers to it.
* The BLAS is faster with wide results, so a small, tall gradient is computed transposed.

Each fast path checks device, dtype, build and :func:`plain`, and falls back to ``F.linear``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import flop_registry, register_flop_formula
from torch.utils.weak import WeakIdKeyDictionary

_PLAIN: ContextVar[bool] = ContextVar("squeezebench_plain", default=False)
_ONEDNN_FROM = 1 << 25  # multiplications; below, the default BLAS has less overhead per call
_STEP_FROM = 1 << 20  # elements of the weight, likewise
_SWAP_FROM_ROWS = 8  # oneDNN works in blocks of 16 rows; with fewer than half a block it reorders nothing anyway
_TRANSPOSE_FROM_STEPS = 5  # a transposed copy of a large weight costs what it saves in about 4 products
_KEEP_FROM = 1 << 24  # bytes; smaller blocks come from the heap, whose pages are there already
_TALL_UP_TO = 1 << 18  # elements of a gradient that is cheap to transpose

_STORAGES = WeakIdKeyDictionary()  # weight -> {role: storage}
_LOCK = Lock()


@contextmanager
def plain() -> Iterator[None]:
    """In this context, ``linear`` and the recurrences use public operators and plain autograd only.

    Counting, export and ``torch.func`` need it, and tests compare with it. The forward pass makes the choice.
    """
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def fast_path(*tensors: Tensor | None) -> bool:
    """Whether hand-written autograd may be used: ordinary tensors, not traced, compiled or transformed."""
    if _PLAIN.get() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if torch._C._functorch.peek_interpreter_stack() is not None:  # vmap, grad, jvp of torch.func
        return False
    if torch.autograd.forward_ad._current_level >= 0:
        return False
    return all(t is None or type(t) in (Tensor, torch.nn.Parameter) for t in tensors)


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype that products on this device are asked to run in, None outside autocast."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


# ---------------------------------------------------------------------------------------------------- linear


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, ``x W^T + b``: x (..., D), weight (K, D), bias (K,) or None -> (..., K).

    The gradient of x is computed only if something needs it, and second derivatives work.
    """
    if autocast_dtype(x) is not None or not fast_path(x, weight, bias):
        return F.linear(x, weight, bias)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or _requires_grad(bias)):
        return _Linear.apply(x, weight, bias)
    return _product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], -1)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx, dy):
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        dy = dy.reshape(-1, dy.shape[-1])
        dx = dw = db = None
        if torch.is_grad_enabled():  # create_graph: the same products, by differentiable operators
            dx = (dy @ weight).view_as(x) if need_x else None
            dw = dy.t() @ x.reshape(-1, x.shape[-1]) if need_weight else None
        else:
            dx = _product(dy, weight.t()).view_as(x) if need_x else None
            dw = weight_gradient(dy, x.reshape(-1, x.shape[-1]), weight) if need_weight else None
        if need_bias:
            db = dy.sum(0)
        return dx, dw, db


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, D), weight (K, D) -> (N, K), contiguous."""
    if x.shape[0] * weight.numel() < _ONEDNN_FROM or not _onednn(weight):
        return F.linear(x, weight, bias)
    if _SWAP_FROM_ROWS <= x.shape[0] <= weight.shape[0] // 8 and weight.is_contiguous():
        y = _onednn_linear(weight, x).t()
        out = y.new_empty(y.shape)
        return out.copy_(y) if bias is None else torch.add(y, bias, out=out)
    return _onednn_linear(x, weight, bias)


def weight_gradient(dy: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """``dy^T x``, the gradient of weight: dy (N, K), x (N, D) -> (K, D), contiguous."""
    rows, columns = dy.shape[1], x.shape[1]
    if dy.device.type != "cpu" or dy.dtype != weight.dtype:
        return torch.mm(dy.t(), x)
    if rows > columns and rows * columns <= _TALL_UP_TO:
        return torch.mm(x.t(), dy).t().contiguous()
    return torch.mm(dy.t(), x, out=_kept(weight, "gradient", rows, columns))


# ---------------------------------------------------------------------------------------- one step at a time


def step_product(
    weight: Tensor, rows: int, steps: int, low: torch.dtype | None = None, *, transposed: bool = False
) -> Callable[[Tensor, Tensor, Tensor], object]:
    """A function ``(a, x, out)`` that writes ``a + x W^T`` (transposed: ``a + x W``), for ``steps`` calls.

    weight (K, D), x (rows, D), a and out (rows, K); transposed: x (rows, K), a and out (rows, D).
    ``low`` is the dtype of the product if it is not that of x.
    """
    if low is not None:
        right = weight.to(low) if transposed else weight.to(low).t()
        return lambda a, x, out: torch.add(a, torch.mm(x.to(low), right), out=out)
    worth_it = steps >= _TRANSPOSE_FROM_STEPS if transposed else weight.is_contiguous()
    large = weight.numel() >= _STEP_FROM and 8 * rows <= min(weight.shape)
    if worth_it and large and _onednn(weight):
        K, D = weight.shape
        left = _kept(weight, "transposed", D, K).copy_(weight.t()) if transposed else weight
        if rows < _SWAP_FROM_ROWS:
            return lambda a, x, out: torch.add(a, _onednn_linear(x, left), out=out)
        return lambda a, x, out: torch.add(a, _onednn_linear(left, x).t(), out=out)
    right, addmm = weight if transposed else weight.t(), torch.addmm
    return lambda a, x, out: addmm(a, x, right, out=out)


# ----------------------------------------------------------------------------------- what the machine offers


@cache
def _onednn_operator() -> Callable[..., Tensor] | None:
    if not torch.backends.mkldnn.is_available():
        return None
    try:
        operator = torch.ops.mkldnn._linear_pointwise.default
        x, w = torch.ones(2, 3), torch.ones(4, 3)
        if not torch.equal(operator(x, w, None, "none", [], ""), F.linear(x, w)):
            return None
    except (AttributeError, RuntimeError, TypeError):  # private: it may change its name or its arguments
        return None
    if torch.ops.mkldnn._linear_pointwise not in flop_registry:
        register_flop_formula(torch.ops.mkldnn._linear_pointwise)(_onednn_flop)
    return operator


def _onednn_flop(x_shape, w_shape, *_args, out_shape=None, **_kwargs) -> int:
    return 2 * x_shape[0] * x_shape[1] * w_shape[0]


def _onednn(weight: Tensor) -> bool:
    return (
        weight.device.type == "cpu"
        and weight.dtype == torch.float32
        and torch._C._get_mkldnn_enabled()
        and not _PLAIN.get()
        and _onednn_operator() is not None
    )


def _onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return _onednn_operator()(x, weight, bias, "none", [], "")


# ---------------------------------------------------------------------------------------------------- memory


def _kept(owner: Tensor, role: str, rows: int, columns: int) -> Tensor:
    """An uninitialised (rows, columns) matrix, in the memory that this role had last time if no tensor uses it.

    The memory lives as long as the owner. It counts as used while any tensor or view refers to it, ``.grad`` included;
    this module keeps only the storage.
    """
    size = rows * columns * owner.element_size()
    count = getattr(torch._C, "_storage_Use_Count", None)
    if size < _KEEP_FROM or count is None or owner.device.type != "cpu":
        return owner.new_empty(rows, columns)
    with _LOCK:
        storages = _STORAGES.setdefault(owner, {})
        storage = storages.get(role)
        if storage is not None and storage.nbytes() == size and count(storage._cdata) == 1:
            return owner.new_empty(0).set_(storage, 0, (rows, columns))
        fresh = owner.new_empty(rows, columns)
        storages[role] = fresh.untyped_storage()
        return fresh


def drop_gradients(weights: Iterable[Tensor]) -> None:
    """Let go of the gradients and of the memory that is kept for them, when training is over."""
    with _LOCK:
        for weight in weights:
            weight.grad = None
            _STORAGES.pop(weight, None)


def _requires_grad(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad
