"""Modules every method is composed from. Nothing in here imports the rest of squeezebench, but errors."""

from .bottleneck import BottleneckMask
from .classifier import RecurrentClassifier, recurrent_classifier
from .layer import GATES, RecurrentLayer
from .maps import JointHidden, JointInput, LowRankMap
from .recurrence import plain
from .segments import TemporalSegments
from .shrink import compact_masked, keep_largest, keep_smaller, select_units, surviving_inputs, surviving_units
from .sparse import SparseMap
from .tensorise import MapChoice

__all__ = [
    "GATES",
    "BottleneckMask",
    "JointHidden",
    "JointInput",
    "LowRankMap",
    "MapChoice",
    "RecurrentClassifier",
    "RecurrentLayer",
    "SparseMap",
    "TemporalSegments",
    "compact_masked",
    "keep_largest",
    "keep_smaller",
    "plain",
    "recurrent_classifier",
    "select_units",
    "surviving_inputs",
    "surviving_units",
]
