"""What sees every operation of torch while a module runs."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Watching(TorchDispatchMode):
    """Base of the modes that measure. Without its one method, torch 2.13 imports its compiler, which takes more than a
    second, to tell it to leave the mode alone."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
