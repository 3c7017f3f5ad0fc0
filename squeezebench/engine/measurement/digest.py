"""One number for a module's bits."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from torch import Tensor


def model_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the tensors of a state_dict: name, type, shape and bytes of each, in the order of their names.

    Independent of the file format, so that two modules with one digest have the same bits whoever saved them.
    """
    digest = sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode() + value.numpy().tobytes())
    return digest.hexdigest()
