"""Linear maps (..., D) -> (..., O) without a bias: dense, low rank, and tensor networks of small cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from squeezebench.nn.factorized.base import LinearMap, TensorMap
from squeezebench.nn.factorized.block_term import BlockTermMap
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap
from squeezebench.nn.factorized.joint import JointHidden, JointInput
from squeezebench.nn.factorized.low_rank import LowRankMap
from squeezebench.nn.factorized.modes import balanced_modes, check_modes, check_rank, gate_modes, rank_for_budget
from squeezebench.nn.factorized.selected import SelectedMap
from squeezebench.nn.factorized.sparse import SparseMap
from squeezebench.nn.factorized.tensor_ring import TensorRingMap
from squeezebench.nn.factorized.tensor_train import TensorTrainMap

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
