"""Where a record comes from: source digests, package versions, machine."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from squeezebench import __version__
from squeezebench.base.source import RULE, digest_of_package
from squeezebench.schema.record import Provenance

PACKAGES = ("torch", "numpy", "scikit-learn", "aeon", "opt_einsum", "safetensors", "pydantic")
ENGINE = ("nn", "data", "method", "engine")  # floors whose code decides what a run gives


@cache
def engine_digest() -> str:
    """The digest of the code that can change the result of a run; base/source.py says what plays a part in it."""
    return digest_of_package(ENGINE)


@cache
def packages() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


@cache
def machine() -> str:
    """Processor and system, for the reader of a record."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {platform.system()} {platform.machine()}"


def collect(inputs_digest: str, method_digest: str, device: str) -> Provenance:
    """The provenance of a run that starts now."""
    import torch

    from squeezebench.nn.kernels import native

    return Provenance(
        squeezebench=__version__,
        inputs_digest=inputs_digest,
        engine_digest=engine_digest(),
        digest_rule=RULE,
        method_digest=method_digest,
        packages=packages(),
        python=platform.python_version(),
        machine=machine(),
        device=device,
        threads=torch.get_num_threads(),
        native=native.enabled(),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
