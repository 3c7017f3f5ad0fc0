"""An optional compiled kernel for the masked LSTM's pointwise part; off unless asked for.

    make native  (or python -m squeezebench.nn.kernels.native)     builds it with the machine's C compiler
    SQUEEZEBENCH_NATIVE=1, or enable()                     turns it on

It serves the training of LSTMs on the CPU in float32; everything else stays on the pure path. The two agree to
rounding, about 1e-6 relative, not bit for bit.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

from squeezebench.base.errors import InputError

__all__ = ["available", "build", "compiler", "disable", "enable", "enabled"]

FOLDER = Path(__file__).resolve().parent
SOURCE = FOLDER / "lstm_pointwise.c"
# -march=native: for this machine only, and named after it; no -ffast-math: NaN must stay NaN
FLAGS = ["-std=c99", "-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]

_on: bool | None = None  # None until enable(), disable() or the first use, which asks the environment
_library: ctypes.CDLL | None = None


def enabled() -> bool:
    """Whether the kernel is turned on in this process."""
    if _on is None:
        asked = os.environ.get("SQUEEZEBENCH_NATIVE", "")
        if asked not in ("", "0", "1"):
            raise InputError(f"SQUEEZEBENCH_NATIVE must be 0 or 1, got {asked!r}")
        enable() if asked == "1" else disable()
    return bool(_on)


def enable() -> None:
    """Use the kernel, in this process; it must be built."""
    global _on, _library
    if _library is None:
        if not available():
            raise InputError(
                "the native kernel is asked for (SQUEEZEBENCH_NATIVE=1 or enable()) but not built for this machine: "
                "run `python -m squeezebench.nn.kernels.native`, or unset SQUEEZEBENCH_NATIVE"
            )
        _library = ctypes.CDLL(str(library_path()))
    _on = True


def disable() -> None:
    """Use the pure path only, in this process."""
    global _on
    _on = False


def available() -> bool:
    """Whether the kernel is built, from this source and for this machine."""
    return library_path().exists()


def library() -> ctypes.CDLL:
    """The kernel, once it is enabled."""
    assert _library is not None
    return _library


def compiler() -> list[str] | None:
    """The command of a C compiler: $CC, the one Python was built with, or cc; None without any."""
    for command in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return None


def build() -> Path:
    """Compile the kernel, unless it is there already. Many processes may do so at once."""
    path, cc = library_path(), compiler()
    if path.exists():
        return path
    if cc is None:
        raise InputError("the native kernel needs a C compiler: found neither $CC nor cc")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as folder:
            fresh = Path(folder) / path.name
            command = [*cc, *FLAGS, "-fPIC", "-shared", str(SOURCE), "-o", str(fresh)]
            subprocess.run(command, check=True, capture_output=True, text=True)
            fresh.replace(path)
    except subprocess.CalledProcessError as error:
        raise InputError(f"{shlex.join(cc)} does not compile the native kernel: {error.stderr}") from error
    except OSError as error:
        raise InputError(f"cannot build the native kernel: {error}") from error
    return path


def library_path() -> Path:
    """Where the kernel lies once built: the name is a digest of its source, flags and processor."""
    key = [SOURCE.read_text(), *FLAGS, platform.system(), platform.machine()]
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first = cpuinfo.read_text().partition("\n\n")[0].splitlines()
        key += [line for line in first if line.startswith(("model name", "flags", "Features"))]
    return FOLDER / f"lstm_pointwise-{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:16]}.so"
