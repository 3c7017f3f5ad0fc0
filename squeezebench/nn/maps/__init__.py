"""Linear maps (..., D) -> (..., O) without a bias: dense, low rank, and tensor networks of small cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..sparse import SparseMap
from .base import LinearMap, TensorMap
from .block_term import BlockTermMap
from .dense import DenseMap
from .hierarchical_tucker import HierarchicalTuckerMap
from .joint import JointHidden, JointInput
from .low_rank import LowRankMap
from .modes import balanced_modes, check_modes, check_rank, gate_modes, rank_for_budget
from .selected import SelectedMap
from .tensor_ring import TensorRingMap
from .tensor_train import TensorTrainMap

__all__ = [
    "BlockTermMap",
    "DenseMap",
    "HierarchicalTuckerMap",
    "JointHidden",
    "JointInput",
    "LinearMap",
    "LowRankMap",
    "SelectedMap",
    "TensorMap",
    "TensorRingMap",
    "TensorTrainMap",
    "balanced_modes",
    "check_modes",
    "check_rank",
    "gate_modes",
    "map_from_spec",
    "rank_for_budget",
]

_MAPS: dict[str, type[LinearMap] | type[SparseMap]] = {
    cls.name: cls for cls in (DenseMap, LowRankMap, TensorTrainMap, TensorRingMap, BlockTermMap, HierarchicalTuckerMap)
} | {"sparse": SparseMap}


def map_from_spec(spec: Mapping[str, Any]) -> nn.Module:
    """The map that its `spec` described, with random weights: load its state_dict next."""
    settings = dict(spec)
    name = settings.pop("map", None)
    if name == "selected":
        return SelectedMap.from_spec(map_from_spec(settings["whole"]), settings)
    if name == "joint":
        return JointInput(map_from_spec(settings["whole"]), settings["hidden"])
    if name not in _MAPS:
        raise ValueError(f'spec["map"] must be one of {", ".join(_MAPS)}; got {name!r}')
    return _MAPS[name](**settings)
