"""The words of the report and where they live: `report/` at the root of the repository."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from squeezebench.errors import InputError

ASSETS = Path(__file__).parents[2] / "report"


def asset(name: str) -> str:
    """Text of one file of `report/`."""
    path = ASSETS / name
    if not path.is_file():
        raise InputError(
            f"{path}: not found. The report's template, style and words live in the folder `report` at the "
            "root of the repository; run squeezebench from a checkout (pip install -e .)"
        )
    return path.read_text(encoding="utf-8")


@cache
def captions() -> dict[str, Any]:
    """`captions.yaml`: captions, explanations and the sentences of the verdicts."""
    return yaml.safe_load(asset("captions.yaml"))
