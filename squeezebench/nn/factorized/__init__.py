"""Linear maps (..., D) -> (..., O) without a bias: dense, low rank, and tensor networks of small cores. All of them are
imported here, so that the registry knows them."""

from squeezebench.nn.factorized.block_term import BlockTermMap
from squeezebench.nn.factorized.dense import DenseMap
from squeezebench.nn.factorized.hierarchical_tucker import HierarchicalTuckerMap
from squeezebench.nn.factorized.joint import JointHidden, JointInput
from squeezebench.nn.factorized.low_rank import LowRankMap
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
    "LowRankMap",
    "SelectedMap",
    "SparseMap",
    "TensorRingMap",
    "TensorTrainMap",
]
