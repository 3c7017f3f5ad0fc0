"""What a run may use: the limits it is held to, and what a cluster is asked for."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveFloat

from squeezebench.schema.stored import Part


class Resources(Part, allow_inf_nan=False):
    """`resources:` of an experiment or of one of its tasks. They never decide a result, only whether there is one."""

    memory_gb: PositiveFloat = 8.0  # of the process (10^9 bytes): a run that needs more is recorded as failed
    minutes: PositiveFloat = 720.0  # of one run: a run that takes longer (or hangs) is recorded as failed
    gpus: NonNegativeInt = 0
