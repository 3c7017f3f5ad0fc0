"""A compiled kernel for small LSTM layers on the CPU, on by default; SQUEEZEBENCH_NATIVE=0 turns it off.

LLVM compiles it in memory when a process first needs it, by llvmlite, which numba brings along: no C compiler, no file.
Everything else (GPUs, other dtypes, large layers, second derivatives, no llvmlite) takes the paths of PyTorch's
operators. The two agree to rounding, about 1e-6 relative, not bit for bit, so a record says whether the kernel ran.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from squeezebench.base.collector import without_collector
from squeezebench.base.errors import InputError

if TYPE_CHECKING:
    from squeezebench.nn.kernels.native.vectors import Compiled

__all__ = ["enabled", "forget", "functions", "prepare", "ran", "switched"]

log = logging.getLogger("squeezebench")

_on: bool | None = None  # None until the first use, which asks the environment
_ran = False


def enabled() -> bool:
    """Whether the kernel may run in this process. Raises InputError if the environment says neither 0 nor 1."""
    global _on
    if _on is None:
        asked = os.environ.get("SQUEEZEBENCH_NATIVE", "")
        if asked not in ("", "0", "1"):
            raise InputError(f"SQUEEZEBENCH_NATIVE must be 0 or 1, got {asked!r}")
        _on = asked != "0"
    return _on and _available()


@contextmanager
def switched(on: bool) -> Iterator[None]:
    """In this context, the kernel is on (if llvmlite is installed) or off."""
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def ran() -> bool:
    """Whether the kernel has run in this process since `forget()`."""
    return _ran


def forget() -> None:
    """A run starts: what ran before is not its own."""
    global _ran
    _ran = False


def prepare() -> None:
    """Compile now (0.2 s), in a process whose forked copies then share the code."""
    if enabled():
        _compiled()


def functions() -> dict[str, Compiled] | None:
    """The compiled functions, which the caller is about to run; None if LLVM cannot compile them here."""
    global _ran
    compiled = _compiled()
    _ran = _ran or compiled is not None
    return compiled


@cache
def _available() -> bool:
    return find_spec("llvmlite") is not None


@cache
def _compiled() -> dict[str, Compiled] | None:
    try:
        from squeezebench.nn.kernels.native.equations import FUNCTIONS
        from squeezebench.nn.kernels.native.vectors import compiled

        with without_collector():  # for LLVM's thousands of objects Python would look through PyTorch's: 0.15 s of 0.35
            return compiled(FUNCTIONS)
    except (ImportError, OSError, RuntimeError, AttributeError, TypeError) as error:  # another llvmlite, another LLVM
        log.warning("small layers run on PyTorch's operators, as their kernel cannot be compiled here: %s", error)
        return None
