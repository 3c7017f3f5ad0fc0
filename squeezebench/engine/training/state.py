"""Values as a checkpoint keeps them: what `torch.load(weights_only=True)` reads, and parts for everything else.

`Encoder.encode` replaces what the weights-only reader does not know by a `Part`. `Decoder.decode` turns it back beside
a module that the same program built again: a tensor that is a parameter of the module comes back as that parameter, a
submodule as that submodule. What can only be restored in place (a generator, anything with `state_dict` and
`load_state_dict`) is restored in the object that stands there already.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import random
import types
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

DEPTH = 16  # of nested containers; the encoder takes deeper ones for a loop
PLAIN = (type(None), bool, int, float, str)
KNOWN = (list, tuple, dict, OrderedDict)  # containers that the weights-only reader makes itself
OTHER = {"set": set, "frozenset": frozenset}
# Objects that the method's code makes and that are the same in every process: a checkpoint leaves them as they are.
FIXED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial,
         torch.dtype, torch.device)  # fmt: skip


class CannotBeSaved(TypeError):
    """A value is neither data, nor a tensor, nor anything with a state of its own; the message says which and where."""


class Part(NamedTuple):
    """Stands in a checkpoint for a value that the weights-only reader cannot make."""

    kind: str
    content: Any


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers of `model` by name, those outside its state_dict included."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


class Encoder:
    """Encodes values that may refer to parts of `model`. copy: clone tensors, so that nothing changes them later."""

    def __init__(self, model: nn.Module, copy: bool = False) -> None:
        self._copy, self._model = copy, model  # kept, because its parts are known by their identity
        self._modules = {id(module): name for name, module in model.named_modules()}
        self._of_model = {id(value): name for name, value in named_tensors(model)}
        self._storage = {value.untyped_storage().data_ptr(): name for name, value in named_tensors(model)}
        self._dtypes = {name: value.dtype for name, value in named_tensors(model)}
        self._encoded: dict[int, tuple[Any, Any]] = {}  # by identity, with the value, which keeps the identity its own

    def encode(self, value: Any, where: str, depth: int = 0) -> Any:
        """Return what stands for `value`. Raises CannotBeSaved naming `where` it was found."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if depth > DEPTH:
            raise CannotBeSaved(f"{where} is nested too deeply")
        if kind in (dict, OrderedDict):
            pairs = value.items()
            return kind(
                (self.encode(k, where, depth + 1), self.encode(v, f"{where}[{k!r}]", depth + 1)) for k, v in pairs
            )
        if kind in (list, tuple, deque, *OTHER.values()):
            items = [self.encode(item, f"{where}[{k}]", depth + 1) for k, item in enumerate(value)]
            if kind is deque:
                return Part("deque", (tuple(items), value.maxlen))
            return kind(items) if kind in KNOWN else Part(kind.__name__, tuple(items))
        if id(value) not in self._encoded:
            self._encoded[id(value)] = value, self._object(value, where, depth)
        return self._encoded[id(value)][1]

    def _object(self, value: Any, where: str, depth: int) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        if isinstance(value, nn.Module) and id(value) in self._modules:
            return Part("module", self._modules[id(value)])
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, where)
        if isinstance(value, FIXED):
            return Part("fixed", type(value).__name__)
        if _constant(value):
            return Part("constant", repr(value))
        if (state := _state_of(value)) is not None:
            return Part("state", self.encode(state, where, depth + 1))
        raise CannotBeSaved(
            f"{where} holds a {type(value).__name__}: keep plain values and tensors there, or give the class "
            "state_dict() and load_state_dict(state)"
        )

    def content(self, value: Tensor) -> Tensor:
        """Return the numbers of `value`, whatever it is a part of."""
        return value.detach().clone() if self._copy else value.detach()

    def _tensor(self, value: Tensor, where: str) -> Any:
        if id(value) in self._of_model:
            return Part("parameter", self._of_model[id(value)])
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
            raise CannotBeSaved(f"{where} holds a tensor of a special kind: keep a dense one")
        if value.grad_fn is not None:
            raise CannotBeSaved(f"{where} holds a tensor with the graph behind it: detach it")
        base = self._storage.get(value.untyped_storage().data_ptr()) if value.numel() else None
        if base is not None and self._dtypes[base] == value.dtype:
            return Part("view", (base, tuple(value.shape), value.stride(), value.storage_offset()))
        if value.requires_grad:
            return Part("parameter itself" if isinstance(value, nn.Parameter) else "leaf", self.content(value))
        return self.content(value)

    def _array(self, value: np.ndarray | np.generic, where: str) -> Part:
        array = np.asarray(value)
        if array.dtype.hasobject or array.dtype.fields:
            raise CannotBeSaved(f"{where} holds an array of {array.dtype}: keep numbers")
        numbers = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy())
        return Part("array" if isinstance(value, np.ndarray) else "scalar", (numbers, array.dtype.str, array.shape))


class Decoder:
    """Turns encoded values back, beside a `model` that was built anew in the same way.

    Content that does not fit raises KeyError, IndexError, TypeError, ValueError, AttributeError or RuntimeError.
    """

    def __init__(self, model: nn.Module) -> None:
        self._modules, self._of_model = dict(model.named_modules()), dict(named_tensors(model))
        self._decoded: dict[int, tuple[Any, Tensor]] = {}

    def decode(self, content: Any, present: Any = None) -> Any:
        """Return the value; `present` is the object in its place now, for what can only be restored in place."""
        kind = type(content)
        if kind is Part:
            return self._part(content.kind, content.content, present)
        if kind in (list, tuple):
            return kind(self.decode(item, _at(present, k)) for k, item in enumerate(content))
        if kind in (dict, OrderedDict):
            keys = [self.decode(key) for key in content]
            return kind((k, self.decode(v, _at(present, k))) for k, v in zip(keys, content.values(), strict=True))
        return self._tensor(content, present) if isinstance(content, Tensor) else content

    def _part(self, kind: str, content: Any, present: Any) -> Any:
        if kind in OTHER:
            return OTHER[kind](map(self.decode, content))
        if kind == "deque":
            return deque((self.decode(item, _at(present, k)) for k, item in enumerate(content[0])), content[1])
        if kind == "module":
            return self._modules[content]
        if kind == "parameter":
            return self._of_model[content]
        if kind == "view":
            return self._of_model[content[0]].detach().as_strided(*content[1:])
        if kind in ("parameter itself", "leaf"):
            return self._tensor(content, present, learns=kind)
        if kind in ("array", "scalar"):
            array = np.frombuffer(content[0].numpy().tobytes(), np.dtype(content[1])).reshape(content[2]).copy()
            return array if kind == "array" else array[()]
        if kind in ("fixed", "constant"):
            if content != (type(present).__name__ if kind == "fixed" else repr(present)):
                raise ValueError(f"{content} was expected")
            return present
        if kind == "state":
            _restore(present, self.decode(content))
            return present
        raise ValueError(f"unknown kind {kind!r}")

    def _tensor(self, value: Tensor, present: Any, learns: str = "") -> Tensor:
        if id(value) not in self._decoded:
            if learns and isinstance(present, Tensor) and present.requires_grad and present.shape == value.shape:
                with torch.no_grad():
                    tensor = present.copy_(value)  # an optimiser may refer to it
            else:
                tensor = value.clone()
                tensor = nn.Parameter(tensor) if learns == "parameter itself" else tensor.requires_grad_(bool(learns))
            self._decoded[id(value)] = value, tensor
        return self._decoded[id(value)][1]


def holds_tensors(content: Any) -> bool:
    """Whether encoded content has numbers or a state somewhere, so that it cannot be compared by `==`."""
    if isinstance(content, Part) and content.kind == "state":
        return True
    if isinstance(content, dict):
        return any(map(holds_tensors, content.values()))
    return isinstance(content, Tensor) or (isinstance(content, list | tuple) and any(map(holds_tensors, content)))


def _constant(value: Any) -> bool:
    """Whether a value cannot change and its repr says all of it: a TaskInfo, a Stage, a method's Settings, a path."""
    if dataclasses.is_dataclass(value):
        return value.__dataclass_params__.frozen
    if isinstance(value, BaseModel):
        return bool(value.model_config.get("frozen"))
    return isinstance(value, enum.Enum | PurePath)


def _state_of(value: Any) -> Any | None:
    """The state of an object that can be put back into another one of its class, or None."""
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, torch.Generator | np.random.RandomState):
        return value.get_state()
    if isinstance(value, random.Random):
        return value.getstate()
    if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
        return value.state_dict()
    return None


def _restore(value: Any, state: Any) -> None:
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    elif isinstance(value, torch.Generator | np.random.RandomState):
        value.set_state(state)
    elif isinstance(value, random.Random):
        value.setstate(state)
    else:
        value.load_state_dict(state)


def _at(present: Any, key: Any) -> Any:
    """What stands at `key` now, or None."""
    try:
        return present[key] if isinstance(present, list | tuple | dict | deque) else None
    except (KeyError, IndexError, TypeError):
        return None
