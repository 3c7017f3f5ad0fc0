"""Feed-forward networks, their sets of coupled channels, masks on them, and what is left when channels go."""

from .compact import compact_network, select_channels
from .coupling import CoupledSet, Coupling, Member, coupled_sets, follow
from .frames import FrameNetwork, FrameRecurrent
from .groups import UnitGroups, unit_groups
from .information import bound, divergence, information, itpcc_kl, vibnet_kl
from .lenet import LeNet5, LeNet300
from .masked import MaskedNetwork
from .mobilenet import MobileNetV2, mobilenet_v2
from .named import named_features, named_network, named_weights
from .resnet import ResNet, cifar_resnet, resnet50
from .sizes import Sizes, lenet5_sizes, lenet300_sizes, measured_sizes, vgg_sizes
from .specs import network_from_spec
from .tally import Tally, narrowed, tally
from .vgg import CONFIGURATIONS, VGG, vgg8, vgg16

__all__ = [
    "CONFIGURATIONS",
    "VGG",
    "CoupledSet",
    "Coupling",
    "FrameNetwork",
    "FrameRecurrent",
    "LeNet5",
    "LeNet300",
    "MaskedNetwork",
    "Member",
    "MobileNetV2",
    "ResNet",
    "Sizes",
    "Tally",
    "UnitGroups",
    "bound",
    "cifar_resnet",
    "compact_network",
    "coupled_sets",
    "divergence",
    "follow",
    "information",
    "itpcc_kl",
    "lenet5_sizes",
    "lenet300_sizes",
    "measured_sizes",
    "mobilenet_v2",
    "named_features",
    "named_network",
    "named_weights",
    "narrowed",
    "network_from_spec",
    "resnet50",
    "select_channels",
    "tally",
    "unit_groups",
    "vgg8",
    "vgg16",
    "vgg_sizes",
    "vibnet_kl",
]
