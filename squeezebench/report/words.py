"""The words of the report and where they live: `report/` at the root of the repository."""

from __future__ import annotations

from functools import cache
from typing import Any

from squeezebench.base.errors import InputError
from squeezebench.base.places import ASSETS
from squeezebench.base.yaml_file import parse_yaml


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
def captions(rule: str = "lstm_total") -> dict[str, Any]:
    """`captions.yaml`: captions, explanations and the sentences of the verdicts, for tasks whose sizes are counted by
    `rule` (a name of sizes.RULES): the sentences under `sizes:` that differ from those for LSTM parameters are put in
    their places. Raises KeyError for one that would have no place."""
    words = parse_yaml(asset("captions.yaml"), "captions.yaml")
    return _with(words, words.pop("sizes").get(rule, {}))


def _with(words: dict[str, Any], others: dict[str, Any]) -> dict[str, Any]:
    """`words` with the entries of `others`, at every depth."""
    if lost := others.keys() - words.keys():
        raise KeyError(f"captions.yaml: sizes: {min(lost)}")
    return {key: _with(value, others.get(key, {})) if isinstance(value, dict) else others.get(key, value)
            for key, value in words.items()}  # fmt: skip
