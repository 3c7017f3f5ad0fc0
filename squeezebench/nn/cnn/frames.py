"""Feed-forward networks in the engine's form, x (B, T, D): one frame is D = C * H * W numbers.

`FrameNetwork` classifies an image (T = 1); `FrameRecurrent` runs a network on every frame of a video and an LSTM or
GRU over what it gives. The channels that the network gives are the columns that the recurrence reads: one set of
coupled channels, so that both shrink together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn

from squeezebench.nn.rnn.classifier import RecurrentClassifier


class FrameNetwork(nn.Module):
    """x (B, 1, C * H * W) -> logits (B, classes) by `network`, (B, C, H, W) -> (B, classes)."""

    def __init__(self, network: nn.Module, frame: Sequence[int]):
        super().__init__()
        self.network, self.frame = network, tuple(frame)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """The lengths are all 1 and not looked at."""
        return self.network(x.reshape(x.shape[0], *self.frame))

    def spec(self) -> dict[str, Any]:
        return {"class": "FrameNetwork", "network": self.network.spec(), "frame": list(self.frame)}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FrameNetwork:
        """A module of the given shapes, freshly initialised."""
        from squeezebench.nn.cnn.specs import network_from_spec

        return cls(network_from_spec(spec["network"]), spec["frame"])

    def structure(self) -> list[int]:
        """The network's widths."""
        return self.network.structure()

    @property
    def inputs(self) -> int:
        return prod(self.frame)


class FrameRecurrent(nn.Module):
    """x (B, T, C * H * W) -> logits (B, classes): `network` gives (B * T, F), `recurrent` reads (B, T, F)."""

    def __init__(self, network: nn.Module, recurrent: RecurrentClassifier, frame: Sequence[int]):
        super().__init__()
        self.network, self.recurrent, self.frame = network, recurrent, tuple(frame)

    def forward(self, x: Tensor, length: Tensor | None = None) -> Tensor:
        """length (B,): frames of each video, None: all of them."""
        batch, steps = x.shape[0], x.shape[1]
        features = self.network(x.reshape(batch * steps, *self.frame))
        return self.recurrent(features.reshape(batch, steps, features.shape[1]), length)

    def spec(self) -> dict[str, Any]:
        return {
            "class": "FrameRecurrent",
            "network": self.network.spec(),
            "recurrent": self.recurrent.spec(),
            "frame": list(self.frame),
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FrameRecurrent:
        """A module of the given shapes, freshly initialised."""
        from squeezebench.nn.cnn.specs import network_from_spec

        if spec["recurrent"].get("front") is not None:
            raise ValueError("its recurrent part has a front, which none behind a network has")
        recurrent = RecurrentClassifier.from_spec(spec["recurrent"])
        return cls(network_from_spec(spec["network"]), recurrent, spec["frame"])

    def structure(self) -> list[int]:
        """The network's widths, then the hidden units of each recurrent layer."""
        return [*self.network.structure(), *self.hidden]

    @property
    def hidden(self) -> list[int]:
        return self.recurrent.hidden

    @property
    def inputs(self) -> int:
        return prod(self.frame)
