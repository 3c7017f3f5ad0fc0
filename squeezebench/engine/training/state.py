"""Live state as plain JSON and tensors, and back: what a checkpoint is made of. No pickle, nothing that runs.

`Encoder.encode` turns a value into JSON; the tensors in it go to `Encoder.tensors` under names of their own. `Decoder`
turns them back, beside the module that the same program built again: a tensor that is a parameter of the module comes
back as that parameter, a submodule as that submodule, and what can only be restored in place (a generator, anything
with `state_dict` and `load_state_dict`) is restored in what stands there already.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import random
import types
from collections import OrderedDict, deque
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor, nn

DEPTH = 16  # of nested containers; deeper is taken for a loop
WHOLE = 10**18  # readers of JSON may lose what is larger
PLAIN = (type(None), bool, int, float, str)
ROW = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
# Made by the method's code and the same in every process: left as they are found.
FIXED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial,
         torch.dtype, torch.device)  # fmt: skip


class CannotBeSaved(TypeError):
    """A value is neither data, nor a tensor, nor anything with a state of its own; the message says which and where."""


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of `model` by name, those outside its state_dict included."""
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


class Encoder:
    """Makes JSON of values that may refer to parts of `model`.

    prefix: begins the name of each tensor. copy: tensors are cloned, so that what follows cannot change them.
    """

    def __init__(self, model: nn.Module, prefix: str = "", copy: bool = False) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._prefix, self._copy, self._model = prefix, copy, model  # kept: its parts are known by their identity
        self._modules = {id(module): name for name, module in model.named_modules()}
        self._of_model = {id(value): name for name, value in named_tensors(model)}
        self._storage = {value.untyped_storage().data_ptr(): name for name, value in named_tensors(model)}
        self._dtypes = {name: value.dtype for name, value in named_tensors(model)}
        self._stored: dict[int, tuple[Any, dict]] = {}  # by identity, with the value, which keeps the identity its own

    def encode(self, value: Any, where: str, depth: int = 0) -> Any:
        """JSON for `value`. Raises CannotBeSaved naming `where` it was found."""
        if type(value) in PLAIN:
            return _number(value) if type(value) in (int, float) else value
        if depth > DEPTH:
            raise CannotBeSaved(f"{where} is nested too deeply")
        inner = lambda one, place: self.encode(one, place, depth + 1)
        if type(value) in ROW:
            return {ROW[type(value)]: [inner(one, f"{where}[{k}]") for k, one in enumerate(value)]}
        if type(value) is deque:
            return {"deque": [inner(one, f"{where}[{k}]") for k, one in enumerate(value)], "most": value.maxlen}
        if type(value) in (dict, OrderedDict):
            pairs = [[inner(key, where), inner(one, f"{where}[{key!r}]")] for key, one in value.items()]
            return {"ordered" if type(value) is OrderedDict else "dict": pairs}
        if id(value) in self._stored:
            return self._stored[id(value)][1]
        made = self._object(value, where, depth)
        self._stored[id(value)] = value, made
        return made

    def _object(self, value: Any, where: str, depth: int) -> dict:
        if isinstance(value, Tensor):
            return self._tensor(value, where)
        if isinstance(value, nn.Module) and id(value) in self._modules:
            return {"module": self._modules[id(value)]}
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value, where)
        if isinstance(value, FIXED):
            return {"fixed": type(value).__name__}
        if _constant(value):
            return {"constant": repr(value)}
        if (state := _state_of(value)) is not None:
            return {"state": self.encode(state, where, depth + 1)}
        raise CannotBeSaved(
            f"{where} holds a {type(value).__name__}: keep plain values and tensors there, or give the class "
            "state_dict() and load_state_dict(state)"
        )

    def store(self, value: Tensor) -> str:
        """The name under which the content of `value` is kept."""
        name = f"{self._prefix}{len(self.tensors)}"
        value = value.detach()
        self.tensors[name] = value.clone() if self._copy else value
        return name

    def _tensor(self, value: Tensor, where: str) -> dict:
        if id(value) in self._of_model:
            return {"parameter": self._of_model[id(value)]}
        if type(value) not in (Tensor, nn.Parameter) or value.layout != torch.strided or value.is_quantized:
            raise CannotBeSaved(f"{where} holds a tensor of a special kind: keep a dense one")
        if value.grad_fn is not None:
            raise CannotBeSaved(f"{where} holds a tensor with the graph behind it: detach it")
        base = self._storage.get(value.untyped_storage().data_ptr()) if value.numel() else None
        if base is not None and self._dtypes[base] == value.dtype:
            return {"view": base, "size": list(value.shape), "stride": value.stride(), "at": value.storage_offset()}
        made: dict[str, Any] = {"tensor": self.store(value)}
        if value.requires_grad:
            made["learns"] = "parameter" if isinstance(value, nn.Parameter) else "tensor"
        return made | ({"device": str(value.device)} if value.device.type != "cpu" else {})

    def _array(self, value: np.ndarray | np.generic, where: str) -> dict:
        array = np.asarray(value)
        if array.dtype.hasobject or array.dtype.fields:
            raise CannotBeSaved(f"{where} holds an array of {array.dtype}: keep numbers")
        content = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy())
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return {kind: self.store(content), "dtype": array.dtype.str, "shape": list(array.shape)}


class Decoder:
    """Makes values of JSON and `tensors` again, beside a `model` that was built anew in the same way.

    Content that fits neither raises KeyError, IndexError, TypeError, ValueError, AttributeError or RuntimeError.
    """

    def __init__(self, model: nn.Module, tensors: dict[str, Tensor]) -> None:
        self._modules = dict(model.named_modules())
        self._of_model = dict(named_tensors(model))
        self._tensors = tensors
        self._made: dict[str, Tensor] = {}

    def decode(self, content: Any, present: Any = None) -> Any:
        """The value; `present` is what stands in its place now, for what can only be restored in place."""
        if not isinstance(content, dict):
            return content
        kind, inner = next(iter(content)), next(iter(content.values()))
        if kind in ROW.values():
            row = [self.decode(one, _at(present, k)) for k, one in enumerate(inner)]
            return {name: made for made, name in ROW.items()}[kind](row)
        if kind == "deque":
            return deque((self.decode(one, _at(present, k)) for k, one in enumerate(inner)), content["most"])
        if kind in ("dict", "ordered"):
            pairs = [(self.decode(key), value) for key, value in inner]
            made = OrderedDict() if kind == "ordered" else {}
            made.update((key, self.decode(value, _at(present, key))) for key, value in pairs)
            return made
        if kind == "module":
            return self._modules[inner]
        if kind == "parameter":
            return self._of_model[inner]
        if kind == "view":
            base = self._of_model[inner].detach()
            return base.as_strided(content["size"], content["stride"], content["at"])
        if kind == "tensor":
            return self._tensor(content, present)
        if kind in ("array", "scalar"):
            raw = self._tensors[inner].numpy().tobytes()
            array = np.frombuffer(raw, np.dtype(content["dtype"])).reshape(content["shape"]).copy()
            return array if kind == "array" else array[()]
        if kind == "fixed":
            if type(present).__name__ != inner:
                raise ValueError(f"a {inner} was expected")
            return present
        if kind == "constant":
            if repr(present) != inner:
                raise ValueError(f"{inner} was expected")
            return present
        if kind == "int":
            return int(inner, 16)
        if kind == "float":
            return float(inner)
        if kind == "state":
            _restore(present, self.decode(inner))
            return present
        raise ValueError(f"unknown kind {kind!r}")

    def _tensor(self, content: dict, present: Any) -> Tensor:
        name, value = content["tensor"], self._tensors[content["tensor"]]
        if name in self._made:
            return self._made[name]
        learns = content.get("learns")
        if learns and isinstance(present, Tensor) and present.requires_grad and present.shape == value.shape:
            with torch.no_grad():
                made = present.copy_(value)  # an optimiser may hold it
        else:
            made = value.to(content.get("device", "cpu"), copy=True)
            made = nn.Parameter(made) if learns == "parameter" else made.requires_grad_(bool(learns))
        self._made[name] = made
        return made


def _number(value: float) -> Any:
    """JSON for a number that every reader reads as the same one."""
    if isinstance(value, int):
        return value if abs(value) < WHOLE else {"int": hex(value)}
    return value if math.isfinite(value) else {"float": repr(value)}


def _constant(value: Any) -> bool:
    """A value that cannot change and that its repr tells whole: a TaskInfo, a Stage, a method's Settings, a path."""
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
