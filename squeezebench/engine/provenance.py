"""Where a record comes from: source digests, package versions, machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from squeezebench import __version__
from squeezebench.base.source import RULE, digest_of_package
from squeezebench.schema.metrics import PLACE
from squeezebench.schema.record import Provenance

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "numpy", "scikit-learn", "aeon", "opt_einsum", "safetensors", "pydantic")
COMPILER = "llvmlite"
VARIABLES = (  # that choose the kernels of PyTorch, oneDNN, MKL, OpenBLAS, NumPy, glibc and CUDA
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "MKL_DEBUG_CPU_TYPE", "OPENBLAS_CORETYPE",
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "GLIBC_TUNABLES", "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "TORCH_BLAS_PREFER_CUBLASLT",
)  # fmt: skip
LONGEST = 200  # characters of a variable's value that are recorded
ENGINE = ("nn", "data", "method", "engine")  # floors whose code decides what a run gives


@cache
def engine_digest() -> str:
    """The digest of the code that can change the result of a run; base/source.py says what plays a part in it."""
    return digest_of_package(ENGINE)


def packages(native: bool = False) -> dict[str, str]:
    """Versions of the packages that results depend on. native: with that of the compiler of nn/kernels/native."""
    versions = {name: _version(name) for name in (*PACKAGES, *([COMPILER] if native else []))}
    return {name: number for name, number in versions.items() if number}


@cache
def _version(package: str) -> str | None:
    """None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def machine() -> str:
    """Processor and system, for the reader of a record."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {platform.system()} {platform.machine()}"


def place(device: torch.device | None = None) -> dict[str, str]:
    """Where a training runs and by which kernels: what may round differently although all inputs are the same.

    device: where it trains; None: on no GPU.
    """
    import torch

    on_gpu = device is not None and device.type == "cuda"
    given = {name: os.environ[name][:LONGEST] for name in VARIABLES if name in os.environ}
    return {
        "machine": machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "variables": " ".join(f"{name}={value}" for name, value in given.items()),
        "gpu": torch.cuda.get_device_name(device) if on_gpu else "",
    }


def joined(places: Iterable[dict[str, str]]) -> dict[str, str]:
    """`A then B` for each part of the places where one training ran."""
    values = {name: dict.fromkeys(where.get(name, "") for where in places) for name in PLACE}
    return {
        name: " then ".join(value or "none" for value in texts) if any(texts) else "" for name, texts in values.items()
    }


def collect(inputs_digest: str, method_digest: str, device: str) -> Provenance:
    """The provenance of what this process computes; `native` is whether the kernel has run by now."""
    import torch

    from squeezebench.nn.kernels import native

    kernel = native.ran()
    return Provenance(
        squeezebench=__version__,
        inputs_digest=inputs_digest,
        engine_digest=engine_digest(),
        digest_rule=RULE,
        method_digest=method_digest,
        packages=packages(kernel),
        python=platform.python_version(),
        **place(),
        device=device,
        threads=torch.get_num_threads(),
        native=kernel,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
