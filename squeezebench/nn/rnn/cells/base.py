"""The interface of a recurrent cell: everything that differs from one cell to the next, and nothing else."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    Mask = Callable[[str, Any], Any]  # (letter of a gate, its value) -> the masked value
    States = tuple[Tensor | None, ...]  # each (B, H); None: zeros
    Result = tuple[Tensor, tuple[Tensor, ...]]  # hidden (T, B, H), states after the last step
    from squeezebench.nn.pruning.absorb import GateRows


@dataclass(frozen=True)
class OnnxOperator:
    """The ONNX operator that computes a cell without masks."""

    name: str
    order: tuple[int, ...]  # our row blocks in the operator's order
    attributes: Mapping[str, int] = field(default_factory=dict)
    int8: bool = False  # whether ONNX Runtime's dynamic quantisation covers the operator


class Cell(ABC):
    """A recurrent cell with H hidden units on D inputs, and with a mask on each of its G gates.

    W (G H, D) has one block of H rows for each gate, in the order of `gates`; the last R blocks, those of
    `recurrent`, also have a product with the state, U (R H, H). Each product has a bias vector of its own, as in
    PyTorch and as the papers count them: bias_ih (G H,), bias_hh (R H,).

    A subclass states the attributes and the equations of one step, `step`. It may also override `fused` (for
    training) and `lean` (without gradients) by something faster that computes the same.
    """

    title: ClassVar[str]  # as papers write the name
    gates: ClassVar[str]  # one letter for each gate, in PyTorch's order of the row blocks
    recurrent: ClassVar[str]  # the gates whose argument contains h_{t-1}; a suffix of `gates`
    states: ClassVar[tuple[str, ...]] = ("h",)  # what one step hands to the next; h comes first and is the output
    removing: ClassVar[str]  # gates whose mask at 0 makes a unit contribute nothing, if it starts at 0
    state_gate: ClassVar[str]  # the gate whose mask is a factor on h_t itself, so that readers of h_t absorb it
    mixing: ClassVar[str] = ""  # the gate that weighs the old state against the new: a noisy mask would leave [0, 1]
    merged: ClassVar[Mapping[str, str]] = {}  # gate -> the gate that it is multiplied by: one vector carries both masks
    initial_bias: ClassVar[Mapping[str, float]] = {}  # gate -> initial bias, other than 0
    torch_module: ClassVar[str | None] = None  # the class of torch.nn that computes the same from the same matrices
    onnx: ClassVar[OnnxOperator | None] = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __deepcopy__(self, memo: dict[int, Any]) -> Cell:
        return self  # a cell has no state; a copied layer asks the same object

    # --- the equations
    @abstractmethod
    def step(self, x: tuple, u: tuple, mask: Mask, *states: Any) -> tuple:
        """The states after one step, h first, each (B, H).

        x: input products with their biases, one (B, H) for each gate; u: products with h, likewise, for each gate of
        `recurrent`. Only `+`, `-`, `*`, `sigmoid()`, `tanh()` and `relu()` may be used: PyTorch runs these lines, and
        the export writes them out as operators of ONNX and statements of C.
        """

    def biases(self, bias_ih: Tensor, bias_hh: Tensor) -> tuple[Tensor, Tensor | None]:
        """(what is added to the input products (G H,), what has to stay with the last blocks of U h, or None)."""
        return bias_ih + bias_hh, None

    def sequence(
        self, gates: Tensor, weight_hh: Tensor, bias: Tensor | None, z: Tensor | None, states: States
    ) -> Result:
        """`step` over a whole sequence, under plain autograd.

        gates (T, B, G H): input products with their biases; weight_hh (R H, H); bias: see `biases`; z (B, G H): masks
        """
        import torch
        from torch.nn import functional as F

        zeros = gates.new_zeros(gates.shape[1], weight_hh.shape[1])
        now = tuple(zeros if state is None else state for state in states)
        masks = {} if z is None else dict(zip(self.gates, z.chunk(len(self.gates), 1), strict=True))
        if bias is not None:
            bias = F.pad(bias, (len(weight_hh) - len(bias), 0))

        def mask(letter: str, value: Tensor) -> Tensor:
            return masks[letter] * value if letter in masks else value

        hidden = []
        for x in gates.unbind(0):
            u = F.linear(now[0], weight_hh, bias).chunk(len(self.recurrent), 1) if self.recurrent else ()
            now = self.step(x.chunk(len(self.gates), 1), u, mask, *now)
            hidden.append(now[0])
        return torch.stack(hidden), now

    def fused(
        self, gates: Tensor, weight_hh: Tensor, bias: Tensor | None, z: Tensor | None, states: States, low: Any
    ) -> Result:
        """`sequence` for training. low: the dtype of the products with U under autocast, else None."""
        return self.sequence(gates, weight_hh, bias, z, states)

    def lean(
        self, gates: Tensor, weight_hh: Tensor, bias: Tensor | None, z: Tensor | None, states: States, low: Any
    ) -> Result:
        """`sequence` where no gradient is asked for; arguments as in `fused`."""
        return self.fused(gates, weight_hh, bias, z, states, low)

    # --- compaction
    def absorb(self, rows: GateRows, masks: Mapping[str, Tensor]) -> None:
        """Change the rows of a layer so that it comes as close as a cell without masks can to the cell with `masks`.

        masks: gate -> values (H,), without `state_gate`, whose mask is folded exactly elsewhere. A gate may be missing.
        """
        raise TypeError(f"{self.title} does not say which rows absorb its masks")

    # --- sizes
    def counts(self, inputs: int, hidden: int) -> dict[str, int]:
        """Parameters of one layer by kind: G H D, R H^2 and (G + R) H."""
        blocks, products = len(self.gates), len(self.recurrent)
        return {
            "input_to_hidden": blocks * hidden * inputs,
            "hidden_to_hidden": products * hidden**2,
            "bias": (blocks + products) * hidden,
        }

    def recurrent_macs(self, hidden: int) -> int:
        """Multiply-accumulates of U h_{t-1}, each step."""
        return len(self.recurrent) * hidden**2

    @property
    def unfolded(self) -> list[str]:
        """The gates on which a vector stays if masks are kept that no standard cell absorbs."""
        return sorted({self.merged.get(gate, gate) for gate in self.gates} - {self.state_gate})
