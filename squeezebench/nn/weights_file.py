"""Weights of a network from a file of somebody else: safetensors, or what `torch.save` wrote.

Known layouts, by the names of their tensors: squeezebench's own (also of a saved run), torchvision's ResNets, and the
CIFAR ResNets of Yerlan Idelbayev (github.com/akamaster/pytorch_resnet_cifar10; `linear` is the last layer, `shortcut`
a projection), each of them also with the prefix `module.` that DataParallel adds. A file of torch is read with
`weights_only`, so that it cannot run code.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load
from torch import Tensor, nn

from squeezebench.base.errors import InputError, first_line
from squeezebench.base.reading import regular

NESTED = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
PREFIXES = ("module.", "network.")  # of DataParallel, and of a network on frames
COUNTERS = "num_batches_tracked"  # of batch norms: older files have none, and nothing is computed from them
RENAMED = ((r"^linear\.", "fc."), (r"\.shortcut\.", ".downsample."))  # Idelbayev's names -> ours


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file by name, on the CPU. InputError for a file without any, or an unreadable one."""
    path = Path(path).expanduser()
    try:
        content = regular(path).read_bytes()
        if path.suffix == ".safetensors":
            kept = load(content)
        else:
            kept = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what a file that is no checkpoint makes torch's reader raise has no common class
        raise InputError(f"{path}: cannot be read as a checkpoint of tensors ({first_line(error)})") from None
    for key in NESTED:
        if isinstance(kept, Mapping) and isinstance(kept.get(key), Mapping):
            kept = kept[key]
    tensors = {k: v for k, v in kept.items() if isinstance(v, Tensor)} if isinstance(kept, Mapping) else {}
    if not tensors:
        raise InputError(f"{path}: holds no tensors by name; give the state_dict of a network")
    return {_plain(str(name)): tensor for name, tensor in tensors.items()}


def load_weights(network: nn.Module, path: str | Path, what: str = "the network") -> None:
    """Copy the file's tensors into `network`; `what` names it in errors.

    Raises InputError, in one line, for the first tensor that is missing, has another shape, belongs nowhere or is not
    finite.
    """
    given = read_tensors(path)
    own = {_plain(name): value for name, value in network.state_dict().items()}
    for name, value in own.items():
        if name.endswith(COUNTERS) and name not in given:
            continue
        if name not in given:
            raise InputError(f"{path}: has no tensor {name}, {_shape(value)} in {what}")
        if given[name].shape != value.shape:
            raise InputError(f"{path}: tensor {name} is {_shape(given[name])}; {what} has {_shape(value)} there")
        if not bool(torch.isfinite(given[name]).all()):
            raise InputError(f"{path}: tensor {name} holds numbers that are not finite")
    if more := [name for name in given if name not in own and not name.endswith(COUNTERS)]:
        raise InputError(f"{path}: tensor {more[0]}, {_shape(given[more[0]])}, has no place in {what}")
    with torch.no_grad():
        for name, value in own.items():
            if name in given:
                value.copy_(given[name])


def _plain(name: str) -> str:
    """The tensor's name in a bare network of ours."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), None):
        name = name.removeprefix(prefix)
    for pattern, ours in RENAMED:
        name = re.sub(pattern, ours, name)
    return name


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
