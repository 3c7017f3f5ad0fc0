"""A residual stack of recurrent layers: each layer after the first adds its state to what it read.

    y_1 = RNN_1(v),    y_l = y_{l-1} + RNN_l(y_{l-1})  for l > 1,    the head reads y_L

Source of the form: Wu et al., "Google's Neural Machine Translation System" (2016), Eq. 5-6. The first layer has no
addition, as its inputs are of another width. Every addition meets unit j of one layer with unit j of the next, so unit
j of all layers is one set of coupled channels: none of them can go while another stays.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from squeezebench.nn.registry import register
from squeezebench.nn.rnn.classifier import RecurrentClassifier
from squeezebench.nn.rnn.layer import Drawn


@register
class ResidualClassifier(RecurrentClassifier):
    """RecurrentClassifier with additions between its layers, which all have the same width.

    A mask that all layers hold is drawn once for all of them: z * y_l = sum_k z * h_k is then what every reader sees.
    """

    def __init__(self, *parts: Any, **more: Any):
        super().__init__(*parts, **more)
        widths = {layer.hidden for layer in self.layers} | {layer.inputs for layer in self.layers[1:]}
        if len(widths) > 1:
            raise ValueError(f"residual layers must have one width, got {', '.join(map(str, sorted(widths)))}")

    @classmethod
    def of(cls, model: RecurrentClassifier) -> ResidualClassifier:
        """The layers and the head of `model` (the same objects) with additions between the layers."""
        parts = ("input_mask", "input_index", "front", "input_dropout", "dropout", "top")
        return cls(model.layers, model.head, **{name: getattr(model, name) for name in parts})

    def stacked(self, x: Tensor) -> Tensor:
        drawn: Drawn = {}
        stream = self.layers[0](x, drawn)
        for layer in self.layers[1:]:
            stream = stream + layer(stream, drawn)
        return stream

    def spec(self) -> dict[str, Any]:
        return super().spec() | {"class": "ResidualClassifier"}
