"""What is to be written, and what was."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from squeezebench.tools.export.scored import Answer
from squeezebench.tools.export.standard import Standard

Format = Literal["onnx", "torch", "safetensors", "c"]


@dataclass(frozen=True)
class Wanted:
    """What is to be written."""

    kind: Format
    form: Standard
    about: dict[str, str]
    out: Path
    lengths: bool  # onnx: a second input `length`
    int8: bool  # onnx and c
    stateful: bool  # onnx
    scratch: Path  # an empty folder that outlives the use of `Written.answer`


@dataclass(frozen=True)
class Written:
    """A file's content; answer: what it computes, by running it."""

    content: bytes
    lines: list[str]  # that use it without squeezebench
    answer: Answer | None
    notes: list[str] = field(default_factory=list)
    not_run: str | None = None  # why `answer` is None
