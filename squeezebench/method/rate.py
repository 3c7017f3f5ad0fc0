"""A learning rate of its own, for methods that would have nothing else to tune at a given size."""

from __future__ import annotations

from squeezebench.schema.settings import Settings, setting


class RateSettings(Settings):
    """Joined with the settings of a method that trains its compressed network in one stage."""

    learning_rate: float = setting(
        1.0, "factor on the learning rate: what suits a compressed network may be another", search=(0.3, 10.0), gt=0
    )
