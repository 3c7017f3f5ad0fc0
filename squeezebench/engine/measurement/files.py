"""The compact module as a file: safetensors (weights, and the spec that rebuilds it), in three precisions.

float32   what is trained and scored
float16   every floating-point number stored in half precision, computed in float32
int8      weight-only: each matrix (or core, or sparse values) as 8-bit integers with one float32 scale per row, or one
          for the whole where rows are short; vectors (biases, factors, batch norms) stay float32. Weights are
          multiplied out when the file is read, so it is a format of storage, and works for every map.

Integers (indices) are stored as they are. A file is read back without running any code of it, and its spec is not
believed: what it describes is first built without memory (torch's device `meta`) and has to have the very tensors that
the file holds, so that nothing larger than the file is ever made from it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from squeezebench.base.errors import InputError
from squeezebench.base.files import write_atomically
from squeezebench.base.reading import check_memory, parse_json
from squeezebench.nn.factorized.sparse import SparseMap

Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
LEVELS = 127  # symmetric: -127..127
ROW = 8  # entries; a scale (4 bytes) for shorter rows costs too much beside them
MOST = 1 << 31  # of a size in a spec
SCALE = ".scale"  # suffix of the scales' names


def serialise(model: nn.Module, precision: Precision = "float32") -> bytes:
    """The whole content of a model file."""
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    if precision == "float16":
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    elif precision == "int8":
        for name in _matrices(model):
            state[name], state[name + SCALE] = quantised(state[name])
    return save(state, metadata={"spec": json.dumps(model.spec())})


def _matrices(model: nn.Module) -> list[str]:
    """Names of what int8 applies to: parameters of two or more dimensions, and the values of a sparse matrix."""
    sparse = {f"{place}.values".lstrip(".") for place, m in model.named_modules() if isinstance(m, SparseMap)}
    return [name for name, p in model.named_parameters() if p.dim() > 1 or name in sparse]


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 tensor of the same shape, float32 scales (rows,) or (1,)): weight = integer * scale, rounded."""
    rows = weight.shape[0] if weight.dim() > 1 and weight.numel() and weight[0].numel() >= ROW else 1
    flat = weight.reshape(rows, -1)
    scale = flat.abs().amax(1) / LEVELS if flat.numel() else flat.new_zeros(rows)
    integers = (flat / scale.clamp_min(torch.finfo(scale.dtype).tiny)[:, None]).round()
    return integers.clamp(-LEVELS, LEVELS).to(torch.int8).reshape(weight.shape), scale


def deserialise(content: bytes) -> dict[str, Tensor]:
    """The state_dict, in float32, that a file of any of the precisions holds."""
    return _decoded(load(content))


def _decoded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    decoded = {}
    for name, value in state.items():
        if value.dtype == torch.int8:
            scale = state[name + SCALE]
            decoded[name] = (value.reshape(len(scale), -1).float() * scale[:, None]).reshape(value.shape)
        elif not (name.endswith(SCALE) and state.get(name.removesuffix(SCALE), value).dtype == torch.int8):
            decoded[name] = value.float() if value.dtype == torch.float16 else value
    return decoded


def save_model(path: Path, model: nn.Module) -> int:
    """Write the compact module (weights and the spec that rebuilds it) as safetensors. Returns bytes on disk."""
    write_atomically(path, serialise(model))
    return path.stat().st_size


def read_spec(path: Path) -> dict:
    """The spec in a model file. Raises InputError if the file is none."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        spec = parse_json(metadata["spec"].encode())
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"{path}: not a model file of squeezebench ({type(error).__name__}: {error})") from None
    if not isinstance(spec, dict):
        raise InputError(f"{path}: not a model file of squeezebench (its spec is no mapping)")
    return spec


def load_model(path: Path, restore: Callable[[dict], nn.Module]) -> nn.Module:
    """The module saved at `path`; `restore` is the method's. No code is read from the file.

    Raises InputError if the file is none, ValueError or whatever `restore` raises where its spec does not fit it.
    """
    spec = read_spec(path)
    state = _decoded(load_file(path))
    _check_spec(spec, restore, state)
    model = restore(spec)
    model.load_state_dict(state)
    return model.eval()


def _check_spec(spec: dict, restore: Callable[[dict], nn.Module], state: dict[str, Tensor]) -> None:
    """Raises ValueError if the spec describes other tensors than `state` has, or matrices that fit no memory."""
    for number in _numbers(spec):
        if number > MOST:
            raise ValueError(f"its spec has a size of {number:,}; at most {MOST:,} is possible")
    front = spec.get("front")
    if isinstance(front, dict) and isinstance(segments := front.get("segments"), int) and segments > len(state):
        raise ValueError(f"its spec has {segments:,} segments, the file {len(state):,} tensors")
    with torch.device("meta"):
        empty = restore(spec)
    described = {name: tuple(value.shape) for name, value in empty.state_dict().items()}
    held = {name: tuple(value.shape) for name, value in state.items()}
    for name in sorted(described.keys() | held.keys()):
        if described.get(name) != held.get(name):
            raise ValueError(f"its spec has {described.get(name)} for {name}, the file {held.get(name)}")
    for name, module in empty.named_modules():  # a few cores, or a sparse matrix, can stand for a vast one
        sizes = [getattr(module, side, None) for side in ("in_features", "out_features")]
        if all(isinstance(size, int) for size in sizes):
            check_memory(f"the matrix of {name}", 4 * sizes[0] * sizes[1])


def _numbers(value: object) -> Iterator[int]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _numbers(item)
    elif isinstance(value, int):
        yield value
