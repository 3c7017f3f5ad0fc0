"""What the work of a module depends on: its layers and the shapes of its tensors.

Seeds of one setting, and methods that end at the same widths, leave modules of one shape. A job times the first one and
counts its operations; the records of the others say whose figures they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from squeezebench.base.digests import digest_of

KNOWN = ("torch", "squeezebench")  # packages whose layers do the same work whatever their weights are


@dataclass(frozen=True)
class Timed:
    """What one shape takes: fields of `Cost`, and the run that measured them."""

    fields: Mapping[str, Any]
    run: str


def shape_digest(modules: list[nn.Module], inputs: int, steps: int) -> str:
    """Equal for modules that do the same work on (batch, steps, inputs): the spec of each, the class of each of its
    layers with what it prints of itself, and name, type and shape of each tensor. Empty if a layer is of another
    package: what it does may depend on its weights."""
    if any(type(layer).__module__.partition(".")[0] not in KNOWN for module in modules for layer in module.modules()):
        return ""
    return digest_of([inputs, steps, [_shape(module) for module in modules]])[:16]


def _shape(module: nn.Module) -> list[Any]:
    spec = module.spec() if hasattr(module, "spec") else {}
    layers = [
        (name, f"{type(layer).__module__}.{type(layer).__qualname__}", layer.extra_repr())
        for name, layer in module.named_modules()
    ]
    tensors = [(name, str(value.dtype), list(value.shape)) for name, value in module.state_dict().items()]
    return [spec, layers, tensors]
