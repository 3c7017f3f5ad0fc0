"""The key `tuning:` of an experiment, and the one number that trials are ordered by. Imports nothing heavy."""

from __future__ import annotations

import math

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from squeezebench.schema.stored import Part, joined_later
from squeezebench.schema.training import TrainingSettings, one_unit


class Objective(Part, allow_inf_nan=False):
    """What makes one trial better than another, the same for every method.

    A compression method trades size for accuracy, so "the best validation accuracy" alone would pick each method's
    largest network and compare nothing. `ratio` fixes the size: the best validation accuracy among the trials with at
    least that many times fewer LSTM parameters, or weights of a feed-forward network, than the dense model. A trial
    below the ratio is worse than any trial that meets it, and the worse the further off it is (the feasibility rules of
    Deb, An efficient constraint handling method for genetic algorithms, 2000); on a log scale, because ratios span
    orders of magnitude. So there is no weight of accuracy against size that somebody would have to choose, and that
    would suit one method more than another. Without `ratio` it is accuracy alone.
    """

    ratio: float | None = Field(default=None, ge=1)

    def met(self, ratio: float | None) -> bool:
        """Whether a trial is small enough. `ratio`: None if there is nothing left to count."""
        return self.ratio is None or ratio is None or ratio >= self.ratio

    def value(self, accuracy: float, ratio: float | None) -> float:
        """Larger is better: the accuracy in [0, 1] where the ratio is met, else log(ratio / wanted), below 0."""
        return accuracy if self.met(ratio) else math.log(ratio / self.ratio)


class Tuning(Part, allow_inf_nan=False):
    """How the methods of an experiment are tuned."""

    trials: PositiveInt = 20  # of each method on each task; fewer where the space has fewer points
    seed: NonNegativeInt = 0  # of every trial's run (with its validation part and dense pretraining) and of the sampler
    methods: list[str] | None = None  # none: all that the experiment lists, controls included
    epochs: PositiveInt | None = None  # of a trial; none: as many as a run has
    steps: PositiveInt | None = joined_later(None)  # of a trial, instead of epochs
    objective: Objective = Objective()

    _one_length = model_validator(mode="before")(one_unit)

    def of_trial(self, training: TrainingSettings) -> TrainingSettings:
        """How a trial trains if a run trains as `training`."""
        if self.steps is not None:
            return training.lasting(self.steps, "steps")
        return training if self.epochs is None else training.lasting(self.epochs, "epochs")

    @field_validator("methods")
    @classmethod
    def _each_once(cls, names: list[str] | None) -> list[str] | None:
        if twice := [name for name in names or [] if names.count(name) > 1]:
            raise ValueError(f"{twice[0]} is given twice")
        if names == []:
            raise ValueError("an empty list tunes nothing; leave `methods` out to tune all")
        return names
