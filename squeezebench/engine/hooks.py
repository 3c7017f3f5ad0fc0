"""Global state that a method shares with the engine and with the other methods of its process.

The engine seeds the generators of torch, NumPy and Python with the run's seed, and a hook may draw from them. It may
not seed them, as all seeds would then start from the same numbers, and it may not change how torch computes. Whatever
a hook has changed is put back after it, and the record names the hook.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial, wraps
from hashlib import sha256
from inspect import getattr_static
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.backends import cudnn, mkldnn

from squeezebench.engine.provenance import VARIABLES
from squeezebench.method.base import Method

HOOKS = (
    "skip", "start_share", "stages", "build", "load_dense", "parameter_groups", "loss", "penalty", "train_step",
    "after_step", "observe", "end_stage", "compact", "closed_form",
)  # fmt: skip
MODULES = {"build", "load_dense", "end_stage", "compact"}  # that give a module
OFTEN = {"loss", "penalty", "train_step", "after_step"}  # called at each step: only what takes microseconds is read
CUDNN = ("enabled", "benchmark", "deterministic", "allow_tf32")


@dataclass(frozen=True)
class Shared:
    """One value of the process: how it is called, read and put back."""

    words: str
    read: Callable[[], Any]
    write: Callable[[Any], Any]


TORCH = (
    Shared("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    Shared("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Shared("whether torch keeps gradients", torch.is_grad_enabled, torch.set_grad_enabled),
    Shared("torch's deterministic algorithms", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    Shared("torch's float32 precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    Shared("torch's autocast", partial(torch.is_autocast_enabled, "cpu"), partial(torch.set_autocast_enabled, "cpu")),
    Shared("torch's anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    Shared("whether torch uses oneDNN", lambda: mkldnn.enabled, lambda on: setattr(mkldnn, "enabled", on)),
)
PROCESS = (
    Shared(
        "cuDNN's settings",
        lambda: tuple(getattr(cudnn, name) for name in CUDNN),
        lambda values: [setattr(cudnn, name, value) for name, value in zip(CUDNN, values, strict=True)],
    ),
    Shared(
        "torch's default device",
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    Shared("NumPy's handling of errors", np.geterr, lambda value: np.seterr(**value)),
    Shared("the working directory", os.getcwd, os.chdir),
    Shared("the environment's variables", lambda: _Variables(os.environ), lambda value: value.restore()),
)


class _Variables(dict):
    """The environment. One with more variables is the same (libraries add some when they are imported), unless one of
    them chooses kernels."""

    def __eq__(self, before: object) -> bool:
        added = (self.keys() - before.keys()) & {*VARIABLES}
        return not added and all(self.get(name) == value for name, value in before.items())

    def __ne__(self, before: object) -> bool:
        return not self == before

    __hash__ = None

    def restore(self) -> None:
        for name in VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(self)


@dataclass
class Hooks:
    """Watches the hooks of one method. `changed`: a sentence for each thing that a hook has changed.

    A generator of NumPy or Python that a hook seeds and then draws from is told from one that it only draws from by two
    runs with different seeds (`trace`, which tools/check_method.py compares), not here.
    """

    changed: list[str] = field(default_factory=list)
    trace: list[tuple[str, dict, dict]] | None = None  # (hook, states of the generators before and after it), if wanted
    _inside: bool = False

    def guarded(self, method_class: type[Method]) -> type[Method]:
        """The same method, whose hooks leave global state as it was."""
        hooks = {name: getattr_static(method_class, name) for name in HOOKS}
        own = {name: hook for name, hook in hooks.items() if hook is not getattr_static(Method, name)}
        wrapped = {name: self._wrapped(name, hook) for name, hook in own.items() if callable(hook)}
        about = {"__module__": method_class.__module__, "__doc__": method_class.__doc__}
        return type(method_class.__name__, (method_class,), wrapped | about)

    def _wrapped(self, name: str, function: Callable) -> Callable:
        @wraps(function)
        def hook(*arguments: Any, **named: Any) -> Any:
            if self._inside:  # a hook that calls another one
                return function(*arguments, **named)
            with self.watching(f"{name}()", often=name in OFTEN):
                result = function(*arguments, **named)
            if name in MODULES and not isinstance(result, nn.Module):  # a `return` that was forgotten
                raise TypeError(f"{name}() gives {type(result).__name__}; return the module")
            return result

        return hook

    @contextmanager
    def watching(self, who: str, often: bool = False) -> Iterator[None]:
        """Note what the block changes as `who`'s doing, and put it back."""
        shared = TORCH if often else (*TORCH, *PROCESS)
        before = [_read(value) for value in shared]
        generators, states = _Generators(often), generator_states() if self.trace is not None else {}
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            for value, was in zip(shared, before, strict=True):
                now = _read(value)
                if now != was:
                    self._note(f"{who} changes {value.words}" + _values(was, now))
                    with suppress(OSError):  # a working directory that is gone
                        value.write(was)
            for words in generators.restored():
                self._note(f"{who} seeds {words}")
            if self.trace is not None:
                self.trace.append((who, states, generator_states()))

    def _note(self, sentence: str) -> None:
        if sentence not in self.changed:
            self.changed.append(sentence)


def _read(shared: Shared) -> Any:
    try:
        return shared.read()
    except OSError:  # a working directory that was removed
        return None


def _values(was: Any, now: Any) -> str:
    return f" from {was} to {now}" if isinstance(was, bool | int | str | torch.dtype | torch.device) else ""


def generator_states() -> dict[str, bytes]:
    """Each global generator -> a digest of its state."""
    states = {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "NumPy's generator": b"".join(np.asarray(part).tobytes() for part in np.random.get_state()[1:]),
        "Python's generator": repr(random.getstate()).encode(),
    }
    return {name: sha256(state).digest() for name, state in states.items()}


class _Generators:
    """The global generators as they were. `often`: torch's alone, in which modules are drawn."""

    def __init__(self, often: bool) -> None:
        self.torch, self.seed = torch.get_rng_state(), torch.initial_seed()
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
        self.numpy, self.python = (None, None) if often else (np.random.get_state(), random.getstate())

    def restored(self) -> Iterator[str]:
        """Put those back that were seeded, and not only drawn from; yield their names."""
        if torch.initial_seed() != self.seed:
            torch.set_rng_state(self.torch)
            if self.cuda is not None:
                torch.cuda.set_rng_state_all(self.cuda)
            yield "torch's generator"
        if self.numpy is not None and _is_fresh(np.random.get_state()[1], self.numpy[1]):
            np.random.set_state(self.numpy)
            yield "NumPy's generator"
        if self.python is not None and _is_fresh(np.array(random.getstate()[1][:-1]), self.python[1][:-1]):
            random.setstate(self.python)
            yield "Python's generator"


def _is_fresh(words: np.ndarray, before: Any) -> bool:
    """Whether a Mersenne twister (its 624 words) was seeded since `before` and has not been drawn from.

    A seed that is an array ends in 2^31 as the first word, and a number in a recurrence (Matsumoto & Nishimura 1998,
    mt19937ar.c: init_by_array, init_genrand); the first draw replaces all words.
    """
    if np.array_equal(words, before):
        return False
    last = words[:-1].astype(np.uint64)
    grown = (1812433253 * (last ^ (last >> 30)) + np.arange(1, len(words), dtype=np.uint64)) & 0xFFFFFFFF
    return int(words[0]) == 0x80000000 or bool((grown == words[1:]).all())
