"""How the engine trains: the same for every method of an experiment."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_serializer,
)

from squeezebench.schema.stored import Part

STANDARD = (
    "training: augment: moves pixels, and `normalise: standard` scales each by statistics of its own; "
    "give normalise: channel, std or none"
)


class Augment(Part):
    """What is drawn for each image of a training batch, or for each video."""

    shift: NonNegativeInt = 0  # pixels at most, across and down; each whole number of them is as likely
    flip: bool = False  # mirrored left to right, with probability 1/2

    def __bool__(self) -> bool:
        return self.flip or self.shift > 0


class TrainingSettings(Part, allow_inf_nan=False):
    """How the engine trains; the same for every method of an experiment."""

    epochs: PositiveInt = 60  # in all: dense pretraining + stages
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"  # within each stage
    weight_decay: NonNegativeFloat = 0.0
    clip: NonNegativeFloat = 5.0  # global gradient norm; 0: no clipping
    label_smoothing: NonNegativeFloat = 0.0
    loss: Literal["cross_entropy", "double_softmax"] = "cross_entropy"  # double: as released
    select: Literal["final", "validation"] = "final"  # epoch of the last stage that is kept
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    augment: Augment = Augment()  # of images and videos

    @model_serializer(mode="wrap")
    def _as_before_augmentation(self, handler: Any) -> dict[str, Any]:
        """Without `augment` where nothing is: records of before it have the digests that they had."""
        content = handler(self)
        if not self.augment:
            content.pop("augment", None)
        return content
