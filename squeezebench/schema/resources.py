"""What a run may use: the limits it is held to, and what a cluster is asked for."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat


class Resources(BaseModel):
    """`resources:` of an experiment or of one of its tasks. They never decide a result, only whether there is one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    memory_gb: PositiveFloat = 8.0  # of the process (10^9 bytes): a run that needs more is recorded as failed
    minutes: PositiveFloat = 720.0  # of one run: a run that takes longer (or hangs) is recorded as failed
    gpus: NonNegativeInt = 0
