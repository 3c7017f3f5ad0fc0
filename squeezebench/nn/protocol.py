"""What a module that is trained, compacted and scored says of itself; a method's own module says the same.

The engine reads every module through this protocol and has no list of classes. `forward`, `spec` and `from_spec` are
required; a module without `structure`, `counts` or `macs` gets what the functions below answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, Self

from torch import Tensor, nn


@dataclass(frozen=True)
class Structure:
    """The widths of a module, as a record keeps them under `kept`; None: the module has no such part."""

    inputs: int | None = None  # features that a recurrent network reads
    hidden: list[int] | None = None  # hidden units of each recurrent layer
    widths: list[int] | None = None  # of each layer of a feed-forward network


class BenchmarkModule(Protocol):
    """The module protocol.

    A class attribute `counted_buffers`, optional, names the buffers that are stored numbers: `("projection",)`. Other
    buffers than running statistics and the indices of inputs are in no count, and the record says so.
    """

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """x (B, T, D) float, length (B,) int or None (all steps are valid) -> logits (B, classes)."""
        ...

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON: `class`, the class's name, and the shapes. Weights are saved beside it."""
        ...

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Self:
        """A module of the shapes in `spec`, freshly initialised.

        Classes of `squeezebench.nn` are registered (`squeezebench.nn.registry`); the class of a method's own module is
        looked up in the method's file.
        """
        ...

    def structure(self) -> Structure:
        """The widths that the record keeps. Optional; default: none."""
        ...

    def counts(self) -> dict[str, int]:
        """Of a module with a feed-forward network: `weights` of its convolutions and linear layers, and `neurons`.

        Optional; default: none. The engine adds the matrices of recurrent layers to the weights.
        """
        ...

    def steps(self, steps: int) -> int:
        """Steps of the recurrence on a sequence of `steps` steps. Optional; default: as many."""
        ...

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of one sequence of `steps` steps by formula, None if no formula is known. Optional."""
        ...


def structure_of(module: nn.Module) -> Structure:
    """`module.structure()`, or an empty structure if the module does not say."""
    structure = module.structure() if hasattr(module, "structure") else None
    return structure if isinstance(structure, Structure) else Structure()


def counts_of(module: nn.Module) -> dict[str, int]:
    """`module.counts()`, or no counts if the module does not say."""
    return module.counts() if hasattr(module, "counts") else {}


def steps_of(module: nn.Module, steps: int) -> int:
    """`module.steps(steps)`, or `steps` if the module does not say."""
    return module.steps(steps) if hasattr(module, "steps") else steps


def macs_of(module: nn.Module, steps: int) -> int | None:
    """`module.macs(steps)`, or None if the module does not say."""
    return module.macs(steps) if hasattr(module, "macs") else None
