"""Modules every method is composed from. Nothing in here imports the rest of squeezebench, but errors."""

from .bottleneck import BottleneckMask, apart
from .classifier import RecurrentClassifier, recurrent_classifier
from .coupled import CoupledUnits, coupled_units, mask_units, units_kl
from .layer import GATES, RecurrentLayer
from .maps import JointHidden, JointInput, LowRankMap
from .recurrence import plain
from .residual import ResidualClassifier
from .segments import TemporalSegments
from .shrink import compact_masked, keep_largest, keep_smaller, select_units, surviving_inputs, surviving_units
from .sparse import SparseMap
from .tensorise import MapChoice

__all__ = [
    "GATES",
    "BottleneckMask",
    "CoupledUnits",
    "JointHidden",
    "JointInput",
    "LowRankMap",
    "MapChoice",
    "RecurrentClassifier",
    "RecurrentLayer",
    "ResidualClassifier",
    "SparseMap",
    "TemporalSegments",
    "apart",
    "compact_masked",
    "coupled_units",
    "keep_largest",
    "keep_smaller",
    "mask_units",
    "plain",
    "recurrent_classifier",
    "select_units",
    "surviving_inputs",
    "surviving_units",
    "units_kl",
]
