"""A task as an experiment describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from squeezebench.schema.stored import Part, joined_later

LEAVE_ONE_OUT = "leave_one_group_out"
PLACES = ("path", "folder", "labels", "lists")  # options that name files; the fingerprint covers what is in them


def without_places(task: Mapping[str, Any], fingerprint: str | None) -> dict[str, Any]:
    """A task's fields without the options that name files; all of them if no fingerprint covers what is in these."""
    options = task.get("options")
    if not fingerprint or not isinstance(options, Mapping):
        return dict(task)
    named = {name for name in PLACES if isinstance(options.get(name), str)}
    return {**task, "options": {name: value for name, value in options.items() if name not in named}}


class TaskSpec(Part):
    """One entry of an experiment's `tasks:`. `source` names a data source (default: the task's name)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="names folders, records and figures")
    source: str = Field(description="the data source, see `squeezebench tasks`")
    version: int = joined_later(1, ge=1, description="of the task: give the next number if its data or split change")
    options: dict[str, Any] = Field(default={}, description="the source's own options")
    split: Literal["official", "random", "group", "leave_one_group_out"] | None = Field(
        default=None, description="split rule; null: the source's own default"
    )
    fold: int | None = Field(
        default=None,
        ge=0,
        description="leave_one_group_out: which group is test, in sorted order from 0; none: all, in an experiment",
    )
    folds: int | None = joined_later(
        None, ge=2, description="leave_one_group_out: so many sets of groups that each have every class"
    )
    test_share: float = Field(default=0.3, gt=0, lt=1, description="of all sequences; unused where official")
    validation_share: float = Field(default=0.2, gt=0, lt=1, description="of the sequences outside test")
    split_seed: int = Field(default=0, ge=0, description="fixes the test part of random and group splits")
    frames: int | None = Field(default=None, ge=1, description="use this many steps of each sequence")
    sampling: Literal["uniform", "random"] = Field(
        default="uniform", description="random: one step of each equal segment, drawn anew per epoch in training"
    )
    normalise: Literal["none", "std", "standard", "channel", "imagenet"] = Field(
        default="standard",
        description="by statistics of the training part: overall std, mean and std per feature, or per image channel; "
        "imagenet: the published mean and std of ImageNet's colours",
    )

    @model_validator(mode="before")
    @classmethod
    def _source_is_the_name(cls, value: Any) -> Any:
        if isinstance(value, dict) and "source" not in value and "name" in value:
            return {**value, "source": value["name"]}
        return value

    @model_validator(mode="after")
    def _random_needs_frames(self) -> TaskSpec:
        if self.sampling == "random" and self.frames is None:
            raise ValueError("sampling: random needs frames (how many steps to draw)")
        return self

    @model_validator(mode="after")
    def _folds_belong_to_their_rule(self) -> TaskSpec:
        leaves_out = self.split == LEAVE_ONE_OUT
        if leaves_out and self.fold is None:
            raise ValueError("split: leave_one_group_out needs fold (which group is test, from 0)")
        for name in ("fold", "folds"):
            if getattr(self, name) is not None and not leaves_out:
                raise ValueError(f"{name} is for split: leave_one_group_out only")
        if self.folds is not None and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}; with folds: {self.folds} it is at most {self.folds - 1}")
        return self
