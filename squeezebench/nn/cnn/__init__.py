"""Feed-forward networks. All plain ones are imported here, so that the registry knows them."""

from squeezebench.nn.cnn.lenet import LeNet5, LeNet300
from squeezebench.nn.cnn.mobilenet import MobileNetV2
from squeezebench.nn.cnn.resnet import ResNet
from squeezebench.nn.cnn.vgg import VGG

__all__ = ["VGG", "LeNet5", "LeNet300", "MobileNetV2", "ResNet"]
