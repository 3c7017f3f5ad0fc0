"""Feed-forward networks in the engine's form, x (B, T, D), in which one frame is D = C * H * W numbers.

`FrameNetwork` classifies an image (T = 1); `FrameRecurrent` runs a network on every frame of a video and an LSTM or
GRU over its features. The channels that the network gives are the columns that the recurrence reads: they are one set
of coupled channels, so that both shrink together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from squeezebench.nn.protocol import Structure
from squeezebench.nn.pruning.sizes import Sizes, measured_sizes
from squeezebench.nn.registry import module_from_spec, register
from squeezebench.nn.rnn.classifier import RecurrentClassifier


class _Framed(nn.Module):
    """A plain network, (N, C, H, W) -> (N, F), and the shape of the frames that it reads."""

    def __init__(self, network: nn.Module, frame: Sequence[int]):
        super().__init__()
        self.network, self.frame = network, tuple(frame)

    @property
    def inputs(self) -> int:
        """D, the numbers of one frame."""
        return prod(self.frame)

    def frame_sizes(self) -> Sizes:
        """Sizes of the network on one frame, by the rules of nn/pruning/sizes.py."""
        device = next(self.network.parameters()).device
        return measured_sizes(self.network, torch.zeros(1, *self.frame, device=device))


@register
class FrameNetwork(_Framed):
    """x (B, 1, C * H * W) -> logits (B, classes) by `network`, (B, C, H, W) -> (B, classes)."""

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """All lengths are 1, and `length` is not read."""
        return self.network(x.reshape(x.shape[0], *self.frame))

    def structure(self) -> Structure:
        """The widths of the network."""
        return Structure(widths=self.network.widths())

    def counts(self) -> dict[str, int]:
        """Weights and neurons of the network."""
        sizes = self.frame_sizes()
        return {"weights": sizes.weights, "neurons": sizes.neurons}

    def macs(self, steps: int) -> int:
        """Multiply-accumulates of `steps` images."""
        return steps * self.frame_sizes().macs

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to rebuild this module before its weights are loaded (JSON)."""
        return {"class": "FrameNetwork", "network": self.network.spec(), "frame": list(self.frame)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FrameNetwork:
        """A module of the given shapes, freshly initialised."""
        return cls(module_from_spec(spec["network"]), spec["frame"])


@register
class FrameRecurrent(_Framed):
    """x (B, T, C * H * W) -> logits (B, classes): `network` gives (B * T, F), `recurrent` reads (B, T, F)."""

    def __init__(self, network: nn.Module, recurrent: RecurrentClassifier, frame: Sequence[int]):
        super().__init__(network, frame)
        self.recurrent = recurrent

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """length (B,): frames of each video; None: all of them."""
        batch, steps = x.shape[0], x.shape[1]
        features = self.network(x.reshape(batch * steps, *self.frame))
        return self.recurrent(features.reshape(batch, steps, features.shape[1]), length)

    @property
    def hidden(self) -> list[int]:
        """Hidden units of each recurrent layer."""
        return self.recurrent.hidden

    def structure(self) -> Structure:
        """The widths of the network and then the hidden units of each recurrent layer."""
        return Structure(hidden=self.hidden, widths=[*self.network.widths(), *self.hidden])

    def counts(self) -> dict[str, int]:
        """The weights of the network and of the head."""
        return {"weights": sum(m.weight.numel() for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear))}

    def macs(self, steps: int) -> int | None:
        """Multiply-accumulates of a video of `steps` frames; None if the recurrent part has no formula."""
        recurrent = self.recurrent.macs(steps)
        return None if recurrent is None else recurrent + steps * self.frame_sizes().macs

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs to rebuild this module before its weights are loaded (JSON)."""
        parts = {"network": self.network.spec(), "recurrent": self.recurrent.spec(), "frame": list(self.frame)}
        return {"class": "FrameRecurrent", **parts}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FrameRecurrent:
        """A module of the given shapes, freshly initialised. Raises ValueError if the recurrent part has a front."""
        if spec["recurrent"].get("front") is not None:
            raise ValueError("its recurrent part has a front, which none behind a network has")
        recurrent = RecurrentClassifier.from_spec(spec["recurrent"])
        return cls(module_from_spec(spec["network"]), recurrent, spec["frame"])
