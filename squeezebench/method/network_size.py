"""The size at which methods on feed-forward networks end: `ratio` times fewer weights, or multiply-accumulates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import model_validator

from squeezebench import nn
from squeezebench.method.dense import dense_closed_form, dense_macs
from squeezebench.method.target import TargetSettings, unreachable
from squeezebench.schema.models import NetworkSettings, TaskInfo
from squeezebench.schema.settings import Settings, setting

if TYPE_CHECKING:
    import numpy as np

    from squeezebench.nn.pruning.size_tracker import SizeTracker

NOUNS = {"weights": "weights", "macs": "multiply-accumulates"}


class SizeSettings(Settings):
    """What a ratio counts."""

    ratio_of: Literal["weights", "macs"] = setting(
        "weights", "what `ratio` divides: the weights, or the multiply-accumulates of an image", later=True
    )

    @model_validator(mode="after")
    def _of_a_feed_forward_network(self) -> SizeSettings:
        if self.ratio_of == "macs" and getattr(self, "recurrent", None):
            raise ValueError("ratio_of: macs is for networks that classify images, without `recurrent`")
        return self


class NetworkTargetSettings(SizeSettings, TargetSettings):
    """Joined with the settings of a method on feed-forward networks that can end at a given size."""


def dense_size(task: TaskInfo, settings: NetworkSettings) -> int:
    """Of the dense network that these settings describe, as `ratio_of` counts."""
    by_macs = getattr(settings, "ratio_of", "weights") == "macs"
    return dense_macs(task, settings.shared()) if by_macs else dense_closed_form(task, settings)["weights"]


def left(tracker: SizeTracker, settings: Any, stay: np.ndarray, hidden: Sequence[float] = ()) -> float:
    """The size, as `ratio_of` counts, if each set stays with the probability `stay`; hidden: units by layer."""
    return tracker.macs(stay) if settings.ratio_of == "macs" else tracker.weights(stay, hidden or None)


def too_small(task: TaskInfo, settings: NetworkSettings) -> str | None:
    """Why no network of one unit a layer is small enough for the ratio; None if there is one, or no ratio."""
    if settings.ratio is None:
        return None
    narrow = settings.model_copy(update={"width": 1e-9, "recurrent": settings.recurrent and 1})
    least, dense = dense_size(task, narrow), dense_size(task, settings)
    if nn.reads_pixels(settings.network):
        least -= task.inputs - 1  # pixels go as well
    return unreachable(task, settings.ratio, dense, least, "layers of one unit", NOUNS[settings.ratio_of])
