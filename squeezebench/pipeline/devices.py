"""Whether this machine has the GPU that an experiment asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from squeezebench.base.errors import InputError

ASK = "import sys, torch; sys.exit(not torch.cuda.is_available())"


def refuse_without_gpu(devices: Mapping[str, str | None], where: str) -> None:
    """Raises InputError if a task asks for a GPU (`devices`: task -> training's device) and PyTorch finds none."""
    asking = [task for task, device in devices.items() if device == "cuda"]
    if asking and not _has_gpu():
        raise InputError(
            f"{where}: tasks: {asking[0]}: training: device: cuda: this machine has no GPU that PyTorch can use; give "
            "cpu or auto (`squeezebench plan --elsewhere` plans for another machine)"
        )


def _has_gpu() -> bool:
    """Ask in a process of its own: planning does without torch, and a process that has asked for a GPU cannot fork
    workers that use it."""
    return subprocess.run([sys.executable, "-c", ASK], capture_output=True, check=False).returncode == 0
