"""All that decides how training goes on: the module, the method's own attributes and every random generator.

A snapshot is taken of a module and put into another one that the same calls built (build, load_dense, end_stage): it
has values and no structure. Plain attributes of submodules are part of it, so that a counter or a flag which a module
keeps beside its parameters comes back as well; other attributes of a submodule are what its constructor made them.
"""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from squeezebench.engine.training.state import CannotBeSaved, Decoder, Encoder, holds_tensors, named_tensors
from squeezebench.method.base import Clock, Method

OF_TORCH = frozenset(vars(nn.Module())) - {"training"}  # what every module has
APART = frozenset({"settings", "clock", "cross_entropy"})  # of a method: given, or kept by the engine


def generators() -> dict[str, Any]:
    """The states of all generators that code of a run may draw from."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def set_generators(state: dict[str, Any]) -> None:
    """Put them back."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def take_module(encoder: Encoder, model: nn.Module) -> dict[str, Any]:
    """Return what `model` holds; `encoder` was made for it."""
    return {
        "values": {name: encoder.content(value) for name, value in named_tensors(model)},
        "frozen": [name for name, value in model.named_parameters() if not value.requires_grad],
        "modules": {name: data for name, module in model.named_modules() if (data := _plain(encoder, module))},
    }


def put_module(content: dict[str, Any], model: nn.Module) -> None:
    """Put it into a module of the same structure. Raises ValueError for another one, and what Decoder does."""
    present = dict(named_tensors(model))
    if set(present) != set(content["values"]):
        raise ValueError("the module has other tensors than the checkpoint")
    with torch.no_grad():
        for name, value in present.items():
            stored = content["values"][name]
            if value.shape != stored.shape or value.dtype != stored.dtype:
                raise ValueError(f"{name} has another shape or type than in the checkpoint")
            value.copy_(stored)
    for name, value in model.named_parameters():
        value.requires_grad_(name not in content["frozen"])
    decoder, encoder = Decoder(model), Encoder(model)
    for name, attributes in content["modules"].items():
        _put_plain(attributes, decoder, encoder, model.get_submodule(name))


def take(encoder: Encoder, model: nn.Module, method: Method, drawn: dict[str, Any], gradients: bool) -> dict[str, Any]:
    """Return the whole snapshot; `encoder` was made for `model`.

    drawn: the generators' states. gradients: keep them as well, for a method that reads what the last step left there.
    Raises CannotBeSaved if the method holds something that is no data.
    """
    content = take_module(encoder, model) | {
        "method": {name: encoder.encode(value, f"self.{name}") for name, value in _own(method).items()},
        "clock": dict(vars(method.clock)),
        "generators": encoder.encode(drawn, "the generators"),
    }
    if gradients:
        pairs = [(name, value.grad) for name, value in model.named_parameters() if value.grad is not None]
        content["gradients"] = {name: encoder.content(gradient) for name, gradient in pairs}
    return content


def put(content: dict[str, Any], model: nn.Module, method: Method) -> None:
    """Put a whole snapshot back. Raises as put_module does."""
    put_module(content, model)
    decoder, gradients = Decoder(model), content.get("gradients", {})
    _put_method(content["method"], decoder, method)
    vars(method.clock).update(vars(Clock(**content["clock"])))
    for name, value in model.named_parameters():
        value.grad = gradients[name].to(value.device, copy=True) if name in gradients else None
    set_generators(decoder.decode(content["generators"]))


def _put_method(content: dict[str, Any], decoder: Decoder, method: Method) -> None:
    present = _own(method)
    for name in present.keys() - content.keys():
        delattr(method, name)
    for name, value in content.items():
        _check_name(name, method, APART)
        vars(method)[name] = decoder.decode(value, present.get(name))


def _own(method: Method) -> dict[str, Any]:
    return {name: value for name, value in vars(method).items() if name not in APART}


def _plain(encoder: Encoder, module: nn.Module) -> dict[str, Any]:
    """A submodule's attributes that are data, encoded."""
    data = {}
    for name, value in vars(module).items():
        if name not in OF_TORCH:
            with suppress(CannotBeSaved):  # its constructor made the value, and makes it again
                data[name] = encoder.encode(value, name)
    return data


def _put_plain(content: dict[str, Any], decoder: Decoder, encoder: Encoder, module: nn.Module) -> None:
    """Only what differs is replaced: an object that several modules share stays one."""
    present = _plain(encoder, module)
    for name, value in content.items():
        if name not in present or holds_tensors([value, present[name]]) or value != present[name]:
            _check_name(name, module, OF_TORCH)
            vars(module)[name] = decoder.decode(value, vars(module).get(name))


def _check_name(name: str, owner: Any, reserved: frozenset[str]) -> None:
    if name in reserved or not name.isidentifier() or callable(getattr(type(owner), name, None)):
        raise ValueError(f"{name!r} is no attribute for state of a {type(owner).__name__}")
