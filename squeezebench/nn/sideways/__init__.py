"""Sideways and Skip-Sideways: gradient forward-propagation for per-frame video networks, depth-parallel.

timetable  who works on what at which tick          network   a network as a list of modules, with shortcuts
rule       the learning rule, all in one process    parallel  the same with a process for each module
training   steps for an optimiser                   vgg       small VGG-like networks
montage    videos put together from several clips   study     stability over learning rates and frame rates
"""

from .montage import montage
from .network import SidewaysNet
from .parallel import PipelineProcesses
from .rule import sideways_gradients
from .study import Setting, stability, train
from .timetable import Timetable
from .training import backpropagation_step, clip_loss, sideways_step
from .vgg import FORMS, VGGUnit, VideoVGG, vgg8, video_vgg, video_vgg_weights

__all__ = [
    "FORMS",
    "PipelineProcesses",
    "Setting",
    "SidewaysNet",
    "Timetable",
    "VGGUnit",
    "VideoVGG",
    "backpropagation_step",
    "clip_loss",
    "montage",
    "sideways_gradients",
    "sideways_step",
    "stability",
    "train",
    "vgg8",
    "video_vgg",
    "video_vgg_weights",
]
