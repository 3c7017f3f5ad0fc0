"""Everything that the author of a method reads: `base.py` first.

base        the class that a method derives from, its stages and hooks
dense       the uncompressed model, and the counts that a formula gives for it
start       bases of methods that build the dense model, and that start from the dense pretraining
masked, tensor, unit_pruning, network_pruning   bases for families of methods
discovery   how files of methods are found
"""

from squeezebench.method.base import Clock, Method, Stage, risen, without_gradients
from squeezebench.method.dense import dense_classifier, dense_closed_form
from squeezebench.method.start import DenseMethod, FromDense, StartSettings
from squeezebench.nn.rnn.closed_form import closed_form
from squeezebench.schema.models import ModelSettings, NetworkSettings, PerFrameSettings, RecurrentSettings, TaskInfo
from squeezebench.schema.settings import Settings, setting

__all__ = [
    "Clock",
    "DenseMethod",
    "FromDense",
    "Method",
    "ModelSettings",
    "NetworkSettings",
    "PerFrameSettings",
    "RecurrentSettings",
    "Settings",
    "Stage",
    "StartSettings",
    "TaskInfo",
    "closed_form",
    "dense_classifier",
    "dense_closed_form",
    "risen",
    "setting",
    "without_gradients",
]
