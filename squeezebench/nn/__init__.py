"""Modules every method is composed from. Nothing in here imports the rest of squeezebench."""

from .bottleneck import BottleneckMask
from .classifier import RecurrentClassifier, recurrent_classifier
from .layer import GATES, RecurrentLayer
from .recurrence import plain
from .segments import TemporalSegments
from .sparse import SparseMap
from .shrink import compact_masked, select_units, surviving_inputs, surviving_units

__all__ = [
    "GATES",
    "BottleneckMask",
    "RecurrentClassifier",
    "RecurrentLayer",
    "SparseMap",
    "TemporalSegments",
    "compact_masked",
    "plain",
    "recurrent_classifier",
    "select_units",
    "surviving_inputs",
    "surviving_units",
]
