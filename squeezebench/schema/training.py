"""How the engine trains: the same for every method of an experiment."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_serializer,
    model_validator,
)

from squeezebench.schema.stored import Part, joined_later

Optimiser = Literal["adam", "sgd"]
Schedule = Literal["cosine", "constant", "thirds"]
Unit = Literal["epochs", "steps"]  # in which the length of a training is given
UNITS: tuple[Unit, ...] = ("epochs", "steps")
EPOCHS = 60  # if neither is given
COSINE_END = 1e-3
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


def one_unit(value: Any) -> Any:
    """Raise ValueError if the mapping `value` gives a length in both units."""
    if isinstance(value, dict) and all(value.get(unit) is not None for unit in UNITS):
        raise ValueError("give `epochs` or `steps`, not both")
    return value


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The keys of `above` over those of `below`; a length in one unit replaces a length in the other."""
    if any(above.get(unit) is not None for unit in UNITS):
        below = {key: value for key, value in below.items() if key not in UNITS}
    return below | above


class TrainingSettings(Part, allow_inf_nan=False):
    """How the engine trains; the same for every method of an experiment.

    The length counts everything: dense pretraining and stages. An epoch is one pass over the training part.
    """

    epochs: PositiveInt | None = joined_later(None)  # 60 if neither this nor `steps` is given
    steps: PositiveInt | None = joined_later(None)  # gradient steps, instead of `epochs`
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 2e-3
    schedule: Schedule = "cosine"  # within each stage; thirds: 1, 0.1 and 0.01 of the learning rate
    cosine_end: float = joined_later(COSINE_END, ge=0, le=1)  # part of the learning rate at which a cosine ends
    optimiser: Optimiser = "adam"
    momentum: float = Field(default=0.9, ge=0, lt=1)  # of SGD
    nesterov: bool = False  # of SGD
    weight_decay: NonNegativeFloat = 0.0
    clip: NonNegativeFloat = 5.0  # global gradient norm; 0: no clipping
    label_smoothing: NonNegativeFloat = 0.0
    loss: Literal["cross_entropy", "double_softmax"] = "cross_entropy"  # double: as released
    select: Literal["final", "validation"] = "final"  # epoch of the last stage that is kept
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    augment: Augment = joined_later(Augment())  # of images and videos

    @model_validator(mode="before")
    @classmethod
    def _one_length(cls, value: Any) -> Any:
        value = one_unit(value)
        if isinstance(value, dict) and all(value.get(unit) is None for unit in UNITS):
            return value | {"epochs": EPOCHS}
        return value

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> TrainingSettings:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self

    @model_serializer(mode="wrap")
    def _without_sgd(self, handler: Any) -> dict[str, Any]:
        """Leave out what only SGD has: records written before there was a choice keep their digests."""
        off = ("optimiser", "momentum", "nesterov") if self.optimiser == "adam" else ()
        return {name: value for name, value in handler(self).items() if name not in off}

    @property
    def unit(self) -> Unit:
        return "epochs" if self.steps is None else "steps"

    @property
    def length(self) -> int:
        """The length in its unit."""
        return self.steps or self.epochs or EPOCHS

    def lasting(self, length: int, unit: Unit | None = None) -> TrainingSettings:
        """The same training of another length; `unit` None: in the same unit."""
        return self.model_copy(update=dict.fromkeys(UNITS) | {unit or self.unit: length})

    def pretraining(self, share: float) -> int:
        """The length of the dense pretraining, `share` of the whole; 0 if there is none."""
        return max(1, round(share * self.length)) if share else 0

    def too_short(self, share: float, stages: int) -> str:
        """Why the length leaves a stage without any, and what would be enough; empty if it is enough.

        share: of the dense pretraining, as in `pretraining`; stages: that follow it.
        """
        first = self.pretraining(share)
        if share >= 1:  # no length would be enough
            return f"start_share = {share:g} leaves no {self.unit} after the dense pretraining; it must be below 1"
        if self.length - first >= stages:
            return ""
        enough = next(n for n in itertools.count(stages) if n - self.lasting(n).pretraining(share) >= stages)
        parts = [f"the dense pretraining takes {first}"] if first else []
        parts += ["the stage after it needs 1" if stages == 1 else f"each of the {stages} stages needs 1"]
        return f"{self.unit} = {self.length} is too short: {', and '.join(parts)}; give at least {enough}"
